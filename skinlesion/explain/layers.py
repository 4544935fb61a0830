"""The layers of any model of the kit by name, and their feature maps, channels last."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from skinlesion.errors import SkinlesionError
from skinlesion.explain.looking import check_image, model_name, shared_copy
from skinlesion.model import VisionStateSpaceUNet

# Heights of two blank images that are run to tell the axes of a map apart: its height is the axis that grows. They
# differ by 128 also after they are padded to a multiple of 16, 32, 64 or 128, so a cell's side is 128 / growth.
_PROBES = (32, 160)
_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)


@dataclass(frozen=True)
class Layer:
    """A part of a model whose output is a feature map.

    Attributes:
        name: E1.1, S2, D1.1, ... in the paper's network; elsewhere the module's path.
        path: of the module in the model.
        channels_last: whether its output is (B, H, W, C) rather than (B, C, H, W).
        cell: image pixels along one side of a cell of the map.
    """

    name: str
    path: str
    channels_last: bool
    cell: int


def layers(model: nn.Module) -> dict[str, Layer]:
    """The layers that can be looked at, in the order in which they run.

    Two small blank images are run, some tens of milliseconds.

    Args:
        model: any model of the kit, or one that takes an image (B, C, H, W); it is left as it was.
    """
    copy = shared_copy(model)
    paths = _candidates(model)
    shapes: dict[str, list[torch.Size | None]] = {}

    def watch(name: str, path: str) -> None:
        def hook(_module: nn.Module, _inputs: object, output: Any) -> None:
            is_map = isinstance(output, Tensor) and output.dim() == 4
            shapes.setdefault(name, []).append(output.shape if is_map else None)

        copy.get_submodule(path).register_forward_hook(hook)

    for name, path in paths.items():
        watch(name, path)
    first = next(model.parameters())
    channels = getattr(getattr(model, "config", None), "in_channels", 3)
    with torch.no_grad():
        for height in _PROBES:
            copy(torch.full((1, channels, height, 32), 0.5, dtype=first.dtype, device=first.device))
    found = (_layer(name, paths[name], seen) for name, seen in shapes.items())
    return {layer.name: layer for layer in found if layer is not None}


def _layer(name: str, path: str, shapes: list[torch.Size | None]) -> Layer | None:
    """What a module's output shapes in the two probes say; None if it is no map, or runs more than once a pass."""
    if len(shapes) != len(_PROBES) or shapes[0] is None or shapes[1] is None:
        return None
    growth = [after - before for before, after in zip(*shapes, strict=True)]
    axis = 1 if growth[1] > 0 else 2
    if growth[axis] <= 0:  # of one size, whatever the image's
        return None
    return Layer(name, path, axis == 1, (_PROBES[1] - _PROBES[0]) // growth[axis])


def _candidates(model: nn.Module) -> dict[str, str]:
    """Name -> path of the modules worth watching."""
    if isinstance(model, VisionStateSpaceUNet):
        return _named_by_the_paper(model)
    paths: dict[str, str] = {}

    def add(path: str, module: nn.Module) -> None:
        if isinstance(module, nn.ModuleList):
            for name, child in module.named_children():
                add(f"{path}.{name}", child)
        elif not isinstance(module, _NORMS) and any(True for _ in module.parameters()):
            paths[path] = path

    for name, child in model.named_children():
        add(name, child)
    return paths


def _named_by_the_paper(model: VisionStateSpaceUNet) -> dict[str, str]:
    config, stages = model.config, len(model.config.depths)
    paths = {"embedding": "embedding"}
    for i, depth in enumerate(config.depths):
        paths |= {f"E{i + 1}.{j + 1}": f"encoder.{i}.{j}" for j in range(depth)}
    if config.cra:
        paths |= {f"S{i + 2}": f"skips.{i}" for i in range(stages - 1)}
    for i, depth in enumerate(config.decoder_depths):
        paths |= {f"D{stages - i}.{j + 1}": f"decoder.{i}.{j}" for j in range(depth)}
    return paths | {"expanded": "final_expanding"}


def find_layer(model: nn.Module, name: str) -> Layer:
    """One layer by its name.

    Raises:
        SkinlesionError: there is no such layer; the message lists those there are.
    """
    known = layers(model)
    if name not in known:
        raise SkinlesionError(f"{model_name(model)} has no layer {name!r}; choose one of: {', '.join(known)}.")
    return known[name]


@torch.no_grad()
def feature_maps(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """The output of every layer, for a batch of images.

    Args:
        model: any model of the kit; it is left as it was.
        images: (B, C, H, W).

    Returns:
        Layer -> (B, h, w, C), in the order in which they run.
    """
    check_image(images, single=False)
    copy = shared_copy(model)
    maps: dict[str, Tensor] = {}

    def watch(layer: Layer) -> None:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            # A copy: an activation that comes after may work in place.
            maps[layer.name] = output.clone() if layer.channels_last else output.permute(0, 2, 3, 1).clone()

        copy.get_submodule(layer.path).register_forward_hook(hook)

    for layer in layers(model).values():
        watch(layer)
    copy(images)
    return maps
