"""The paper's network, one idea a file; channels last, (B, H, W, C), inside."""

from skinlesion.model.block import CMSSMBlock, DropPath
from skinlesion.model.cmn import ChannelMixing, channel_mixing
from skinlesion.model.config import PRESETS, ModelConfig
from skinlesion.model.cra import CrossRegionAttention, apply_gates, directional_means
from skinlesion.model.patches import (
    PatchEmbedding,
    PatchExpanding,
    PatchMerging,
    depth_to_space,
    space_to_depth,
)
from skinlesion.model.se import SqueezeExcitation, squeeze_excitation
from skinlesion.model.ss2d import SS2D, has_scan, set_engine
from skinlesion.model.unet import CMSSMUNet, Features

__all__ = [
    "PRESETS",
    "SS2D",
    "CMSSMBlock",
    "CMSSMUNet",
    "ChannelMixing",
    "CrossRegionAttention",
    "DropPath",
    "Features",
    "ModelConfig",
    "PatchEmbedding",
    "PatchExpanding",
    "PatchMerging",
    "SqueezeExcitation",
    "apply_gates",
    "channel_mixing",
    "depth_to_space",
    "directional_means",
    "has_scan",
    "set_engine",
    "space_to_depth",
    "squeeze_excitation",
]
