"""The trained network with a module's gates replaced by their mean: what is left when the gates no longer select.

This isn't a network trained without the module (the paper's ablation): here the other parts have adapted to it. The
change shows how much the trained network depends on the module, on this image.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from skinlesion.errors import SkinlesionError
from skinlesion.explain.common import evaluating, model_name
from skinlesion.hooks import Intervened, intervene, points

# Part -> the points that are replaced, and by what.
_REPLACEMENTS: dict[str, tuple[tuple[str, ...], Callable[[Tensor], Tensor]]] = {
    "cra": (("*.cra.gate_h", "*.cra.gate_w"), lambda gate: gate.mean(1, keepdim=True).expand_as(gate)),
    "se": (("*.se.gate",), lambda gate: gate.mean(1, keepdim=True).expand_as(gate)),
    "cmn": (("*.cmn.output",), torch.zeros_like),
}


def ablatable_parts(model: nn.Module) -> tuple[str, ...]:
    """Which of "cra", "se" and "cmn" a network has; none for networks without these modules."""
    known = points(model)
    return tuple(part for part in _REPLACEMENTS if any(f".{part}." in f".{name}" for name in known))


@contextmanager
def ablated(model: nn.Module, parts: Sequence[str]) -> Iterator[None]:
    """Ablate modules in every forward pass inside a `with` block.

    Gates are set to their mean rather than to 1, so that later layers get features of the size they were trained on.

    Args:
        model: a network with these modules; it is left as it was.
        parts: "cra": every row and column gate becomes its mean along the image; "se": every channel's gate becomes the
            mean over channels; "cmn": the channel-mixing residual is left out.

    Raises:
        SkinlesionError: the model has no such part.
    """
    known = ablatable_parts(model)
    if unknown := [part for part in parts if part not in known]:
        raise SkinlesionError(
            f"{model_name(model)} has no {unknown[0]!r} to ablate; it has: {', '.join(known) or 'none'}."
        )
    chosen = [_REPLACEMENTS[part] for part in parts]
    with intervene(model, {pattern: function for patterns, function in chosen for pattern in patterns}):
        yield


def ablated_model(model: nn.Module, parts: Sequence[str]) -> nn.Module:
    """A network around the same weights that always runs `ablated`, in evaluation mode; arguments as there."""
    with ablated(model, parts):  # raises for an unknown part now, not in the first forward pass
        pass
    return Intervened(evaluating(model), partial(ablated, parts=tuple(parts)))
