"""Charts of gates and experiments: all modules at a glance, changes of the gates, and effects of patching."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from skinlesion.explain import ModuleSummary
from skinlesion.plots.colors import BLUE, GRAY, SEQUENTIAL, hexadecimal
from skinlesion.plots.interactive.base import finish

_QUANTILES = 64  # cells of a strip of gates


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
        "Mean absolute change of the gates in each block (SE) and skip (CRA: S2, S3, …); gates run from 0 to 1. "
        f"Largest in {most}: {changes[most]:.3f}."
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
        "Effect of replacing one activation of A by B's: at 0, the mask stays A's; at 1, it becomes B's. Blocks and "
        "skips from top to bottom, in the order in which they run. Activations are patched one at a time, which says "
        "nothing about combinations."
    )
    return finish(figure, caption, height=60 + 24 * len(rows))


# What an axis shows at least, so that bars that mean next to nothing look like it.
_LEAST = {"reaction": (0.0, 0.2), "correlation": (-0.5, 0.5), "effect": (0.0, 0.1)}


def _span(field: str, values: Sequence[float]) -> list[float]:
    low, high = _LEAST[field]
    return [min(low, 1.05 * min(values)), max(high, 1.05 * max(values))]


def gate_overview(found: Sequence[ModuleSummary], images: int) -> go.Figure:
    """One line a module on one scale: its gates, and three bars of what they do."""
    names = [f"{each.name} {each.kind}" for each in found]
    share = np.linspace(0, 1, _QUANTILES)
    strips = np.stack([np.quantile(each.gates, 1 - share) for each in found])
    titles = ["gates of this image, sorted", "variation", "r with<br>lesion", "effect<br>on mask"]
    figure = make_subplots(
        1, 4, shared_yaxes=True, column_widths=[0.46, 0.18, 0.18, 0.18], horizontal_spacing=0.02, subplot_titles=titles
    )
    figure.add_trace(
        go.Heatmap(
            z=strips,
            x=100 * share,
            y=names,
            colorscale=SEQUENTIAL,
            zmin=0,
            zmax=1,
            colorbar={"orientation": "h", "y": -0.12, "yanchor": "top", "thickness": 10, "len": 0.4, "x": 0.22},
            hovertemplate="%{y}: %{x:.0f}% of its gates are at least %{z:.3f}<extra></extra>",
        ),
        1,
        1,
    )
    for column, field in enumerate(("reaction", "correlation", "effect"), start=2):
        values = [getattr(each, field) for each in found]
        text = [f"{value:.3f}" for value in values]
        bar = go.Bar(x=values, y=names, orientation="h", marker={"color": hexadecimal(BLUE)}, hovertext=text)
        figure.add_trace(bar, 1, column)
        figure.update_xaxes(range=_span(field, values), row=1, col=column)
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_xaxes(nticks=4)
    figure.update_annotations(font_size=12)
    caption = (
        "Strips: all gates of a module for this image, from the largest to the smallest, on one scale from 0 (dark) to "
        f"1 (light). Variation: range of a gate over {images} images, averaged over gates. r: correlation with the "
        "lesion's area (SE) or position (CRA). Effect: drop in Dice when the gates are replaced by their mean."
    )
    return finish(figure, caption, height=130 + 24 * len(found), showlegend=False)
