"""The layers of any model of the kit by name, and their feature maps, channels last."""

import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from skinlesion.errors import SkinlesionError
from skinlesion.explain.common import check_image, model_name, shared_copy
from skinlesion.hooks import name_outputs, observe, points

# Heights of two blank images that are run to tell the axes of a map apart: its height is the axis that grows. They
# differ by 128 also after they are padded to a multiple of 16, 32, 64 or 128, so a cell's side is 128 / growth.
_PROBES = (32, 160)


@dataclass(frozen=True)
class Layer:
    """A part of a model whose output is a feature map.

    Attributes:
        name: E1.1, S2, D1.1, ... in the paper's network; elsewhere the module's path.
        point: the point with its output, see `skinlesion.points`.
        channels_last: whether its output is (B, H, W, C) rather than (B, C, H, W).
        cell: image pixels along one side of a cell of the map.
    """

    name: str
    point: str
    channels_last: bool
    cell: int


def layers(model: nn.Module) -> dict[str, Layer]:
    """The layers that can be inspected, in the order in which they run.

    This runs the model on two small blank images, which takes some tens of milliseconds.

    Args:
        model: any model of the kit, or one that takes an image (B, C, H, W); it is left as it was.
    """
    copy = with_points(model)
    first = next(model.parameters())
    channels = getattr(getattr(model, "config", None), "in_channels", 3)
    probes = []
    with torch.no_grad():
        for height in _PROBES:
            with observe(copy, "*output") as seen:
                copy(torch.full((1, channels, height, 32), 0.5, dtype=first.dtype, device=first.device))
            probes.append(seen)
    names = {_layer_name(point): point for point in probes[0] if _is_block(point)}
    found = (_layer(name, point, [seen[point].shape for seen in probes]) for name, point in names.items())
    return {layer.name: layer for layer in found if layer is not None}


def with_points(model: nn.Module) -> nn.Module:
    """A `shared_copy` of a network; if it names no points, its blocks get one each."""
    copy = shared_copy(model)
    if not points(copy):
        name_outputs(copy)
    return copy


def _is_block(point: str) -> bool:
    """Whether a point is the output of a block rather than of a part inside it."""
    return not re.search(r"\.(ss2d|se|cmn)\.output$|^(merging|expanding)\.", point)


def _layer_name(point: str) -> str:
    return point.removesuffix(".output").removesuffix(".cra")


def _layer(name: str, point: str, shapes: list[torch.Size]) -> Layer | None:
    """What an output's shapes in the two probes say; None if it is no map."""
    if any(len(shape) != 4 for shape in shapes):
        return None
    growth = [after - before for before, after in zip(*shapes, strict=True)]
    axis = 1 if growth[1] > 0 else 2
    if growth[axis] <= 0:  # of one size, whatever the image's
        return None
    return Layer(name, point, axis == 1, (_PROBES[1] - _PROBES[0]) // growth[axis])


def find_layer(model: nn.Module, name: str) -> Layer:
    """One layer by its name.

    Raises:
        SkinlesionError: there is no such layer; the message lists the existing ones.
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
    known, copy = layers(model), with_points(model)
    with observe(copy, *(layer.point for layer in known.values())) as seen:
        copy(images)
    return {
        layer.name: seen[layer.point] if layer.channels_last else seen[layer.point].permute(0, 2, 3, 1)
        for layer in known.values()
    }
