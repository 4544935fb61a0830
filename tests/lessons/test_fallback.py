"""Interactive outputs are visible, as an image or a note, where nothing interactive runs."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from skinlesion.lessons.execution import execute
from skinlesion.lessons.fallback import PLOTLY, WIDGET, add_fallbacks, without_fallback


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


def test_of_heat_maps_the_last_frame_is_drawn():
    figure = {
        "data": [{"type": "heatmap", "z": [[0.0, None], [None, None]]}],
        "layout": {"annotations": [{"text": "row by row"}]},
        "frames": [{"data": [{"type": "heatmap", "z": [[0.0, 1.0], [2.0, 3.0]], "zmin": 0, "zmax": 3}]}],
    }
    notebook = _with({PLOTLY: figure})
    assert without_fallback(notebook) == 1
    add_fallbacks(notebook)
    assert without_fallback(notebook) == 0
    data = notebook["cells"][1]["outputs"][0]["data"]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGB")).reshape(-1, 3)
    for color in ((68, 1, 84), (253, 231, 37)):  # both ends of viridis, so all four cells are there
        assert (np.abs(pixels.astype(int) - color).sum(1) < 6).any()


@pytest.mark.slow
def test_a_control_shows_what_its_first_settings_gave(tmp_path):
    begin = "import ipywidgets, matplotlib.pyplot as plt\n"
    draws = "def f(x=2):\n    plt.plot([0, x])\n    plt.show()\n_ = ipywidgets.interact(f, x=(0, 3))"
    prints = "def f(x=2):\n    print('x <', x + 1)\n_ = ipywidgets.interact(f, x=(0, 3))"
    drawn, printed = (_run(begin + code, tmp_path) for code in (draws, prints))
    assert base64.b64decode(drawn[0]["data"]["image/png"]).startswith(b"\x89PNG")
    assert "<pre>x &lt; 3\n</pre>" in printed[0]["data"]["text/html"]


@pytest.mark.slow
def test_an_executed_notebook_has_them(tmp_path):
    source = (
        "import plotly.graph_objects as go\nimport plotly.io\nplotly.io.renderers.default = 'plotly_mimetype'\n"
        "go.Figure(go.Scatter(y=[1, 2]), {'title': 'A line'}).show()"
    )
    outputs = _run(source, tmp_path)
    assert any("A line" in each["data"].get("text/html", "") for each in outputs)


def _run(source, folder):
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "execution_count": None, "outputs": [], "source": [source]}
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    notebook = {"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    return execute(notebook, folder)["cells"][0]["outputs"]
