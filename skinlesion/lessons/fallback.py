"""What a solved notebook shows of an interactive output where nothing interactive runs, as on a code-hosting site."""

import base64
import io
from collections.abc import Iterator
from html import escape
from typing import Any

PLOTLY = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
_STATE = "application/vnd.jupyter.widget-state+json"
_SHOWN = ("text/html", "image/png", "image/svg+xml", "image/jpeg", "text/markdown")


def add_fallbacks(notebook: dict[str, Any]) -> None:
    """Give every Plotly figure and widget of an executed notebook something static, where it has nothing.

    A widget gets the figure or the text that its first settings gave, as far as the notebook's widget state has it; a
    Plotly figure of heat maps gets an image of its last frame; everything else gets a note. JupyterLab prefers the
    interactive form, so that they are seen only where that can't be shown.
    """
    widgets = notebook.get("metadata", {}).get("widgets", {}).get(_STATE, {}).get("state", {})
    for data in _bare(notebook):
        if WIDGET in data:
            data.update(_first_output(data[WIDGET].get("model_id", ""), widgets))
        else:
            drawn = _last_frame(data[PLOTLY])
            data.update({"image/png": drawn} if drawn else {"text/html": _note("An interactive figure", data[PLOTLY])})


def without_fallback(notebook: dict[str, Any]) -> int:
    """How many interactive outputs have nothing static."""
    return sum(1 for _ in _bare(notebook))


def _bare(notebook: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if (PLOTLY in data or WIDGET in data) and not any(kind in data for kind in _SHOWN):
                yield data


def _note(what: str, figure: dict[str, Any]) -> str:
    title = _title(figure)
    return (
        f"<p><em>{what}{f': {escape(title)}' if title else ''}. It isn't shown here: open this notebook in JupyterLab "
        "to use it.</em></p>"
    )


def _title(figure: dict[str, Any]) -> str:
    """A figure's title, or the names of what it shows."""
    title = figure.get("layout", {}).get("title", {})
    text = title.get("text", "") if isinstance(title, dict) else str(title)
    names = [str(trace["name"]) for trace in figure.get("data", ()) if trace.get("name")]
    return text or ", ".join(dict.fromkeys(names))


# --- widgets ---------------------------------------------------------------------------------------------------------


def _first_output(model: str, widgets: dict[str, Any]) -> dict[str, str]:
    """The image that a control shows at first; else a note, with the text that it shows at first."""
    outputs = list(_outputs(model, widgets))
    for output in outputs:
        if "image/png" in output.get("data", {}):
            return {"image/png": output["data"]["image/png"]}
    note = _note("A control to play with", {})
    text = "".join("".join(output.get("text", "")) for output in outputs)
    return {"text/html": note + (f"<p>At first it prints</p><pre>{escape(text)}</pre>" if text else "")}


def _outputs(model: str, widgets: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The outputs inside a widget and its children."""
    state = widgets.get(model, {}).get("state", {})
    yield from state.get("outputs", ())
    for child in state.get("children", ()):
        yield from _outputs(child.removeprefix("IPY_MODEL_"), widgets)


# --- figures ---------------------------------------------------------------------------------------------------------


def _last_frame(figure: dict[str, Any]) -> str:
    """The last frame of a figure that has only heat maps, as a PNG in base64; "" for any other figure."""
    frames = figure.get("frames", ())
    traces = frames[-1]["data"] if frames else figure.get("data", ())
    if not traces or any(trace.get("type") != "heatmap" or not isinstance(trace.get("z"), list) for trace in traces):
        return ""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    titles = [str(note.get("text", "")) for note in figure.get("layout", {}).get("annotations", ())]
    fig = Figure(figsize=(2.2 * len(traces), 2.4), dpi=80, layout="constrained")
    FigureCanvasAgg(fig)
    for i, (ax, trace) in enumerate(zip(fig.subplots(1, len(traces), squeeze=False)[0], traces, strict=True)):
        ax.imshow(trace["z"], origin="lower", cmap="viridis", vmin=trace.get("zmin"), vmax=trace.get("zmax"))
        ax.set(xticks=[], yticks=[], title=titles[i] if i < len(titles) else "")
    if frames:
        fig.suptitle("The last frame; open this notebook in JupyterLab for the animation", fontsize=8)
    file = io.BytesIO()
    fig.savefig(file, format="png", metadata={"Software": None})
    return base64.b64encode(file.getvalue()).decode()
