"""The parts of a network with the sizes that they have in a given model."""

from typing import NamedTuple

import torch
from torch import nn

from skinlesion.errors import SkinlesionError
from skinlesion.explain.common import model_name
from skinlesion.explain.layers import feature_maps, layers, with_points
from skinlesion.hooks import find_point
from skinlesion.model import CMSSMUNet


class Part(NamedTuple):
    """One box of the diagram.

    Attributes:
        name: embedding, E1, .., S2, .., D1, head.
        kind: "embedding", "encoder", "skip", "decoder" or "head".
        level: 1 for the finest grid, counted down the U.
        shape: output shape, (H, W, C).
        blocks: number of CM-SSM blocks.
        parameters: number of trainable parameters, including those of the patch merging or expanding before it.
    """

    name: str
    kind: str
    level: int
    shape: tuple[int, int, int]
    blocks: int
    parameters: int


class LayerSize(NamedTuple):
    """A layer of any model.

    Attributes:
        name: as `skinlesion.explain.layers` has it.
        shape: output shape, (H, W, C).
        parameters: number of trainable parameters.
    """

    name: str
    shape: tuple[int, int, int]
    parameters: int


def layer_sizes(model: nn.Module, height: int = 256, width: int = 256) -> list[LayerSize]:
    """Every layer of any model whose output is a map, in the order in which they run, with live shapes.

    Args:
        model: any model of the kit; it is left as it was.
        height: of the image.
        width: of the image.
    """
    channels = getattr(getattr(model, "config", None), "in_channels", 3)
    first = next(model.parameters())
    blank = torch.zeros(1, channels, height, width, dtype=first.dtype, device=first.device)
    maps, known, named = feature_maps(model, blank), layers(model), with_points(model)
    sizes = []
    for name, found in maps.items():
        _, h, w, c = found.shape  # (1, h, w, C)
        count = sum(p.numel() for p in find_point(named, known[name].point)[0].parameters())
        sizes.append(LayerSize(name, (h, w, c), count))
    return sizes


def architecture(model: nn.Module, height: int = 256, width: int = 256) -> list[Part]:
    """Every part of the network, in the order in which they run, with live shapes.

    Args:
        model: the paper's network, with any of its modules switched off; it is left as it was.
        height: of the image.
        width: of the image.

    Raises:
        SkinlesionError: the model is of another kind.
    """
    if not isinstance(model, CMSSMUNet):
        raise SkinlesionError(f"This figure can only be drawn for the paper's network, not for {model_name(model)}.")
    config = model.config
    stages = len(config.depths)
    first = next(model.parameters())
    blank = torch.zeros(1, config.in_channels, height, width, dtype=first.dtype, device=first.device)
    shapes = {name: (f.shape[1], f.shape[2], f.shape[3]) for name, f in feature_maps(model, blank).items()}

    def part(name: str, kind: str, level: int, layer: str, blocks: int, *modules: nn.Module) -> Part:
        return Part(name, kind, level, shapes[layer], blocks, sum(p.numel() for m in modules for p in m.parameters()))

    parts = [part("embedding", "embedding", 1, "embedding", 0, model.embedding)]
    for i, depth in enumerate(config.depths):
        before = [model.merging[i - 1]] if i > 0 else []
        parts.append(part(f"E{i + 1}", "encoder", i + 1, f"E{i + 1}.{depth}", depth, model.encoder[i], *before))
    for i, depth in enumerate(config.decoder_depths):
        level = stages - i
        before = [model.expanding[i - 1]] if i > 0 else []
        if level < stages and config.cra:
            skip = f"S{level + 1}"
            parts.append(part(skip, "skip", level + 1, skip, 0, model.skips[level - 1]))
        parts.append(part(f"D{level}", "decoder", level, f"D{level}.{depth}", depth, model.decoder[i], *before))
    return [*parts, part("head", "head", 1, "expanded", 0, model.final_expanding, model.head)]
