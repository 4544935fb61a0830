"""What all Plotly figures share: image axes in the image's own pixels, heat maps with a value under the pointer.

Neither template nor text color is set, so that a page's light or dark theme decides them. Pictures are part of the
figure, as text: nothing is fetched.
"""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale
from plotly.subplots import make_subplots

from skinlesion.plots.rasters import MAP_SIDE, Array, data_uri, reduced

HEIGHT = 420  # pixels
MARGIN = {"l": 8, "r": 8, "t": 34, "b": 8}
LEGEND = {"orientation": "h", "yanchor": "top", "y": -0.18, "x": 0}
# Below the picture: beside it, it would take a telephone's width and stand far from a picture in a wide page.
COLORBAR = {"orientation": "h", "y": -0.02, "yanchor": "top", "thickness": 10, "len": 0.6, "outlinewidth": 0}
PANEL_SIDE = 128  # numbers of a heat map along its longer side, where there are several


def finish(figure: go.Figure, caption: str, *, height: int = HEIGHT, **layout) -> go.Figure:
    """Set size, margins and caption (`figure.layout.meta["caption"]`).

    Args:
        figure: it is changed.
        caption: what is shown and its range.
        height: in pixels.
        **layout: anything else of the layout.
    """
    options = {"margin": MARGIN, "hovermode": "closest", "legend": LEGEND, "plot_bgcolor": "rgba(0, 0, 0, 0)"} | layout
    for axes in (figure.update_xaxes, figure.update_yaxes):
        axes(gridcolor="rgba(128, 128, 128, 0.25)", zeroline=False)
    return figure.update_layout(height=height, meta={"caption": caption}, **options)


def image_trace(image: np.ndarray) -> go.Image:
    """An image of any size, shown with at most 512 pixels a side, on axes in its own pixels.

    Args:
        image: uint8 (H, W, 3 or 4).
    """
    height, width = image.shape[:2]
    uri, (shown_height, shown_width) = data_uri(image)
    dx, dy = width / shown_width, height / shown_height
    return go.Image(source=uri, x0=(dx - 1) / 2, dx=dx, y0=(dy - 1) / 2, dy=dy, hoverinfo="skip")


def heat_trace(values: Array, size: tuple[int, int], hover: str, *, side: int = MAP_SIDE, **options) -> go.Heatmap:
    """A map (h, w) laid over the pixels of an image of `size`.

    Args:
        values: what the colors follow and the pointer reads.
        size: (height, width) of the image.
        hover: name of the value.
        side: numbers along the longer side; a larger map is averaged in blocks.
        **options: of `go.Heatmap`.
    """
    z, block = reduced(values, side)
    dy, dx = size[0] / values.shape[0] * block, size[1] / values.shape[1] * block
    return go.Heatmap(
        z=z,
        x0=(dx - 1) / 2,
        dx=dx,
        y0=(dy - 1) / 2,
        dy=dy,
        hovertemplate=f"row %{{y:.0f}}, column %{{x:.0f}}<br>{hover} %{{z:.4g}}<extra></extra>",
        colorbar=COLORBAR,
        **options,
    )


def root_scale(name: str, power: int, *, signed: bool = False) -> list[tuple[float, str]]:
    """A color scale whose colors follow a root of the value: the figure holds the values themselves.

    Args:
        name: of the scale.
        power: 2 for the square root.
        signed: the value's zero is in the middle.
    """
    places = np.linspace(-1 if signed else 0, 1, 33)
    values = np.sign(places) * np.abs(places) ** power
    if signed:
        places, values = (places + 1) / 2, (values + 1) / 2
    return list(zip(values.tolist(), sample_colorscale(name, places.tolist()), strict=True))


def clear_scale(name: str, opacity: float) -> list[tuple[float, str]]:
    """A diverging color scale that is clear at zero, so that what lies below is seen there.

    Args:
        name: of the scale.
        opacity: at both ends, in [0, 1].
    """
    places = np.linspace(0, 1, 33)
    colors = sample_colorscale(name, places.tolist(), colortype="tuple")
    alphas = opacity * np.abs(2 * places - 1) ** 0.6
    return [
        (place, f"rgba({255 * r:.0f}, {255 * g:.0f}, {255 * b:.0f}, {alpha:.3f})")
        for place, (r, g, b), alpha in zip(places.tolist(), colors, alphas.tolist(), strict=True)
    ]


def image_axes(figure: go.Figure, size: tuple[int, int], row: int | None = None, col: int | None = None) -> None:
    """Square pixels, row 0 on top, no ticks; for one subplot, or for a figure without subplots."""
    height, width = size
    figure.update_xaxes(range=[-0.5, width - 0.5], visible=False, constrain="domain", row=row, col=col)
    anchor = "x" if row is None else next(figure.select_yaxes(row=row, col=col)).anchor
    options = {"scaleanchor": anchor, "constrain": "domain"}
    figure.update_yaxes(range=[height - 0.5, -0.5], visible=False, row=row, col=col, **options)


def cross_trace(x: float, y: float, color: str) -> go.Scatter:
    """A cross that marks a place."""
    marker = {"symbol": "cross-thin", "size": 13, "line": {"width": 3, "color": color}}
    kept = {"marker": {"opacity": 1}}  # where a picker's point is selected, other traces would fade
    return go.Scatter(x=[x], y=[y], mode="markers", marker=marker, unselected=kept, hoverinfo="skip", showlegend=False)


def add_picker(figure: go.Figure, size: tuple[int, int], grid: tuple[int, int], **place: int) -> go.Figure:
    """Lay invisible points over an image, one a cell, that can be clicked; neither images nor heat maps can be.

    A selected point's `customdata` is its (row, column) in the grid.

    Args:
        figure: it is changed.
        size: (height, width) of the image.
        grid: rows and columns of cells.
        **place: row and col of the subplot, if there are subplots.
    """
    rows, columns = (index.ravel() for index in np.indices(grid))
    cell_y, cell_x = size[0] / grid[0], size[1] / grid[1]
    points = go.Scatter(
        x=(columns + 0.5) * cell_x - 0.5,
        y=(rows + 0.5) * cell_y - 0.5,
        customdata=np.stack([rows, columns], axis=1).tolist(),  # lists: an array would reach Streamlit as a mapping
        mode="markers",
        marker={"size": 12, "opacity": 0, "symbol": "square"},
        selected={"marker": {"opacity": 0}},
        unselected={"marker": {"opacity": 0}},
        hovertemplate="row %{customdata[0]}, column %{customdata[1]}<extra>click to select</extra>",
        showlegend=False,
    )
    figure.add_trace(points, **place)
    return figure.update_layout(clickmode="event+select")


def panels(rows: int, cols: int, names: Sequence[str], **options) -> go.Figure:
    """Subplots with small titles.

    Args:
        rows: of panels.
        cols: of panels.
        names: their titles, row by row.
        **options: of `make_subplots`.
    """
    spacing = {"horizontal_spacing": 0.02, "vertical_spacing": 0.1}
    return make_subplots(rows, cols, subplot_titles=list(names), **(spacing | options)).update_annotations(font_size=12)
