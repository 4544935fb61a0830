"""Charts of experiments: how far each module's gates move, and how much of another image's mask comes along."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from skinlesion.plots.colors import BLUE, GRAY, SEQUENTIAL, hexadecimal
from skinlesion.plots.interactive.base import finish


def gate_changes(changes: Mapping[str, float], control: Mapping[str, float] | None) -> go.Figure:
    """Bars by module; the control's beside them."""
    names = list(changes)
    bars = [go.Bar(x=names, y=list(changes.values()), name="experiment", marker={"color": hexadecimal(BLUE)})]
    if control is not None:
        values = [control[name] for name in names]
        bars.append(go.Bar(x=names, y=values, name="control", marker={"color": hexadecimal(GRAY)}))
    figure = go.Figure(bars)
    figure.update_xaxes(type="category")
    figure.update_yaxes(title_text="mean change of the gates")
    most = max(changes, key=lambda name: changes[name])
    caption = (
        "How far the gates of each block (SE) and skip (CRA: S2, S3, …) move, mean absolute change, gates are 0 to 1. "
        f"Most in {most}, by {changes[most]:.3f}."
    )
    return finish(figure, caption, height=290, legend={"orientation": "h", "y": 1.12, "x": 0})


def effects(rows: Sequence[str], columns: Sequence[str], values: np.ndarray) -> go.Figure:
    """A heat map of patching effects, the network's input at the top."""
    text = [["" if np.isnan(value) else f"{value:.2f}" for value in line] for line in values]
    heat = go.Heatmap(
        z=values,
        x=list(columns),
        y=list(rows),
        text=text,
        texttemplate="%{text}",
        colorscale=SEQUENTIAL,
        zmin=0,
        zmax=1,
        hovertemplate="%{y}, %{x}: %{z:.3f}<extra></extra>",
        colorbar={"thickness": 10, "title": "effect"},
    )
    figure = go.Figure(heat)
    figure.update_yaxes(autorange="reversed", type="category")
    caption = (
        "How much of image B's mask comes along when this one activation is taken from B: 0, the mask stays A's; 1, it "
        "becomes B's. From top to bottom in the order in which they run. Patched one at a time, which says nothing "
        "about several together."
    )
    return finish(figure, caption, height=60 + 24 * len(rows))
