"""What a solved notebook shows of an interactive output where nothing interactive runs, as on a code-hosting site."""

from html import escape
from typing import Any

PLOTLY = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
_SHOWN = ("text/html", "image/png", "image/svg+xml", "image/jpeg", "text/markdown")


def add_fallbacks(notebook: dict[str, Any]) -> None:
    """Give every Plotly figure and widget of an executed notebook a note in HTML, where it has nothing static.

    JupyterLab prefers the interactive form, so that the note is only seen where that can't be shown.
    """
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if (PLOTLY in data or WIDGET in data) and not any(kind in data for kind in _SHOWN):
                data["text/html"] = _note(data)


def _note(data: dict[str, Any]) -> str:
    what = "An interactive figure" if PLOTLY in data else "A control to play with"
    title = _title(data.get(PLOTLY, {}))
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
