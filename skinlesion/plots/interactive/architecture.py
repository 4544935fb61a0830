"""The U of the network, with live shapes."""

from collections.abc import Sequence

import plotly.graph_objects as go

from skinlesion.plots import captions
from skinlesion.plots.boxes import COLORS, HEIGHT, WIDTH, Part, arrows, place
from skinlesion.plots.colors import hexadecimal
from skinlesion.plots.interactive.base import finish

_INK = "#111111"  # on the boxes, whose colors do not follow the theme


def architecture(parts: Sequence[Part], *, highlight: str | None = None) -> go.Figure:
    """The parts of the network as a U; a selected point's `customdata` is a part's name.

    Args:
        parts: from `skinlesion.explain.architecture`.
        highlight: name of a part to point out, for a guided tour.
    """
    boxes = place(parts)
    figure = go.Figure()
    for (x, y), (to_x, to_y) in ((end, start) for start, end in arrows(boxes)):
        refs = {"xref": "x", "yref": "y", "axref": "x", "ayref": "y"}
        figure.add_annotation(x=x, y=y, ax=to_x, ay=to_y, text="", arrowhead=2, arrowcolor="gray", **refs)
    for box in boxes:
        corners = {"x0": box.x - WIDTH / 2, "x1": box.x + WIDTH / 2, "y0": box.y - HEIGHT / 2, "y1": box.y + HEIGHT / 2}
        line = {"width": 4 if box.part.name == highlight else 0, "color": "crimson"}
        figure.add_shape(type="rect", fillcolor=hexadecimal(COLORS[box.part.kind]), line=line, **corners)
        text = f"<b>{box.title}</b><br>{box.text}"
        figure.add_annotation(x=box.x, y=box.y, text=text, showarrow=False, font={"color": _INK, "size": 11})
    figure.add_trace(
        go.Scatter(
            x=[box.x for box in boxes],
            y=[box.y for box in boxes],
            customdata=[box.part.name for box in boxes],
            text=[f"{box.title}, {box.part.kind}<br>{box.text}" for box in boxes],
            mode="markers",
            marker={"size": 34, "opacity": 0},
            selected={"marker": {"opacity": 0}},
            unselected={"marker": {"opacity": 0}},
            hovertemplate="%{text} parameters<extra></extra>",
        )
    )
    figure.update_xaxes(visible=False, range=[-1.1, 5.5])
    figure.update_yaxes(visible=False, range=[max(box.y for box in boxes) + 0.5, -0.5])
    caption = captions.architecture(sum(part.parameters for part in parts))
    return finish(figure, caption, height=480, showlegend=False, clickmode="event+select")
