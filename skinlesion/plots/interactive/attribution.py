"""What an output depends on: receptive fields, attributions, and how faithful they are."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go

from skinlesion.plots import captions
from skinlesion.plots.colors import BLUE, DIVERGING, HEAT, ORANGE, hexadecimal
from skinlesion.plots.interactive.base import (
    LEGEND,
    PANEL_SIDE,
    clear_scale,
    cross_trace,
    finish,
    heat_trace,
    image_axes,
    image_trace,
    panels,
    root_scale,
)
from skinlesion.plots.rasters import Array, gray, line_raster


def receptive_fields(
    shares: Mapping[str, Array], centers: Mapping[str, tuple[int, int]], half_sides: Mapping[str, int]
) -> go.Figure:
    """Effective receptive fields side by side; arguments as `skinlesion.plots.static.receptive_fields`."""
    figure = panels(1, len(shares), [*shares])
    for col, (name, share) in enumerate(shares.items(), start=1):
        row, column = centers[name]
        relative = share / share.max()
        scale: dict[str, Any] = {"colorscale": root_scale(HEAT, 4), "zmin": 0, "zmax": 1, "showscale": False}
        figure.add_trace(heat_trace(relative, share.shape, "relative", side=PANEL_SIDE, **scale), row=1, col=col)
        figure.add_trace(cross_trace(column, row, hexadecimal(BLUE)), row=1, col=col)
        half = half_sides[name] / 2
        corners = {"x0": column - half, "x1": column + half, "y0": row - half, "y1": row + half}
        figure.add_shape(type="rect", line={"color": "white", "width": 2}, row=1, col=col, **corners)
        image_axes(figure, share.shape, 1, col)
    return finish(figure, captions.receptive_fields(half_sides), height=340)


def attribution(
    image: np.ndarray,
    values: Array,
    region: np.ndarray,
    *,
    method: str = "attribution",
    layer: str | None = None,
    faithfulness: float | None = None,
    opacity: float = 0.9,
    pixel: tuple[int, int] | None = None,
) -> go.Figure:
    """An attribution over the image, with the region that was asked about outlined.

    Args:
        image: uint8 (H, W, 3), or float in [0, 1].
        values: (H, W), signed.
        region: bool (H, W).
        method: its name.
        layer: of Grad-CAM.
        faithfulness: its score, if it was measured.
        opacity: of the map's largest values over the image, in [0, 1]; where it is 0 the image is seen.
        pixel: (row, column) of the image, marked with a cross: a region of one pixel can hardly be seen.
    """
    size = image.shape[:2]
    limit = float(np.quantile(np.abs(values), 0.99)) or float(np.abs(values).max()) or 1.0
    scale = clear_scale(DIVERGING, opacity)
    heat = heat_trace(values, size, "attribution", colorscale=scale, zmin=-limit, zmax=limit)
    # The outline lies on top: under the map it could not be seen.
    figure = go.Figure([image_trace(gray(image)), heat, image_trace(line_raster(region, BLUE))])
    if pixel is not None:
        figure.add_trace(cross_trace(pixel[1], pixel[0], hexadecimal(BLUE)))
    image_axes(figure, size)
    return finish(figure, captions.attribution(values, method, layer, faithfulness))


def faithfulness(
    fraction: Array, deletion: Array, insertion: Array, control_deletion: Array, control_insertion: Array, score: float
) -> go.Figure:
    """Deletion and insertion curves; arguments as `skinlesion.plots.static.faithfulness`."""
    figure = panels(1, 2, ["deletion", "insertion"], shared_yaxes=True)
    for col, (curve, control) in enumerate(((deletion, control_deletion), (insertion, control_insertion)), start=1):
        for values, name, color, dash in (
            (curve, "by attribution", BLUE, "solid"),
            (control, "random order", ORANGE, "dot"),
        ):
            line = {"color": hexadecimal(color), "dash": dash}
            trace = go.Scatter(x=fraction, y=values, name=name, line=line, legendgroup=name, showlegend=col == 1)
            figure.add_trace(trace, row=1, col=col)
    figure.update_xaxes(title_text="fraction of the image")
    figure.update_yaxes(range=[0, 1])
    return finish(figure, captions.faithfulness(score), height=320, legend=LEGEND | {"y": -0.32})
