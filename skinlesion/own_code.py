"""Running code that isn't part of the package: what goes wrong there is one sentence that names the line.

Errors of the built-in networks pass as they are: they would be faults of this package.
"""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from skinlesion.errors import SkinlesionError
from skinlesion.text import printable

_MISTAKES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    RuntimeError,
    TypeError,
    ValueError,
)
_TORCH = str(Path(torch.__file__).parent)


@contextmanager
def named_errors(failure: str, *, built_in: bool = False) -> Iterator[None]:
    """Turn a mistake in somebody's code into one sentence.

    Args:
        failure: what happened, such as "The network 'mine' cannot be built".
        built_in: errors pass as they are.

    Raises:
        SkinlesionError: with the kind of the error, its message, and the file and line that raised it.
    """
    try:
        yield
    except (SkinlesionError, torch.OutOfMemoryError):
        raise
    except _MISTAKES as error:
        if built_in or "not enough memory" in str(error):  # PyTorch's way to say so on a CPU
            raise
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if not frame.filename.startswith(_TORCH)][-1]
        raise SkinlesionError(
            f"{failure}: {type(error).__name__}: {printable(error)} "
            f"({printable(Path(own.filename).name)}, line {own.lineno})."
        ) from error


def build_own(name: str, network: Callable[..., Any], options: dict[str, Any]) -> nn.Module:
    """Call somebody's class or function for a network.

    Raises:
        SkinlesionError: it fails, or returns something else than a module.
    """
    with named_errors(f"The network {printable(name)!r} cannot be built"):
        model = network(**options)
    if not isinstance(model, nn.Module):
        raise SkinlesionError(
            f"{printable(name)!r} must give a torch.nn.Module; it gave {printable(type(model).__name__)}."
        )
    model.is_own = True  # type: ignore[assignment]
    return model


def is_own(model: nn.Module) -> bool:
    """Whether the network isn't part of the package."""
    return bool(getattr(model, "is_own", False))


def logits_of(model: nn.Module, image: Tensor) -> Tensor:
    """Run a network.

    Args:
        model: any network, with its `name` if it comes from `create_model`.
        image: (B, channels, H, W).

    Returns:
        Logits (B, 1, H, W).

    Raises:
        SkinlesionError: somebody's own network fails, or returns something else.
    """
    with named_errors(f"The network {printable(getattr(model, 'name', ''))!r} failed", built_in=not is_own(model)):
        logits = model(image)
    return check_logits(logits, image)


def logits_and_features(model: nn.Module, image: Tensor) -> tuple[Tensor, Any]:
    """As `logits_of`, with the features that distillation compares."""
    with named_errors(f"The network {printable(getattr(model, 'name', ''))!r} failed", built_in=not is_own(model)):
        logits, features = model.forward_features(image)  # type: ignore[operator]
    return check_logits(logits, image), features


def own_loss(name: str, loss: Callable[[Tensor, Tensor], Any], logits: Tensor, mask: Tensor) -> Tensor:
    """Compute somebody's loss.

    Args:
        name: that it is registered by.
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
    if not isinstance(value, Tensor) or value.ndim != 0:
        found = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise SkinlesionError(f"The loss {name!r} must return a scalar tensor; it returned {found}.")
    return value


def own_scan(name: str, scan: Callable[..., Any], tensors: list[Tensor], routes: Tensor) -> Tensor:
    """Run somebody's scan engine; arguments as in `skinlesion.scan.reference.cross_selective_scan`.

    Raises:
        SkinlesionError: it fails, or its output hasn't the shape (B, L, D) of its first argument.
    """
    with named_errors(f"The scan engine {name!r} failed"):
        y = scan(*tensors, routes)
    if not isinstance(y, Tensor) or y.shape != tensors[0].shape:
        found = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
        raise SkinlesionError(f"The scan engine {name!r} must return {tuple(tensors[0].shape)}; it returned {found}.")
    return y


def check_logits(logits: Any, image: Tensor) -> Tensor:
    """Return a network's output if it is logits of the right shape for that image.

    Args:
        logits: what the network returned; (B, 1, H, W) is expected.
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
