"""Scores over a set of images, calibration, and how a run goes."""

import math
from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
import plotly.graph_objects as go

from skinlesion.plots import captions
from skinlesion.plots.colors import BLUE, CYCLE, GRAY, ORANGE, hexadecimal
from skinlesion.plots.curves import COMPARED, PANELS, present
from skinlesion.plots.interactive.base import MARGIN, finish, panels
from skinlesion.plots.rasters import Array


def reliability(edges: Array, pixels: Array, confidence: Array, frequency: Array, ece: float) -> go.Figure:
    """Whether a probability means what it says; arguments as `skinlesion.plots.static.reliability`."""
    filled = pixels > 0
    figure = go.Figure(
        [
            go.Bar(
                x=(edges[:-1] + edges[1:]) / 2,
                y=pixels / pixels.sum(),
                width=np.diff(edges),
                marker={"color": hexadecimal(GRAY), "opacity": 0.35},
                name="share of pixels",
            ),
            go.Scatter(x=[0, 1], y=[0, 1], mode="lines", line={"color": "gray", "dash": "dot"}, name="ideal"),
            go.Scatter(
                x=confidence[filled],
                y=frequency[filled],
                mode="lines+markers",
                line={"color": hexadecimal(BLUE)},
                name="this model",
                hovertemplate="predicted %{x:.2f}<br>lesion %{y:.2f}<extra></extra>",
            ),
        ]
    )
    figure.update_xaxes(title_text="predicted probability", range=[0, 1])
    figure.update_yaxes(title_text="share that is lesion", range=[0, 1])
    return finish(figure, captions.reliability(ece))


def histogram(values: Array, *, label: str = "IoU", mark: float | None = None) -> go.Figure:
    """How a score spreads over the images of a set; arguments as `skinlesion.plots.static.histogram`.

    A selected bar's `customdata` is its (lowest, highest) score.
    """
    counts, edges = np.histogram(values, bins=20, range=(0, 1))
    bars = go.Bar(
        x=(edges[:-1] + edges[1:]) / 2,
        y=counts,
        width=np.diff(edges),
        customdata=np.stack([edges[:-1], edges[1:]], axis=1).tolist(),
        marker={"color": hexadecimal(BLUE)},
        hovertemplate="%{customdata[0]:.2f} to %{customdata[1]:.2f}<br>%{y} images<extra></extra>",
    )
    figure = go.Figure(bars)
    figure.add_vline(float(np.median(values)), line={"color": "gray"})
    if mark is not None:
        figure.add_vline(mark, line={"color": hexadecimal(ORANGE), "dash": "dash"}, annotation_text="this image")
    figure.update_xaxes(title_text=label, range=[0, 1])
    figure.update_yaxes(title_text="images")
    return finish(figure, captions.histogram(values, label), height=300, bargap=0.02, clickmode="event+select")


def training_curves(history: Mapping[str, Sequence[float]], *, best_epoch: int | None = None) -> go.Figure:
    """Losses by part, scores and learning rate; arguments as `skinlesion.plots.static.training_curves`."""
    drawn = present(history)
    figure = panels(2, 2, [*drawn], horizontal_spacing=0.12, vertical_spacing=0.3)
    mode = "lines+markers" if len(history["epoch"]) == 1 else "lines"
    for i, (title, lines) in enumerate(drawn.items()):
        row, col = i // 2 + 1, i % 2 + 1
        for color, (column, name) in zip(CYCLE, lines.items(), strict=False):
            trace = go.Scatter(
                x=history["epoch"],
                y=history[column],
                name=name,
                mode=mode,
                line={"color": hexadecimal(color)},
                legend=f"legend{i + 1}" if i else "legend",
                hovertemplate=f"epoch %{{x}}<br>{name} %{{y:.4g}}<extra></extra>",
            )
            figure.add_trace(trace, row=row, col=col)
        if best_epoch is not None:
            figure.add_vline(best_epoch, line={"color": "gray", "dash": "dot"}, row=row, col=col)
        if PANELS[title].scale == "log":
            ticks = _log_ticks([value for column in lines for value in history[column]])
            figure.update_yaxes(type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks], row=row, col=col)
    finish(figure, captions.training_curves(history["epoch"], best_epoch), height=620)
    for i in range(len(drawn)):  # each panel has its own legend, below it: inside, it would cover the curves
        axis = str(i + 1) if i else ""
        (left, _), (bottom, _) = figure.layout[f"xaxis{axis}"].domain, figure.layout[f"yaxis{axis}"].domain
        at = {"x": left, "xanchor": "left", "y": bottom - 0.06, "yanchor": "top", "orientation": "h"}
        figure.update_layout({f"legend{axis}": {"bgcolor": "rgba(0, 0, 0, 0)", "font": {"size": 11}} | at})
    return figure


def _log_ticks(values: Sequence[float]) -> list[float]:
    """1, 2 and 5 times powers of ten around the positive values, for an axis whose labels are whole numbers."""
    positive = [value for value in values if 0 < value < math.inf]
    if not positive:
        return []
    low, high = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
    steps = (1, 2, 5) if high - low <= 3 else (1,)
    return [digit * 10.0**power for power in range(low, high + 1) for digit in steps]


def compared_runs(histories: Mapping[str, Mapping[str, Sequence[float]]]) -> go.Figure:
    """Several runs over one another; arguments as `skinlesion.plots.static.compared_runs`."""
    figure = panels(2, 2, [*COMPARED.values()], horizontal_spacing=0.12, vertical_spacing=0.15)
    for i, (column, title) in enumerate(COMPARED.items()):
        for color, (name, history) in zip(cycle(CYCLE), histories.items(), strict=False):
            if column not in history:
                continue
            trace = go.Scatter(
                x=history["epoch"],
                y=history[column],
                name=name,
                legendgroup=name,
                showlegend=i == 0,
                mode="lines+markers" if len(history["epoch"]) == 1 else "lines",
                line={"color": hexadecimal(color)},
                hovertemplate=f"epoch %{{x}}<br>{title} %{{y:.4g}}<extra></extra>",
            )
            figure.add_trace(trace, row=i // 2 + 1, col=i % 2 + 1)
    legend = {"orientation": "h", "yanchor": "bottom", "y": 1.06, "x": 0}  # on the first screen, above the panels
    return finish(figure, captions.compared_runs([*histories]), height=580, legend=legend, margin=MARGIN | {"t": 60})
