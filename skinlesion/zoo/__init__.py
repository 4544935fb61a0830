"""The factory: every network of the kit by name.

All take an image (B, 3, H, W) with values in [0, 1] and give logits (B, 1, H, W).
"""

from collections.abc import Callable
from typing import Any

from torch import nn

from skinlesion.errors import SkinlesionError
from skinlesion.model import PRESETS, VisionStateSpaceUNet
from skinlesion.zoo.unet import UNet, UNetConfig


def _state_space(preset: str) -> Callable[..., nn.Module]:
    return lambda **overrides: VisionStateSpaceUNet(PRESETS[preset].override(**overrides))


REGISTRY: dict[str, Callable[..., nn.Module]] = {
    **{preset: _state_space(preset) for preset in PRESETS},
    "unet": lambda **overrides: UNet(UNetConfig().override(**overrides)),
}


def create_model(name: str, **overrides: Any) -> nn.Module:
    """Build a network with fresh weights.

    Args:
        name: a key of `REGISTRY`: "paper", "small", "tiny", "vmunet", "unet".
        **overrides: options of its config, such as `dim=48` or `se=False`.

    Returns:
        The module; `.name` is the registry name and `.config` its config.

    Raises:
        SkinlesionError: the name or an option is unknown; the message lists the valid ones.
    """
    if name not in REGISTRY:
        raise SkinlesionError(f"Unknown model {name!r}; choose one of: {', '.join(REGISTRY)}.")
    model = REGISTRY[name](**overrides)
    model.name = name  # type: ignore[assignment]
    return model
