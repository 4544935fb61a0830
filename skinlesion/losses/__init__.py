"""What training minimizes: BCE + Dice on the mask (eq. 11) and distillation between feature maps (eqs.
8-10)."""

from skinlesion.losses.distillation import (
    DistillationParts,
    FeatureDistillationLoss,
    cross_feature_distillation,
    internal_feature_distillation,
)
from skinlesion.losses.supervised import BceDiceLoss, bce_dice_loss, bce_loss, dice_loss

__all__ = [
    "BceDiceLoss",
    "DistillationParts",
    "FeatureDistillationLoss",
    "bce_dice_loss",
    "bce_loss",
    "cross_feature_distillation",
    "dice_loss",
    "internal_feature_distillation",
]
