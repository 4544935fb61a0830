"""Your own networks, data sets, losses and scan engines, by name; `docs/extend.md` shows each.

A name becomes available when the module that registers it is imported. Commands and the app import the modules listed
in `SKINLESION_PLUGINS` (separated by commas) and the entry points of installed packages in the group "skinlesion". A
name that is merely read from a file, such as a checkpoint's card or a run folder, never triggers an import, because
files may come from anyone.
"""

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from skinlesion.data.layouts import DATASETS
from skinlesion.data.sample import Sample
from skinlesion.errors import SkinlesionError
from skinlesion.model.config import Config
from skinlesion.plugins import (
    EXTRA_DATASETS,
    EXTRA_ENGINES,
    EXTRA_LOSSES,
    PLUGINS,
    import_plugin,
    listed_modules,
    load_plugins,
)
from skinlesion.scan import ENGINES
from skinlesion.text import printable
from skinlesion.user_code import named_errors
from skinlesion.user_network import build_user_network
from skinlesion.zoo import REGISTRY

_BUILT_IN = frozenset(REGISTRY)
_DEFAULT_LOSS = "bce_dice"


def register_model(name: str, network: Callable[..., nn.Module]) -> None:
    """Make a network available as `--preset NAME`, to checkpoints, and to the app.

    Args:
        name: must not be the name of a built-in network.
        network: takes its options as keyword arguments with defaults, and returns a module that maps an image
            (B, 3, H, W) to logits (B, 1, H, W). Options are positive integers, lists of them, floats in [0, 1) or
            booleans, so that a checkpoint can store them.

    Raises:
        SkinlesionError: the name is taken, or an option has no default or an unsupported type.
    """
    _check_name(name, _BUILT_IN, "network")
    config = _config_of(name, network)

    def build(values: Config) -> nn.Module:
        model = build_user_network(name, network, values.to_dict())
        own = [each for each in ("config", "name") if hasattr(model, each)]
        if own and not isinstance(getattr(model, "config", None), Config):
            raise SkinlesionError(
                f"The network {printable(name)!r} has an attribute {own[0]!r}, which skinlesion sets to its own value: "
                "rename yours."
            )
        model.config = values  # type: ignore[assignment]
        return model

    REGISTRY[name] = (build, config)


def register_dataset(name: str, find: Callable[[Path], Sequence[Sample]]) -> None:
    """Make a data set available as `--data NAME --root FOLDER`.

    Args:
        name: must not be the name of a built-in layout.
        find: returns the samples of a folder: each with an id of its own, and its image and mask as `pathlib.Path`
            objects.

    Raises:
        SkinlesionError: the name is taken.
    """
    _check_name(name, DATASETS, "data set")
    EXTRA_DATASETS[name] = find


def register_loss(name: str, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Make a loss available as `train --loss NAME`, in place of the weighted sum of BCE and Dice.

    Args:
        name: must not be the name of a built-in loss.
        loss: maps logits (B, 1, H, W) and masks (B, 1, H, W) in [0, 1] to a scalar.

    Raises:
        SkinlesionError: the name is taken.
    """
    _check_name(name, (_DEFAULT_LOSS,), "loss")
    EXTRA_LOSSES[name] = loss


def find_loss(name: str) -> Callable[[Tensor, Tensor], Tensor] | None:
    """Look up a registered loss; None stands for the weighted sum of BCE and Dice.

    Raises:
        SkinlesionError: there is no such loss; the message lists them.
    """
    if name == _DEFAULT_LOSS:
        return None
    if name not in EXTRA_LOSSES:
        load_plugins()
    if name not in EXTRA_LOSSES:
        raise SkinlesionError(f"Unknown loss {name!r}; choose one of: {', '.join((_DEFAULT_LOSS, *EXTRA_LOSSES))}.")
    return EXTRA_LOSSES[name]


def register_engine(name: str, scan: Callable[..., Tensor], devices: tuple[str, ...] = ("cpu", "cuda", "mps")) -> None:
    """Make a scan engine available as `--engine NAME`; `auto` never chooses it.

    Args:
        name: must not be the name of a built-in engine.
        scan: called like `skinlesion.scan.reference.cross_selective_scan`: (x, delta, A, B, C, D, delta_bias, routes),
            with x (B, L, D), delta (B, L, K, D), A (K, D, N), B and C (B, L, K, N), D and delta_bias (K, D) and routes
            (K, L); returns y (B, L, D), differentiable.
        devices: the device types that it runs on.

    Raises:
        SkinlesionError: the name is taken.
    """
    _check_name(name, ("auto", *ENGINES), "scan engine")
    EXTRA_ENGINES[name] = (scan, devices)


def import_model(name: str) -> None:
    """Import and register a network that the user named as "package.module:Network".

    Raises:
        SkinlesionError: the module cannot be imported or has no such network, or `register_model` refuses it.
    """
    module, _, attribute = name.partition(":")
    network = getattr(import_plugin(module), attribute, None)
    if not callable(network):
        raise SkinlesionError(f"The module {printable(module)} has no network {printable(attribute)!r}.")
    register_model(name, network)


def import_listed_model(name: str) -> None:
    """Register the network "package.module:Network" that a file names, if `SKINLESION_PLUGINS` lists its module.

    Only a subclass of `nn.Module` qualifies: a name from a file must not call any other function of the module.

    Raises:
        SkinlesionError: the module isn't listed or cannot be imported, or has no such class.
    """
    module, _, attribute = name.partition(":")
    if module not in listed_modules():
        raise SkinlesionError(
            f"The network {printable(name)!r} is not part of skinlesion. If you trust the module "
            f"{printable(module)!r}, let skinlesion import it: set the environment variable "
            f"{PLUGINS}={printable(module)}."
        )
    network = getattr(import_plugin(module), attribute, None)
    if not (isinstance(network, type) and issubclass(network, nn.Module)):
        raise SkinlesionError(
            f"The module {printable(module)} has no torch.nn.Module subclass {printable(attribute)!r}. "
            f"If that is a function, register it there: skinlesion.register_model({printable(name)!r}, "
            f"{printable(attribute)})."
        )
    register_model(name, network)


def _check_name(name: str, taken: Any, kind: str) -> None:
    if not isinstance(name, str) or not name or not all(c.isalnum() or c in "_-.:" for c in name):
        raise SkinlesionError(f"The name of a {kind} may contain only letters, digits and _ - . : (got {name!r}).")
    if name in taken:
        raise SkinlesionError(f"The package already has a {kind} named {name!r}; choose another name.")


def _config_of(name: str, network: Callable[..., nn.Module]) -> Config:
    """The network's keyword arguments as a config."""
    fields = []
    with named_errors(f"The options of {name!r} cannot be read"):
        parameters = inspect.signature(network).parameters.values()
    for each in parameters:
        if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
            continue
        if each.default is each.empty:
            raise SkinlesionError(f"The option {each.name} of {name!r} has no default value: give it one.")
        if hasattr(Config, each.name):
            raise SkinlesionError(f"{name!r} has an option {each.name!r}, a name that skinlesion uses: rename it.")
        default = tuple(each.default) if isinstance(each.default, list) else each.default
        fields.append((each.name, Any, dataclasses.field(default=default)))
    try:
        return dataclasses.make_dataclass("OwnConfig", fields, bases=(Config,), frozen=True, kw_only=True)()
    except ValueError as error:  # SkinlesionError is one, and so is what dataclasses say of a mutable default
        raise SkinlesionError(
            f"The options of {name!r} cannot be stored in a checkpoint: {error} Options are positive integers, lists "
            "of them, floats in [0, 1) or booleans; remove any other arguments."
        ) from error
