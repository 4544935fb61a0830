"""Squeeze-and-excitation gates, channel maps, and channel redundancy."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from skinlesion.plots import captions
from skinlesion.plots.colors import BLUE, DIVERGING, ORANGE, hexadecimal
from skinlesion.plots.interactive.base import COLORBAR, finish, heat_trace, image_axes, panels
from skinlesion.plots.rasters import Array


def se_bars(
    gates: Array,
    *,
    block: str = "this block",
    other: Array | None = None,
    other_name: str = "other image",
    channel: int | None = None,
) -> go.Figure:
    """The gate of every channel, sorted; arguments as `skinlesion.plots.static.se_bars`.

    A selected bar's `customdata` is its channel.
    """
    order = np.argsort(-gates, kind="stable")
    colors = np.where(order == channel, hexadecimal(ORANGE), hexadecimal(BLUE))
    bars = go.Bar(
        y=gates[order],
        customdata=order,
        marker={"color": colors, "line": {"width": 0}},
        name="this",
        hovertemplate="channel %{customdata}<br>gate %{y:.3f}<extra></extra>",
    )
    figure = go.Figure(bars)
    if other is not None:
        figure.add_trace(
            go.Scatter(
                y=other[order],
                customdata=order,
                mode="markers",
                marker={"size": 4, "color": hexadecimal(ORANGE)},
                name=other_name,
                hovertemplate="channel %{customdata}<br>gate %{y:.3f}<extra></extra>",
            )
        )
    figure.add_hline(0.5, line={"color": "gray", "width": 1, "dash": "dot"})
    figure.update_xaxes(title_text="channels, sorted", showticklabels=False)
    figure.update_yaxes(title_text="gate", range=[0, 1])
    caption = captions.se_bars(gates, block, None if other is None else other_name)
    return finish(figure, caption, height=300, bargap=0, clickmode="event+select", showlegend=other is not None)


def se_overview(gates: Mapping[str, Array]) -> go.Figure:
    """How the gates of every block spread; arguments as `skinlesion.plots.static.se_overview`."""
    lows, quarters, medians, threes, highs = np.array(
        [np.quantile(g, [0, 0.25, 0.5, 0.75, 1]) for g in gates.values()]
    ).T
    figure = go.Figure(
        go.Box(
            x=list(gates),
            lowerfence=lows,
            q1=quarters,
            median=medians,
            q3=threes,
            upperfence=highs,
            marker={"color": hexadecimal(BLUE)},
            showlegend=False,
        )
    )
    figure.update_yaxes(title_text="gate", range=[0, 1])
    return finish(figure, captions.se_overview(gates), height=300)


def channel_maps(maps: Array, *, titles: Sequence[str], what: str = "Channel maps", columns: int = 4) -> go.Figure:
    """Several maps on one scale.

    Args:
        maps: (H, W, n).
        titles: n of them.
        what: what the maps are, for the caption.
        columns: maps side by side.
    """
    count = maps.shape[-1]
    rows = -(-count // columns)
    figure = panels(rows, columns, titles)
    limit = float(np.abs(maps).max()) or 1.0
    for i, title in enumerate(titles):
        row, col = i // columns + 1, i % columns + 1
        heat = heat_trace(
            maps[..., i], maps.shape[:2], title, colorscale=DIVERGING, zmin=-limit, zmax=limit, showscale=i == 0
        )
        figure.add_trace(heat, row=row, col=col)
        image_axes(figure, maps.shape[:2], row, col)
    return finish(figure, captions.channel_maps(maps, what), height=60 + 170 * rows)


def redundancy(correlation: Array, *, layer: str, mean_absolute: float, effective_rank: float) -> go.Figure:
    """The correlation matrix; arguments as `skinlesion.plots.static.redundancy`.

    More than 256 channels are averaged in blocks.
    """
    heat = heat_trace(correlation, correlation.shape, "correlation", colorscale=DIVERGING, zmin=-1, zmax=1)
    heat.update(
        hovertemplate="channels %{y:.0f} and %{x:.0f}<br>r %{z:.2f}<extra></extra>", colorbar=COLORBAR | {"y": -0.16}
    )
    figure = go.Figure(heat)
    image_axes(figure, correlation.shape)
    figure.update_xaxes(visible=True, title_text="channel")
    figure.update_yaxes(visible=True, title_text="channel")
    return finish(figure, captions.redundancy(correlation, layer, mean_absolute, effective_rank))


def redundancy_by_depth(
    layers: Sequence[str], mean_absolute: Sequence[float], rank_share: Sequence[float]
) -> go.Figure:
    """Redundancy along the network; arguments as `skinlesion.plots.static.redundancy_by_depth`."""
    lines = (("mean |r|", mean_absolute, BLUE, "solid"), ("effective rank / channels", rank_share, ORANGE, "dash"))
    figure = go.Figure(
        [
            go.Scatter(
                x=list(layers),
                y=list(values),
                name=name,
                mode="lines+markers",
                line={"color": hexadecimal(color), "dash": dash},
            )
            for name, values, color, dash in lines
        ]
    )
    figure.update_yaxes(range=[0, 1])
    return finish(figure, captions.redundancy_by_depth(mean_absolute), height=320)
