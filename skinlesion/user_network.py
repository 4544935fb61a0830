"""Running a network or a loss that isn't part of the package; see `skinlesion.extend`.

Errors in the built-in networks pass through unchanged: they would be bugs in this package.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from torch import Tensor, nn
from torch.jit import ScriptModule
from torch.nn.parameter import is_lazy

from skinlesion.errors import SkinlesionError
from skinlesion.text import printable
from skinlesion.user_code import named_errors


def build_user_network(name: str, network: Callable[..., Any], options: dict[str, Any]) -> nn.Module:
    """Build a network from a user's class or function.

    Raises:
        SkinlesionError: it fails, or returns something other than a module whose parameters have sizes.
    """
    with named_errors(f"The network {printable(name)!r} cannot be built"):
        model = network(**options)
    if not isinstance(model, nn.Module) or isinstance(model, ScriptModule):
        raise SkinlesionError(
            f"{printable(name)!r} must return a plain torch.nn.Module; it returned {printable(type(model).__name__)}."
        )
    lazy = [name for name, value in (*model.named_parameters(), *model.named_buffers()) if is_lazy(value)]
    if lazy:
        raise SkinlesionError(
            f"The network {printable(name)!r} has a layer without a size: {lazy[0]}; don't use lazy layers."
        )
    model.from_user = True  # type: ignore[assignment]
    return model


def is_user_network(model: nn.Module) -> bool:
    """Whether the network isn't part of the package."""
    return bool(getattr(model, "from_user", False))


def logits_of(model: nn.Module, image: Tensor) -> Tensor:
    """Run a network.

    Args:
        model: any network; one from `create_model` has a `name`, which error messages use.
        image: (B, channels, H, W).

    Returns:
        Logits (B, 1, H, W).

    Raises:
        SkinlesionError: a user's network fails, or returns something else.
    """
    with _named(model):
        logits = model(image)
    return check_logits(logits, image, name_of(model))


def logits_and_features(model: nn.Module, image: Tensor) -> tuple[Tensor, Any]:
    """Run a network as `logits_of` does, and also return the features that distillation compares."""
    with _named(model):
        logits, features = model.forward_features(image)  # type: ignore[operator]
    return check_logits(logits, image, name_of(model)), features


def _named(model: nn.Module) -> AbstractContextManager[None]:
    return named_errors(f"The network {name_of(model)!r} failed", built_in=not is_user_network(model))


def name_of(model: nn.Module) -> str:
    """What messages call a network."""
    return printable(getattr(model, "name", type(model).__name__))


def user_loss(name: str, loss: Callable[[Tensor, Tensor], Any], logits: Tensor, mask: Tensor) -> Tensor:
    """Compute a user's loss.

    Args:
        name: the name it is registered under.
        loss: from `register_loss`.
        logits: (B, 1, H, W).
        mask: (B, 1, H, W), values in [0, 1].

    Returns:
        A scalar.

    Raises:
        SkinlesionError: it fails, or returns something else.
    """
    with named_errors(f"The loss {name!r} failed"):
        value = loss(logits, mask)
    if not isinstance(value, Tensor) or value.ndim != 0 or not value.is_floating_point():
        found = f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise SkinlesionError(f"The loss {name!r} must return a scalar tensor of floats; it returned {found}.")
    return value


def check_logits(logits: Any, image: Tensor, name: str) -> Tensor:
    """Return a network's output if it is logits of the right shape for that image.

    Args:
        logits: what the network returned; (B, 1, H, W) is expected.
        image: (B, channels, H, W).
        name: the network's.

    Raises:
        SkinlesionError: it is something else.
    """
    expected = (image.shape[0], 1, *image.shape[2:])
    if not isinstance(logits, Tensor) or tuple(logits.shape) != expected:
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise SkinlesionError(
            f"The network {name!r} must return logits of shape {expected} for this batch; it returned {found}."
        )
    return logits
