"""The factory: every network of the kit by name, the paper's and those that it compares with.

All take an image (B, 3, H, W) of any height and width with values in [0, 1] and give logits (B, 1, H, W). The
compared networks start from random weights, even where the originals start from ImageNet's; each file says what its
original is, what was changed, and what had to be guessed. Their `dim` scales all widths: the defaults are the
published sizes, small values train on a CPU.
"""

import math
from collections.abc import Callable
from typing import Any

from torch import nn

from skinlesion.errors import SkinlesionError
from skinlesion.hooks import name_outputs
from skinlesion.model import PRESETS, CMSSMUNet
from skinlesion.model.config import Config
from skinlesion.plugins import load_plugins
from skinlesion.zoo.attention_unet import AttentionUNet, AttentionUNetConfig
from skinlesion.zoo.hcmamba import HCMamba, HCMambaConfig
from skinlesion.zoo.lvunet import LVUNet, LVUNetConfig
from skinlesion.zoo.malunet import MALUNet, MALUNetConfig
from skinlesion.zoo.medmamba import MedMamba, MedMambaConfig
from skinlesion.zoo.transfuse import TransFuse, TransFuseConfig
from skinlesion.zoo.unet import UNet, UNetConfig
from skinlesion.zoo.unetpp import UNetPlusPlus, UNetPlusPlusConfig
from skinlesion.zoo.utnetv2 import UTNetV2, UTNetV2Config

# Each name's network and the config whose values a caller may override.
REGISTRY: dict[str, tuple[Callable[[Any], nn.Module], Config]] = {
    **{preset: (CMSSMUNet, config) for preset, config in PRESETS.items()},
    "unet": (UNet, UNetConfig()),
    "attention_unet": (AttentionUNet, AttentionUNetConfig()),
    "unetpp": (UNetPlusPlus, UNetPlusPlusConfig()),
    "lvunet": (LVUNet, LVUNetConfig()),
    "utnetv2": (UTNetV2, UTNetV2Config()),
    "transfuse": (TransFuse, TransFuseConfig()),
    "malunet": (MALUNet, MALUNetConfig()),
    "medmamba": (MedMamba, MedMambaConfig()),
    "hcmamba": (HCMamba, HCMambaConfig()),
}


def create_model(name: str, **overrides: Any) -> nn.Module:
    """Build a randomly initialized network.

    Args:
        name: a key of `REGISTRY`: "paper", "small", "tiny", "vmunet", "unet", "transfuse", ..., or of
            `skinlesion.extend.register_model`.
        **overrides: options of its config, such as `dim=48` or `se=False`.

    Returns:
        The module; `.name` is the registry name and `.config` its config.

    Raises:
        SkinlesionError: the name or an option is unknown (the message lists the valid ones), or the network would
            be too narrow to learn.
    """
    if name not in REGISTRY:
        load_plugins()
    if name not in REGISTRY and ":" in name:
        from skinlesion.extend import import_listed_model  # which imports this module

        import_listed_model(name)
    if name not in REGISTRY:
        raise SkinlesionError(f"Unknown model {name!r}; choose one of: {', '.join(REGISTRY)}.")
    network, config = REGISTRY[name]
    model = network(config.override(**overrides))
    _refuse_constant_norms(model, name)
    if not isinstance(model, CMSSMUNet):  # which names its points itself
        name_outputs(model)
    model.name = name  # type: ignore[assignment]
    return model


def _refuse_constant_norms(model: nn.Module, name: str) -> None:
    """A LayerNorm over one number is constant, and nothing before it can learn."""
    for path, module in model.named_modules():
        if isinstance(module, nn.LayerNorm) and math.prod(module.normalized_shape) == 1:
            raise SkinlesionError(f"{name} is too narrow: {path} would normalize over one channel; use a larger dim.")
