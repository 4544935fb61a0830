"""One system at all thresholds, and two systems image by image."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from skinlesion.plots import captions
from skinlesion.plots.colors import BLUE, GRAY, ORANGE, hexadecimal
from skinlesion.plots.interactive.base import finish
from skinlesion.plots.rasters import Array


def threshold_curve(thresholds: Array, scores: Mapping[str, Array], threshold: float) -> go.Figure:
    """How the pooled scores of a set follow the threshold; arguments as `skinlesion.plots.static.threshold_curve`."""
    figure = go.Figure()
    for (name, values), color in zip(scores.items(), (BLUE, ORANGE, GRAY), strict=False):
        figure.add_trace(
            go.Scatter(
                x=thresholds,
                y=values,
                name=name,
                mode="lines",
                line={"color": hexadecimal(color)},
                hovertemplate=f"threshold %{{x:.2f}}<br>{name} %{{y:.3f}}<extra></extra>",
            )
        )
    figure.add_vline(threshold, line={"color": "gray", "dash": "dot"})
    figure.update_xaxes(title_text="threshold", range=[0, 1])
    figure.update_yaxes(title_text="score", range=[0, 1])
    return finish(figure, captions.threshold_curve(thresholds, scores, threshold), height=320)


def paired_scores(
    a: Array,
    b: Array,
    *,
    names: tuple[str, str] = ("A", "B"),
    label: str = "IoU",
    ids: Sequence[str] | None = None,
) -> go.Figure:
    """Two systems on the same images; arguments as `skinlesion.plots.static.paired_scores`.

    A dot's `customdata` is the image's id.

    Args:
        a: as there.
        b: as there.
        names: as there.
        label: as there.
        ids: of the images, shown under the pointer.
    """
    named = np.array(ids if ids is not None else [f"image {i + 1}" for i in range(len(a))])
    low = max(0.0, float(np.min([a, b])) - 0.05)
    figure = go.Figure(go.Scatter(x=[low, 1], y=[low, 1], mode="lines", line={"color": "gray", "dash": "dot"}))
    figure.update_traces(hoverinfo="skip")
    for where, color in ((a >= b, BLUE), (a < b, ORANGE)):
        figure.add_trace(
            go.Scatter(
                x=a[where],
                y=b[where],
                customdata=named[where].tolist(),
                mode="markers",
                marker={"color": hexadecimal(color), "size": 9, "opacity": 0.8},
                hovertemplate="%{customdata}<br>%{x:.3f} and %{y:.3f}<extra></extra>",
            )
        )
    figure.update_xaxes(title_text=f"{label}, {names[0]}", range=[low, 1.01], constrain="domain")
    figure.update_yaxes(title_text=f"{label}, {names[1]}", range=[low, 1.01], scaleanchor="x", constrain="domain")
    caption = captions.paired_scores(a, b, names, label)
    return finish(figure, caption, height=400, showlegend=False, clickmode="event+select")
