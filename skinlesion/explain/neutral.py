"""The trained network with a module made neutral: what is left when its gates no longer choose.

That is not the network that was trained without the module (the paper's ablation): here the other parts have learned
to expect it. What changes is what the trained network really does with it, on this image.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from skinlesion.errors import SkinlesionError
from skinlesion.explain.looking import model_name, shared_copy
from skinlesion.model import CMSSMBlock, CrossRegionAttention, SqueezeExcitation, VisionStateSpaceUNet

NEUTRAL_PARTS = ("cra", "se", "cmn")


class _EvenAttention(CrossRegionAttention):
    """CRA whose gates are the same in every row and column: each channel keeps its mean, no region is preferred."""

    def __init__(self, original: CrossRegionAttention) -> None:
        nn.Module.__init__(self)
        self.mix, self.norm, self.to_h, self.to_w = original.mix, original.norm, original.to_h, original.to_w

    def gates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        gate_h, gate_w = super().gates(x)  # (B, H, C), (B, W, C)
        return gate_h.mean(1, keepdim=True).expand_as(gate_h), gate_w.mean(1, keepdim=True).expand_as(gate_w)


class _EvenExcitation(SqueezeExcitation):
    """SE whose gate is the same for every channel: the mean over channels."""

    def __init__(self, original: SqueezeExcitation) -> None:
        nn.Module.__init__(self)
        self.squeeze, self.excite = original.squeeze, original.excite

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        gate = super().forward(x)[1]
        even = gate.mean(1, keepdim=True).expand_as(gate)  # (B, C)
        return x * even[:, None, None, :], even


def neutral_parts(model: nn.Module) -> tuple[str, ...]:
    """Which of "cra", "se" and "cmn" a model has; none for other networks than the paper's."""
    if not isinstance(model, VisionStateSpaceUNet):
        return ()
    return tuple(part for part in NEUTRAL_PARTS if getattr(model.config, part))


def neutral_copy(model: nn.Module, parts: Sequence[str]) -> nn.Module:
    """A private copy, around the same weights, with modules made neutral.

    Gates are set to their mean rather than to 1, so that what comes after them is not met by features of a size that it
    never saw.

    Args:
        model: the paper's network; it is left as it was.
        parts: "cra", every row and column gate becomes its mean along the image; "se", every channel's gate becomes
            the mean over channels; "cmn", the channel-mixing residual is left out.

    Raises:
        SkinlesionError: the model has no such part.
    """
    known = neutral_parts(model)
    if unknown := [part for part in parts if part not in known]:
        raise SkinlesionError(
            f"{model_name(model)} has no {unknown[0]!r} to make neutral; it has: {', '.join(known) or 'none'}."
        )
    copy = shared_copy(model)
    assert isinstance(copy, VisionStateSpaceUNet)
    if "cra" in parts:
        for i, skip in enumerate(copy.skips):
            assert isinstance(skip, CrossRegionAttention)
            copy.skips[i] = _EvenAttention(skip)
    for block in copy.modules():
        if isinstance(block, CMSSMBlock):
            if "se" in parts and block.ss2d.se is not None:
                block.ss2d.se = _EvenExcitation(block.ss2d.se)
            if "cmn" in parts:
                block.cmn = block.norm2 = None
    return copy.eval()
