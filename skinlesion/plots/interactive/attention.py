"""Cross-region attention over the image, and how it follows a change."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go

from skinlesion.plots import captions
from skinlesion.plots.colors import CYCLE, SEQUENTIAL, hexadecimal
from skinlesion.plots.interactive.base import finish, heat_trace, image_axes, image_trace, panels
from skinlesion.plots.rasters import Array, gray

_STRIP, _WIDE = 0.06, 0.07  # middle and width of a strip, as parts of the image


def cra_gates(
    image: np.ndarray,
    gate_h: Array,
    gate_w: Array,
    product: Array,
    *,
    what: str = "mean gates",
    limits: tuple[tuple[float, float], tuple[float, float]] | None = None,
) -> go.Figure:
    """The gates as strips along the image's sides; arguments as `skinlesion.plots.static.cra_gates`.

    `limits` are (lowest, highest) of the colors of the strips and of the product, so that several pictures can be
    compared; by default each picture's own range.
    """
    height, width = size = image.shape[:2]
    own = (min(gate_h.min(), gate_w.min()), max(gate_h.max(), gate_w.max())), (product.min(), product.max())
    (lowest, highest), (dark, light) = limits or own
    scale: dict[str, Any] = {"colorscale": SEQUENTIAL, "zmin": lowest, "zmax": highest, "showscale": False}
    left = heat_trace(gate_h[:, None], (height, 1), "gate of the row", **scale)
    left.update(x0=-_STRIP * width, dx=_WIDE * width, hovertemplate="row %{y:.0f}<br>gate %{z:.3f}<extra></extra>")
    top = heat_trace(gate_w[None], (1, width), "gate of the column", **scale)
    top.update(y0=-_STRIP * height, dy=_WIDE * height, hovertemplate="column %{x:.0f}<br>gate %{z:.3f}<extra></extra>")
    heat = heat_trace(product, size, "product", colorscale=SEQUENTIAL, opacity=0.7, zmin=dark, zmax=light)
    figure = go.Figure([image_trace(gray(image)), heat, left, top])
    image_axes(figure, size)
    edge = _STRIP + _WIDE / 2
    figure.update_xaxes(range=[-edge * width, width - 0.5])
    figure.update_yaxes(range=[height - 0.5, -edge * height])
    return finish(figure, captions.cra_gates(gate_h, gate_w, product, what))


def gate_profiles(profiles: Mapping[str, tuple[Array, Array]]) -> go.Figure:
    """Gates along rows and columns; arguments as `skinlesion.plots.static.gate_profiles`."""
    figure = panels(1, 2, ["rows", "columns"], horizontal_spacing=0.1)
    for color, (name, pair) in zip(CYCLE, profiles.items(), strict=False):
        line = {"color": hexadecimal(color), "dash": "dash" if name == "expected" else "solid"}
        for col, values in enumerate(pair, start=1):
            figure.add_trace(
                go.Scatter(y=values, name=name, line=line, legendgroup=name, showlegend=col == 1), row=1, col=col
            )
    figure.update_xaxes(title_text="cell of the skip's grid")
    figure.update_yaxes(title_text="gate", row=1, col=1)
    return finish(figure, captions.gate_profiles([*profiles]), height=300)
