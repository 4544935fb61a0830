"""Experiments on the network or on the image, run once for all visitors: by weights, picture, and what is changed."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import streamlit as st
import torch

from dashboard.components.painter import stamps
from dashboard.explanations import LARGE, SMALL, block_names, image_of, outcome
from dashboard.image_choice import Picture
from dashboard.weights import Weights, load
from skinlesion import explain
from skinlesion.hooks import Replacement, points

COLUMNS = {"ss2d.output": "scan", "se.output": "after SE", "cmn.output": "CMN", "output": "block's output"}


class GateEdit(NamedTuple):
    """A gate that is set by hand.

    Attributes:
        kind: "module", "channel", "row" or "column".
        module: block or skip.
        index: of the channel, row or column; 0 for a module.
        value: of the gate; 0 for a module.
        other: the key of the image whose gates a module gets; "" for its mean.
    """

    kind: str
    module: str
    index: int
    value: float
    other: str


class Painted(NamedTuple):
    """Two changed images, float32 (h, w, C) as the network takes them, and what became of them."""

    image: np.ndarray
    outcome: explain.Outcome
    control_image: np.ndarray | None
    control: explain.Outcome | None


def mask(weights: Weights, probability: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The mask at a size, bool (H, W), at the weights' own threshold."""
    map = torch.from_numpy(probability.copy())[None, None]
    return load(weights).at_size(map, size)[0, 0].numpy() >= weights.threshold


def visible(weights: Weights, picture: Picture, changed: np.ndarray) -> np.ndarray:
    """A changed image as it can be shown, uint8 (h, w, 3), in the colors of the picture that it was made from."""
    prepared = image_of(weights, picture)
    low, high = float(prepared.min()), float(prepared.max())
    dark, light = float(picture.image.min()), float(picture.image.max())
    shown = dark + (changed - low) / max(high - low, 1e-6) * (light - dark)
    return np.clip(shown, 0, 255).astype(np.uint8)


def painted(weights: Weights, picture: Picture, edits: str) -> Painted:
    """The painted image, and the same painted elsewhere."""
    return _painted(weights.digest, picture.key, edits, weights, picture)


@st.cache_resource(max_entries=LARGE, show_spinner=False)
def _painted(digest: str, key: str, edits: str, _weights: Weights, _picture: Picture) -> Painted:
    image, asked = image_of(_weights, _picture), stamps(edits)
    lesion = outcome(_weights, _picture).probability >= _weights.threshold
    control = explain.control_stamps(asked, lesion)
    images = [explain.stamped(image, each, lesion) for each in (asked, control) if each is not None]
    found = explain.outcomes(load(_weights).model, torch.cat(images))
    shown = [each[0].permute(1, 2, 0).float().cpu().numpy() for each in images]
    if control is None:
        return Painted(shown[0], found[0], None, None)
    return Painted(shown[0], found[0], shown[1], found[1])


def gated(weights: Weights, picture: Picture, edit: GateEdit, other: Picture | None) -> explain.Outcome:
    """The image with a gate set by hand."""
    return _gated(weights.digest, picture.key, edit, 0, weights, picture, other)


def gated_control(weights: Weights, picture: Picture, edit: GateEdit, draw: int) -> explain.Outcome:
    """A random channel, row or column set to the same value, or the module's own gates in random order."""
    return _gated(weights.digest, picture.key, edit, draw, weights, picture, None)


@st.cache_resource(max_entries=SMALL, show_spinner=False)
def _gated(
    digest: str, key: str, edit: GateEdit, draw: int, _weights: Weights, _picture: Picture, _other: Picture | None
) -> explain.Outcome:
    model, image = load(_weights).model, image_of(_weights, _picture)
    if draw and edit.kind == "module":
        change: dict[str, Replacement] = explain.to_shuffled(model, edit.module, draw)
    else:
        index = random_index(edit, outcome(_weights, _picture), draw) if draw else edit.index
        other = None if _other is None else image_of(_weights, _other)
        change = _replacements(model, edit._replace(index=index), other)
    return explain.outcomes(model, image, change)[0]


def random_index(edit: GateEdit, before: explain.Outcome, draw: int) -> int:
    """Another channel, row or column, drawn by a seed."""
    point = {"channel": "se.gate", "row": "cra.gate_h", "column": "cra.gate_w"}[edit.kind]
    others = [i for i in range(len(before.gates[f"{edit.module}.{point}"])) if i != edit.index]
    return int(np.random.default_rng(draw).choice(others)) if others else edit.index


def _replacements(model: torch.nn.Module, edit: GateEdit, other: torch.Tensor | None) -> dict[str, Replacement]:
    if edit.kind == "channel":
        return explain.set_channel(edit.module, edit.index, edit.value)
    if edit.kind in ("row", "column"):
        return explain.set_line(edit.module, "h" if edit.kind == "row" else "w", edit.index, edit.value)
    if other is None:
        return explain.to_mean(model, edit.module)
    return explain.to_other(model, edit.module, other)


def patching(
    weights: Weights, picture: Picture, other: Picture, tell: Callable[[float, str], None]
) -> tuple[list[str], list[str], np.ndarray]:
    """Every block's activations from another image, one at a time.

    Returns:
        Rows, columns, and effects (rows, columns), NaN where there is no such point.
    """
    model = load(weights).model
    images = image_of(weights, picture), image_of(weights, other)
    rows, columns, names = grid_of(weights)
    flat = [name for line in names for name in line if name]
    found = explain.patch_effects(
        model, *images, flat or None, report=lambda done: tell(done, f"{done:.0%} of the activations")
    )
    if not flat:  # a network that names no points: its layers, by their outputs
        return list(found), ["output"], np.array(list(found.values()))[:, None]
    return rows, columns, np.array([[found.get(name, np.nan) for name in line] for line in names])


def grid_of(weights: Weights) -> tuple[list[str], list[str], list[list[str]]]:
    """Blocks and skips in the order in which they run, kinds of activations, and the points; "" where there is none."""
    known = set(points(load(weights).model))
    blocks = block_names(weights)
    skips = sorted(name.removesuffix(".cra.output") for name in known if name.endswith(".cra.output"))
    encoder = [name for name in blocks if name.startswith("E")]
    rows = [*encoder, *skips, *(name for name in blocks if name.startswith("D"))]
    columns = [column for column in COLUMNS if any(f"{row}.{column}" in known for row in rows)]

    def point(row: str, column: str) -> str:
        name = f"{row}.cra.output" if row in skips and column == "output" else f"{row}.{column}"
        return name if name in known else ""

    return rows, [COLUMNS[column] for column in columns], [[point(row, column) for column in columns] for row in rows]
