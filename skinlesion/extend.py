"""Your own networks, data sets, losses and scan engines, by name; `docs/extend.md` shows each.

A name is registered when the module that registers it is imported. Commands and the app import the modules that
`SKINLESION_PLUGINS` lists (joined by commas) and the entry points of installed packages in the group "skinlesion".
A name that only stands in a file, in a checkpoint's card or in a run folder, never imports anything: files come from
anywhere.
"""

import dataclasses
import functools
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from skinlesion.data.layouts import DATASETS, EXTRA_DATASETS
from skinlesion.data.sample import Sample
from skinlesion.errors import SkinlesionError
from skinlesion.model.config import Config
from skinlesion.scan import ENGINES
from skinlesion.scan.engines import EXTRA_ENGINES
from skinlesion.text import printable
from skinlesion.zoo import REGISTRY

PLUGINS = "SKINLESION_PLUGINS"
GROUP = "skinlesion"
_BUILT_IN = frozenset(REGISTRY)
_DEFAULT_LOSS = "bce_dice"
_losses: dict[str, Callable[[Tensor, Tensor], Tensor]] = {}


def register_model(name: str, network: Callable[..., nn.Module]) -> None:
    """Make a network available as `--preset NAME`, to checkpoints, and to the app.

    Args:
        name: not one of the package's networks.
        network: takes keyword arguments with defaults, its options, and returns a module that gives logits
            (B, 1, H, W) for an image (B, 3, H, W). Options are counts, lists of counts, rates in [0, 1) or switches,
            so that a checkpoint can hold them.

    Raises:
        SkinlesionError: the name is taken, or an argument is of another kind.
    """
    _check_name(name, _BUILT_IN, "network")
    config = _config_of(name, network)

    def build(values: Config) -> nn.Module:
        model = network(**values.to_dict())
        model.config = values  # type: ignore[assignment]
        return model

    REGISTRY[name] = (build, config)


def register_dataset(name: str, find: Callable[[Path], Sequence[Sample]]) -> None:
    """Make a data set available as `--data NAME --root FOLDER`.

    Args:
        name: not one of the package's layouts.
        find: gives the samples (id, image file, mask file) of a folder.

    Raises:
        SkinlesionError: the name is taken.
    """
    _check_name(name, DATASETS, "data set")
    EXTRA_DATASETS[name] = find


def register_loss(name: str, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Make a loss available as `train --loss NAME`, in place of the weighted sum of BCE and Dice.

    Args:
        name: not one of the package's losses.
        loss: gives a scalar for logits (B, 1, H, W) and masks (B, 1, H, W) in [0, 1].

    Raises:
        SkinlesionError: the name is taken.
    """
    _check_name(name, (_DEFAULT_LOSS,), "loss")
    _losses[name] = loss


def find_loss(name: str) -> Callable[[Tensor, Tensor], Tensor] | None:
    """A registered loss; None for the weighted sum of BCE and Dice.

    Raises:
        SkinlesionError: there is no such loss; the message lists them.
    """
    if name == _DEFAULT_LOSS:
        return None
    if name not in _losses:
        load_plugins()
    if name not in _losses:
        raise SkinlesionError(f"Unknown loss {name!r}; choose one of: {', '.join((_DEFAULT_LOSS, *_losses))}.")
    return _losses[name]


def register_engine(name: str, scan: Callable[..., Tensor], devices: tuple[str, ...] = ("cpu", "cuda", "mps")) -> None:
    """Make a scan engine available as `--engine NAME`; `auto` never chooses it.

    Args:
        name: not one of the package's engines.
        scan: called as `skinlesion.scan.reference.cross_selective_scan`, (x, delta, A, B, C, D, delta_bias, routes),
            with x (B, L, D), delta (B, L, K, D), A (K, D, N), B and C (B, L, K, N), D and delta_bias (K, D) and routes
            (K, L); gives y (B, L, D), differentiable.
        devices: the device types that it runs on.

    Raises:
        SkinlesionError: the name is taken.
    """
    _check_name(name, ("auto", *ENGINES), "scan engine")
    EXTRA_ENGINES[name] = (scan, devices)


def import_model(name: str) -> None:
    """Import and register "package.module:Network", which somebody typed.

    Raises:
        SkinlesionError: it cannot be imported, or is no network.
    """
    module, _, attribute = name.partition(":")
    network = getattr(_import(module), attribute, None)
    if not callable(network):
        raise SkinlesionError(f"The module {printable(module)} has no network {printable(attribute)!r}.")
    register_model(name, network)


@functools.cache
def load_plugins() -> None:
    """Import what `SKINLESION_PLUGINS` lists and what installed packages register; once a process.

    Raises:
        SkinlesionError: one cannot be imported.
    """
    for module in filter(None, map(str.strip, os.environ.get(PLUGINS, "").split(","))):
        _import(module)
    for each in entry_points(group=GROUP):
        try:
            each.load()
        except Exception as error:  # whatever an installed package raises
            raise SkinlesionError(
                f"The plugin {printable(each.value)} cannot be loaded: {printable(error)}."
            ) from error


def _import(module: str) -> Any:
    here = os.getcwd()
    if here not in sys.path:  # `skinlesion` is a script in another folder
        sys.path.insert(0, here)
    try:
        return import_module(module)
    except Exception as error:  # whatever somebody's module raises
        why = f"{type(error).__name__}: {printable(error)}"
        raise SkinlesionError(f"The module {printable(module)} cannot be imported ({why}).") from error


def _check_name(name: str, taken: Any, kind: str) -> None:
    if not isinstance(name, str) or not name or not all(c.isalnum() or c in "_-.:" for c in name):
        raise SkinlesionError(f"The name of a {kind} consists of letters, digits and _ - . : only, not {name!r}.")
    if name in taken:
        raise SkinlesionError(f"The package has a {kind} {name!r} already: choose another name.")


def _config_of(name: str, network: Callable[..., nn.Module]) -> Config:
    """The network's keyword arguments as a config."""
    fields = []
    for each in inspect.signature(network).parameters.values():
        if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
            continue
        if each.default is each.empty:
            raise SkinlesionError(f"The option {each.name} of {name!r} has no default value: give it one.")
        default = tuple(each.default) if isinstance(each.default, list) else each.default
        fields.append((each.name, Any, dataclasses.field(default=default)))
    made = dataclasses.make_dataclass("OwnConfig", fields, bases=(Config,), frozen=True, kw_only=True)
    return made()


def check_logits(logits: Any, image: Tensor) -> Tensor:
    """What a network returned, if it is logits for that image.

    Args:
        logits: (B, 1, H, W) is right.
        image: (B, channels, H, W).

    Raises:
        SkinlesionError: it is something else.
    """
    expected = (image.shape[0], 1, *image.shape[2:])
    if not isinstance(logits, Tensor) or tuple(logits.shape) != expected:
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise SkinlesionError(
            f"The network must return logits of shape {expected} for this batch; it returned {found}."
        )
    return logits
