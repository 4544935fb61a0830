"""Masks, probabilities and errors over the image."""

import numpy as np
import plotly.graph_objects as go

from skinlesion.plots import captions
from skinlesion.plots.colors import DIVERGING, SEQUENTIAL
from skinlesion.plots.interactive.base import (
    PANEL_SIDE,
    clear_scale,
    finish,
    heat_trace,
    image_axes,
    image_trace,
    panels,
)
from skinlesion.plots.rasters import Array, confusion, gray, line_raster, masked


def overlay(
    image: np.ndarray,
    mask: np.ndarray,
    *,
    truth: np.ndarray | None = None,
    opacity: float = 0.35,
    style: str = "fill",
) -> go.Figure:
    """The image with its mask; arguments as `skinlesion.plots.static.overlay`."""
    figure = go.Figure(image_trace(masked(image, mask, truth, opacity, style)))
    image_axes(figure, image.shape[:2])
    return finish(figure, captions.overlay(mask, truth))


def errors(image: np.ndarray, mask: np.ndarray, truth: np.ndarray, *, opacity: float = 0.6) -> go.Figure:
    """True positives, false positives and false negatives; arguments as `skinlesion.plots.static.errors`."""
    figure = go.Figure(image_trace(confusion(image, mask, truth, opacity)))
    image_axes(figure, image.shape[:2])
    return finish(figure, captions.errors(mask, truth))


def probability(
    image: np.ndarray, values: Array, *, threshold: float | None = None, opacity: float = 0.75
) -> go.Figure:
    """The probability under the pointer.

    Args:
        image: uint8 (H, W, 3), or float in [0, 1].
        values: (H, W), in [0, 1].
        threshold: drawn as a line if given.
        opacity: of the map over the image, in [0, 1].
    """
    size = image.shape[:2]
    heat = heat_trace(values, size, "probability", colorscale=SEQUENTIAL, zmin=0, zmax=1, opacity=opacity)
    figure = go.Figure([image_trace(gray(image)), heat])
    if threshold is not None:
        figure.add_trace(image_trace(line_raster(values >= threshold)))
    image_axes(figure, size)
    return finish(figure, captions.probability(values, threshold))


def spread(image: np.ndarray, values: Array, *, opacity: float = 0.75) -> go.Figure:
    """Uncertainty: the spread of the probability over augmented views.

    Args:
        image: uint8 (H, W, 3), or float in [0, 1].
        values: standard deviation, (H, W), in [0, 0.5].
        opacity: of the map over the image, in [0, 1].
    """
    heat = heat_trace(values, image.shape[:2], "spread", colorscale=SEQUENTIAL, zmin=0, opacity=opacity)
    figure = go.Figure([image_trace(gray(image)), heat])
    image_axes(figure, image.shape[:2])
    return finish(figure, captions.spread(values))


def difference(
    image: np.ndarray, a: Array, b: Array, *, names: tuple[str, str] = ("A", "B"), over_image: bool = False
) -> go.Figure:
    """Where two models disagree; arguments as `skinlesion.plots.static.difference`.

    Args:
        image: as there.
        a: as there.
        b: as there.
        names: as there.
        over_image: only the difference, laid over the image, rather than three maps side by side.
    """
    size = image.shape[:2]
    title = f"{names[0]} minus {names[1]}"
    if over_image:
        scale = clear_scale(DIVERGING, 0.9)
        heat = heat_trace(a - b, size, title, colorscale=scale, zmin=-1, zmax=1)
        figure = go.Figure([image_trace(gray(image)), heat])
        image_axes(figure, size)
        return finish(figure, captions.difference(a, b, names))
    figure = panels(1, 3, [*names, title])
    for col, values, name in zip((1, 2), (a, b), names, strict=True):
        heat = heat_trace(values, size, name, colorscale=SEQUENTIAL, zmin=0, zmax=1, showscale=False, side=PANEL_SIDE)
        figure.add_trace(heat, row=1, col=col)
    heat = heat_trace(a - b, size, title, colorscale=DIVERGING, zmin=-1, zmax=1, side=PANEL_SIDE)
    figure.add_trace(heat, row=1, col=3)
    for col in (1, 2, 3):
        image_axes(figure, size, 1, col)
    return finish(figure, captions.difference(a, b, names), height=320)
