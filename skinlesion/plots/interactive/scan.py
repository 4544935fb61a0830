"""The routes of the scan in motion, what a token reads and writes, and how much is written."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from skinlesion.plots import captions
from skinlesion.plots.captions import ROUTES
from skinlesion.plots.colors import BLUE, DIVERGING, HEAT, ORANGE, VERMILION, hexadecimal
from skinlesion.plots.interactive.base import (
    add_picker,
    cross_trace,
    finish,
    heat_trace,
    image_axes,
    image_trace,
    panels,
    root_scale,
)
from skinlesion.plots.rasters import Array, Raster, data_uri, gray, largest_elsewhere

_TAIL = 12  # steps that stay to be seen behind the head
_PANELS = ((1, 1), (1, 2), (2, 1), (2, 2))


def routes(coordinates: np.ndarray, *, image: np.ndarray | None = None, names: Sequence[str] = ROUTES) -> go.Figure:
    """The four routes walked at once, with play, pause and a slider; a grid of 8 x 8 takes ten seconds.

    Args:
        coordinates: (4, L, 2), the (row, column) of each step.
        image: laid under the paths if given.
        names: of the routes.
    """
    height, width = (int(side) for side in coordinates[0].max(0) + 1)
    size = (height, width) if image is None else (image.shape[0], image.shape[1])
    points = (coordinates + 0.5) * (size[0] / height, size[1] / width) - 0.5  # in pixels
    figure = panels(2, 2, names)
    for (row, col), path in zip(_PANELS, points, strict=True):
        if image is not None:
            _lay_under(figure, gray(image), row, col)
        faint = {"color": hexadecimal(BLUE), "width": 1}
        way = go.Scatter(x=path[:, 1], y=path[:, 0], line=faint, mode="lines", opacity=0.6, hoverinfo="skip")
        figure.add_trace(way, row=row, col=col)
        image_axes(figure, size, row, col)
    moving = len(figure.data)
    for (row, col), trace in zip(_PANELS, _steps(points, 0), strict=True):
        figure.add_trace(trace, row=row, col=col)
    numbers = [moving + i for i in range(len(points))]
    count = points.shape[1]
    figure.frames = [go.Frame(data=_steps(points, t), traces=numbers, name=str(t)) for t in range(count)]
    finish(figure, captions.routes(height, width), height=520, showlegend=False)
    return figure.update_layout(updatemenus=[_buttons()], sliders=[_slider(count)], margin={"b": 60})


def _lay_under(figure: go.Figure, image: Raster, row: int, col: int) -> None:
    """An image behind a subplot, in its own pixels. (An image trace would vanish while an animation plays.)"""
    height, width = image.shape[:2]
    corner = {"x": -0.5, "y": -0.5, "sizex": width, "sizey": height, "sizing": "stretch", "layer": "below"}
    figure.add_layout_image(source=data_uri(image)[0], row=row, col=col, **corner)


def _steps(points: np.ndarray, step: int) -> list[go.Scatter]:
    """A trace for each route: the last steps, and a large point where it is."""
    traces = []
    for path in points:
        tail = path[max(0, step - _TAIL) : step + 1]
        marker = {"size": [0] * (len(tail) - 1) + [13], "color": hexadecimal(VERMILION)}
        line = {"color": hexadecimal(ORANGE), "width": 4}
        traces.append(
            go.Scatter(
                x=tail[:, 1].round(1).tolist(),
                y=tail[:, 0].round(1).tolist(),
                mode="lines+markers",
                marker=marker,
                line=line,
            )
        )
    return traces


def _play(target: list[str | None] | None, milliseconds: int) -> list:
    transition = {"frame": {"duration": milliseconds, "redraw": False}, "transition": {"duration": 0}}
    return [target, transition | {"mode": "immediate", "fromcurrent": True}]


def _buttons() -> dict:
    buttons = [
        {"label": "Play", "method": "animate", "args": _play(None, 150)},
        {"label": "Pause", "method": "animate", "args": _play([None], 0)},
    ]
    return {"type": "buttons", "direction": "left", "buttons": buttons, "x": 0, "y": -0.04, "yanchor": "top"}


def _slider(count: int) -> dict:
    steps = [{"label": str(t), "method": "animate", "args": _play([str(t)], 0)} for t in range(count)]
    value = {"prefix": "step ", "xanchor": "right"}
    return {"steps": steps, "x": 0.25, "len": 0.75, "y": -0.02, "currentvalue": value, "ticklen": 0, "minorticklen": 0}


def _one_large(names: Sequence[str]) -> tuple[go.Figure, list[dict[str, int]]]:
    """A large panel beside four small ones, and where each is."""
    specs = [[{"rowspan": 2, "colspan": 2}, None, {}, {}], [None, None, {}, {}]]
    return panels(2, 4, names, specs=specs), [
        {"row": row, "col": col} for row, col in ((1, 1), (1, 3), (1, 4), (2, 3), (2, 4))
    ]


def implicit_attention(
    image: np.ndarray,
    per_route: Array,
    merged: Array,
    token: tuple[int, int],
    *,
    direction: str = "reads",
    reduction: str = "norm",
    names: Sequence[str] = ROUTES,
    pick: bool = False,
) -> go.Figure:
    """The tokens that one token depends on or influences; arguments as `skinlesion.plots.static.implicit_attention`.

    Args:
        image: uint8 (H, W, 3), or float in [0, 1].
        per_route: (4, h, w).
        merged: (h, w).
        token: (row, column) in the grid.
        direction: "reads" or "writes".
        reduction: "norm", "sum" or "contribution".
        names: of the routes.
        pick: lay points over the large panel that can be clicked, see `add_picker`.
    """
    size = image.shape[:2]
    figure, places = _one_large(["merged", *names])
    x, y = ((token[1] + 0.5) * size[1] / merged.shape[1] - 0.5, (token[0] + 0.5) * size[0] / merged.shape[0] - 0.5)
    for place, values in zip(places, [merged, *per_route], strict=True):
        limit = largest_elsewhere(values, token)
        colors: dict[str, Any] = {"colorscale": root_scale(HEAT, 2), "zmin": 0, "zmax": limit}
        if reduction == "sum":
            colors = {"colorscale": root_scale(DIVERGING, 2, signed=True), "zmin": -limit, "zmax": limit}
        figure.add_trace(image_trace(gray(image)), **place)
        heat = heat_trace(values, size, "weight", opacity=0.85, showscale=False, **colors)
        figure.add_trace(heat, **place)
        figure.add_trace(cross_trace(x, y, hexadecimal(BLUE)), **place)
        image_axes(figure, size, **place)
    if pick:
        add_picker(figure, size, merged.shape, **places[0])
    return finish(figure, captions.implicit_attention(merged, token, direction, reduction))


def step_maps(image: np.ndarray, maps: Array, *, names: Sequence[str] = ROUTES) -> go.Figure:
    """The step size of each token; arguments as `skinlesion.plots.static.step_maps`, for four directions."""
    size = image.shape[:2]
    figure, places = _one_large(["mean", *names])
    # Not by its name: Streamlit takes inferno's first color, #000004, for a placeholder and paints it red.
    colors = root_scale(HEAT, 1)
    scale: dict[str, Any] = {"colorscale": colors, "zmin": float(maps.min()), "zmax": float(maps.max())}
    scale["opacity"] = 0.85
    for place, values in zip(places, [maps.mean(0), *maps], strict=True):
        figure.add_trace(image_trace(gray(image)), **place)
        figure.add_trace(heat_trace(values, size, "Delta", showscale=place is places[0], **scale), **place)
        image_axes(figure, size, **place)
    return finish(figure, captions.step_maps(maps))
