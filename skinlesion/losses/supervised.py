r"""Binary cross-entropy and Dice between predicted logits and the true mask (paper, eq. 11).

.. math:: \mathcal L = \lambda_1\,\mathrm{BCE}(\hat y, y) + \lambda_2 \Big(1 - \frac{2 |X \cap Y|}{|X| + |Y|}\Big)

The Dice loss is V-Net's (https://arxiv.org/abs/1606.04797).

Every function takes ``logits`` and ``target`` of the same shape ``(B, 1, H, W)``; the target is floating
point in [0, 1] (a soft edge is allowed). Half-precision logits are widened to float32 first: a sum over 256 x
256 pixels does not fit in float16.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skinlesion.errors import SkinlesionError


def bce_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy, averaged over every pixel of the batch (eq. 11, first line).

    Taken on logits (A28): the same value as on probabilities, but log(sigmoid(x)) stays finite where x is far from 0.

    Args:
        logits: Network output before the sigmoid, ``(B, 1, H, W)``.
        target: True mask, floating point in [0, 1], same shape.

    Returns:
        A scalar >= 0.

    Raises:
        SkinlesionError: Shapes differ, or the target is not floating point.
    """
    logits, target = _checked(logits, target)
    return F.binary_cross_entropy_with_logits(logits, target)


def dice_loss(logits: Tensor, target: Tensor, smooth: float = 1.0) -> Tensor:
    """One minus the Dice overlap of each image, averaged over the batch (eq. 11, second line; A27).

    Dice is taken over the pixels of one image at a time, so a small lesion weighs as much as a large one.
    ``smooth`` is added to numerator and denominator, so an empty mask that is predicted as empty has a loss
    of 0.

    Args:
        logits: Network output before the sigmoid, ``(B, 1, H, W)``.
        target: True mask, floating point in [0, 1], same shape.
        smooth: The added constant, in pixels, > 0.

    Returns:
        A scalar in [0, 1).

    Raises:
        SkinlesionError: Shapes differ, or the target is not floating point.
    """
    logits, target = _checked(logits, target)
    probability = logits.sigmoid().flatten(1)  # (B, 1*H*W)
    truth = target.flatten(1)  # (B, 1*H*W)
    overlap = (probability * truth).sum(1)  # (B,)
    area = probability.sum(1) + truth.sum(1)  # (B,)
    return 1 - ((2 * overlap + smooth) / (area + smooth)).mean()


def bce_dice_loss(logits: Tensor, target: Tensor, w_bce: float = 0.3, w_dice: float = 0.7) -> Tensor:
    """``w_bce * bce_loss + w_dice * dice_loss`` (eq. 11, third line; A26 names the two weights).

    Raises:
        SkinlesionError: Shapes differ, or the target is not floating point.
    """
    return w_bce * bce_loss(logits, target) + w_dice * dice_loss(logits, target)


class BceDiceLoss(nn.Module):
    """:func:`bce_dice_loss` with its weights fixed; the paper's are the default."""

    def __init__(self, *, w_bce: float = 0.3, w_dice: float = 0.7) -> None:
        super().__init__()
        self.w_bce = w_bce
        self.w_dice = w_dice

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the weighted sum, a scalar."""
        return bce_dice_loss(logits, target, self.w_bce, self.w_dice)


def _checked(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both in at least float32, after checks of what broadcasting would hide."""
    if logits.shape != target.shape:
        raise SkinlesionError(
            f"The logits have shape {tuple(logits.shape)} and the target {tuple(target.shape)}: give both as "
            "(B, 1, H, W); resize the mask to the image's size, or add the channel axis with mask[:, None]."
        )
    if not target.is_floating_point():
        raise SkinlesionError(
            f"The target is {target.dtype}: give it as floating point in [0, 1], e.g. (mask > 0).float()."
        )
    wide = torch.promote_types(logits.dtype, torch.float32)
    return logits.to(wide), target.to(wide)
