"""Putting a student's function into the network: same weights, another function."""

import copy
from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor, nn

from skinlesion.errors import SkinlesionError
from skinlesion.model import SS2D, ChannelMixing, CMSSMBlock, CrossRegionAttention, SqueezeExcitation
from skinlesion.model.trace import Trace

Module = TypeVar("Module", bound=nn.Module)


class _StudentSE(SqueezeExcitation):
    """SE whose arithmetic is `function(x, squeeze, excite)`; weights and their names stay."""

    def __init__(self, original: SqueezeExcitation, function: Callable[..., tuple[Tensor, Tensor]]) -> None:
        nn.Module.__init__(self)
        self.squeeze, self.excite, self.function = original.squeeze, original.excite, function

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.function(x, self.squeeze.weight, self.excite.weight)


class _StudentCMN(ChannelMixing):
    """CMN whose arithmetic is `function(x, extend, convolution, restore)`."""

    def __init__(self, original: ChannelMixing, function: Callable[..., Tensor]) -> None:
        nn.Module.__init__(self)
        self.extend, self.convolution, self.restore = original.extend, original.convolution, original.restore
        self.residual, self.function = original.residual, function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.extend, self.convolution, self.restore)


class _StudentCRA(CrossRegionAttention):
    """CRA whose arithmetic is `function(x, mix, norm, to_h, to_w)`."""

    def __init__(self, original: CrossRegionAttention, function: Callable[..., Tensor]) -> None:
        nn.Module.__init__(self)
        self.mix, self.norm = original.mix, original.norm
        self.to_h, self.to_w, self.function = original.to_h, original.to_w, function

    def forward(self, x: Tensor, trace: Trace | None = None) -> Tensor:
        return self.function(x, self.mix, self.norm, self.to_h, self.to_w)


def _scan(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def scan(*tensors: Tensor, engine: str) -> Tensor:
        return function(*tensors)  # a student's scan knows no engines

    return scan


def _plug_block(block: CMSSMBlock, part: str, function: Callable[..., Any]) -> int:
    if part == "scan":
        block.ss2d.scan = _scan(function)
    elif part == "se" and block.ss2d.se is not None:
        block.ss2d.se = _StudentSE(block.ss2d.se, function)
    elif part == "cmn" and block.cmn is not None:
        block.cmn = _StudentCMN(block.cmn, function)
    else:
        return 0
    return 1


def plug(model: Module, part: str, function: Callable[..., Any]) -> Module:
    """A copy of a network in which one part is computed by another function.

    Args:
        model: the package's network, or any module that holds its parts; it is left as it is.
        part: "scan", called as `skinlesion.scan.cross_selective_scan` with its first seven arguments; "se", as
            `skinlesion.model.squeeze_excitation`; "cmn", as `skinlesion.model.channel_mixing` with its first four;
            "cra", function(x, mix, norm, to_h, to_w) with the layers of `CrossRegionAttention`.
        function: the replacement.

    Returns:
        The copy, with weights of its own of the same values. It trains as the original does.

    Raises:
        SkinlesionError: an unknown part, or the model has no such part.
    """
    if part not in ("scan", "se", "cmn", "cra"):
        raise SkinlesionError(f"Unknown part {part!r}; choose one of: scan, se, cmn, cra.")
    model = copy.deepcopy(model)
    count = 0
    for module in list(model.modules()):
        if isinstance(module, CMSSMBlock):
            count += _plug_block(module, part, function)
        elif part == "cra" and isinstance(module, nn.ModuleList):
            for i, child in enumerate(module):
                if isinstance(child, CrossRegionAttention):
                    module[i] = _StudentCRA(child, function)
                    count += 1
    if part == "scan" and isinstance(model, SS2D):
        model.scan = _scan(function)
        count += 1
    if not count:
        raise SkinlesionError(f"This model has no {part!r} to replace.")
    return model
