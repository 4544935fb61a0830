"""Interactive outputs are visible, as a note, where nothing interactive runs."""

import pytest

from skinlesion.lessons.execution import execute
from skinlesion.lessons.fallback import PLOTLY, WIDGET, add_fallbacks


def _with(data):
    return {"cells": [{"cell_type": "markdown"}, {"cell_type": "code", "outputs": [{"data": data}]}]}


def _html(data):
    notebook = _with(data)
    add_fallbacks(notebook)
    return notebook["cells"][1]["outputs"][0]["data"].get("text/html", "")


def test_a_figure_is_named_by_its_title_or_traces_and_escaped():
    assert "Δ &lt;b&gt;" in _html({PLOTLY: {"layout": {"title": {"text": "Δ <b>"}}, "data": []}})
    assert "row, column" in _html({PLOTLY: {"layout": {}, "data": [{"name": "row"}, {"name": "column"}]}})
    assert "An interactive figure. It" in _html({PLOTLY: {}})


def test_a_widget_gets_a_note_and_what_is_static_already_stays():
    assert "JupyterLab" in _html({WIDGET: {}, "text/plain": "IntSlider()"})
    assert _html({PLOTLY: {}, "image/png": "..."}) == ""
    assert _html({PLOTLY: {}, "text/html": "mine"}) == "mine"
    assert _html({"text/plain": "3"}) == ""


@pytest.mark.slow
def test_an_executed_notebook_has_them(tmp_path):
    source = (
        "import plotly.graph_objects as go\nimport plotly.io\nplotly.io.renderers.default = 'plotly_mimetype'\n"
        "go.Figure(go.Scatter(y=[1, 2]), {'title': 'A line'}).show()"
    )
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "execution_count": None, "outputs": [], "source": [source]}
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    notebook = {"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    outputs = execute(notebook, tmp_path)["cells"][0]["outputs"]
    assert any("A line" in each["data"].get("text/html", "") for each in outputs)
