"""The effective receptive field (Luo et al.): which pixels one output really depends on.

Paper: https://arxiv.org/abs/1701.04128

The theoretical field says which pixels could matter; the gradient of one output with respect to the image says which
do, in this network, on these images.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skinlesion.errors import SkinlesionError
from skinlesion.explain.common import check_image
from skinlesion.explain.layers import Layer, find_layer, with_points
from skinlesion.hooks import observe


@dataclass(frozen=True, eq=False)
class ReceptiveField:
    """The effective receptive field of one output.

    Attributes:
        share: of each pixel in the total, (H, W), non-negative, sums to 1.
        center: (row, column) of the pixel at the output's center.
    """

    share: NDArray[np.float32]
    center: tuple[int, int]

    def side(self, fraction: float) -> int:
        """Side, in pixels, of the smallest square around the center that holds this fraction of the total.

        Args:
            fraction: in (0, 1].
        """
        rows, columns = (np.abs(np.arange(n) - c) for n, c in zip(self.share.shape, self.center, strict=True))
        distance = np.maximum(rows[:, None], columns)  # (H, W)
        within = np.cumsum(np.bincount(distance.ravel(), weights=self.share.ravel()))
        return 2 * int(np.searchsorted(within, fraction * within[-1] * (1 - 1e-9))) + 1


def receptive_field(
    model: nn.Module, images: Tensor, *, layer: str | None = None, at: tuple[int, int] | None = None
) -> ReceptiveField:
    """Absolute gradient of one output with respect to the image, summed over colors, averaged over images.

    Args:
        model: any model of the kit; it is left as it was.
        images: (B, C, H, W); one after the other, so that memory does not grow with B.
        layer: differentiate the sum over channels of this layer's map at one position; None for the logit.
        at: (row, column) of the pixel; None for the center.

    Raises:
        SkinlesionError: the layer is unknown, the pixel outside, or the output does not depend on the image at all.
    """
    check_image(images, single=False)
    height, width = images.shape[2:]
    row, column = at or (height // 2, width // 2)
    if not (0 <= row < height and 0 <= column < width):
        raise SkinlesionError(f"Pixel {(row, column)} is outside the image of {height} x {width}.")
    copy = with_points(model)
    found = Layer("logit", "", channels_last=False, cell=1) if layer is None else find_layer(model, layer)
    total = torch.zeros(height, width, dtype=torch.float64)
    for image in images.split(1):
        pixels = image.detach().clone().requires_grad_()
        if layer is None:
            output = copy(pixels)
        else:
            with observe(copy, found.point) as seen:
                copy(pixels)
            output = seen[found.point]
        if not found.channels_last:
            output = output.permute(0, 2, 3, 1)  # (1, h, w, C)
        (gradient,) = torch.autograd.grad(output[0, row // found.cell, column // found.cell].sum(), pixels)
        total += gradient[0].abs().sum(0).cpu().double()
    if not bool(torch.isfinite(total).all()) or float(total.sum()) == 0:
        raise SkinlesionError(
            "The output does not depend on the image, or its gradient is not finite, so there is no receptive field."
        )
    middle = [position // found.cell * found.cell + found.cell // 2 for position in (row, column)]
    return ReceptiveField((total / total.sum()).float().numpy(), (middle[0], middle[1]))
