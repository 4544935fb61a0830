"""Plotly figures: the right numbers in the right place, and points that can be clicked."""

import base64
from io import BytesIO

import numpy as np
import plotly.graph_objects as go
import pytest
from PIL import Image

from skinlesion.plots import interactive
from skinlesion.plots.interactive.base import heat_trace, image_trace, root_scale


def pixels(source):
    return np.asarray(Image.open(BytesIO(base64.b64decode(source.split(",")[1]))))


def test_the_probability_under_the_pointer(case):
    figure = interactive.probability(case.image, case.probability, threshold=0.5)
    heat = next(trace for trace in figure.data if isinstance(trace, go.Heatmap))
    np.testing.assert_array_equal(heat.z, case.probability)
    assert (heat.x0, heat.dx, heat.y0, heat.dy) == (0, 1, 0, 1)
    assert "probability %{z" in heat.hovertemplate
    assert (heat.zmin, heat.zmax) == (0, 1)
    line = pixels(figure.data[2].source)
    assert line.shape == (60, 90, 4)
    assert line[30, 45, 3] == 0  # clear inside
    assert line[:, 50, 3].max() == 255


def test_a_large_image_is_reduced_and_keeps_its_own_pixels():
    image = np.zeros((1500, 3000, 3), dtype=np.uint8)
    trace = image_trace(image)
    assert pixels(trace.source).shape == (256, 512, 3)
    assert trace.x0 - trace.dx / 2 == pytest.approx(-0.5)
    assert trace.x0 + 511.5 * trace.dx == pytest.approx(2999.5)
    heat = heat_trace(np.zeros((1500, 3000)), (1500, 3000), "value")
    assert max(heat.z.shape) <= 256
    assert heat.x0 - heat.dx / 2 == pytest.approx(-0.5)


def test_a_coarse_map_covers_its_image():
    heat = heat_trace(np.arange(6.0).reshape(2, 3), (64, 96), "gate")
    assert (heat.x0, heat.dx, heat.y0, heat.dy) == (15.5, 32, 15.5, 32)


def test_colors_follow_a_root_while_the_numbers_stay():
    scale = root_scale("inferno", 2)
    assert scale[0][0] == 0
    assert scale[-1][0] == 1
    assert scale[16][0] == pytest.approx(0.25)  # the middle color at a quarter of the range
    signed = root_scale("PuOr", 2, signed=True)
    assert signed[16][0] == pytest.approx(0.5)
    assert signed[24][0] == pytest.approx(0.5 + 0.125)


def test_picked_points_know_their_token(draw, case):
    figure = draw(interactive, "implicit_attention", pick=True)
    points = figure.data[-1]
    assert len(points.x) == 6 * 9
    assert points.customdata[10] == [1, 1]
    assert (points.x[10], points.y[10]) == (14.5, 14.5)
    assert points.marker.opacity == 0
    assert figure.layout.clickmode == "event+select"
    assert not any(trace.customdata is not None for trace in draw(interactive, "implicit_attention").data)


def test_the_token_itself_does_not_set_the_scale(case):
    weights = np.full((4, 6, 9), 0.1)
    weights[:, 2, 3] = 100
    figure = interactive.implicit_attention(case.image, weights, weights.sum(0), (2, 3))
    merged = next(trace for trace in figure.data if isinstance(trace, go.Heatmap))
    assert merged.zmax == pytest.approx(0.4)
    assert merged.z[2, 3] == 400


def test_signed_weights_have_a_middle(case):
    weights = np.linspace(-1, 0.5, 4 * 54).reshape(4, 6, 9)
    figure = interactive.implicit_attention(case.image, weights, weights.sum(0), (2, 3), reduction="sum")
    heat = next(trace for trace in figure.data if isinstance(trace, go.Heatmap))
    assert heat.zmin == -heat.zmax


def test_bars_know_their_channel():
    figure = interactive.se_bars(np.array([0.2, 0.9, 0.5]), channel=2)
    bars = figure.data[0]
    assert list(bars.customdata) == [1, 2, 0]
    assert list(bars.y) == [0.9, 0.5, 0.2]
    assert bars.marker.color[1] != bars.marker.color[0] == bars.marker.color[2]


def test_histogram_bars_know_their_range():
    figure = interactive.histogram(np.array([0.51, 0.52, 0.97]))
    assert figure.data[0].y.sum() == 3
    low, high = figure.data[0].customdata[10]
    assert (low, high) == (pytest.approx(0.5), pytest.approx(0.55))
    assert figure.data[0].y[10] == 2


def test_strips_lie_beside_the_image(draw):
    figure = draw(interactive, "cra_gates")
    product, left, top = (trace for trace in figure.data if isinstance(trace, go.Heatmap))
    assert left.x0 + left.dx / 2 < -0.5 < product.x0
    assert top.y0 + top.dy / 2 < -0.5 < product.y0
    assert left.z.shape == (6, 1)
    assert top.z.shape == (1, 9)
    np.testing.assert_allclose(product.z, left.z @ top.z, rtol=1e-6)
    assert figure.layout.xaxis.range[0] < left.x0
    assert figure.layout.yaxis.range[1] < top.y0


def test_routes_are_walked_a_step_a_frame(draw, case):
    figure = draw(interactive, "routes")
    assert len(figure.frames) == 20
    assert len(figure.layout.images) == 4
    moving = [figure.data[i] for i in figure.frames[0].traces]
    assert all(len(trace.x) == 1 for trace in moving)
    last = figure.frames[19].data[0]
    assert (last.x[-1], last.y[-1]) == (pytest.approx(80.5), pytest.approx(52))  # the last cell's middle, in pixels
    assert len(last.x) <= 13
    assert [button.label for button in figure.layout.updatemenus[0].buttons] == ["Play", "Pause"]


def test_each_panel_of_a_run_has_its_own_legend(draw):
    figure = draw(interactive, "training_curves")
    assert {trace.legend or "legend" for trace in figure.data} == {"legend", "legend2", "legend3", "legend4"}


def test_a_part_of_the_network_is_pointed_out(draw):
    figure = draw(interactive, "architecture", highlight="S2")
    widths = [shape.line.width for shape in figure.layout.shapes]
    assert sorted(widths)[-2:] == [0, 4]
    names = list(figure.data[0].customdata)
    assert names == ["embedding", "E1", "E2", "D2", "S2", "D1", "head"]


def test_skips_without_attention_go_straight_across(draw, calls):
    parts = [part for part in calls["architecture"][0][0] if part.kind != "skip"]
    arrows = [a for a in interactive.architecture(parts).layout.annotations if a.showarrow is not False]
    assert [(a.ax, a.x) for a in arrows if a.ax != a.x and a.y == 1.5] == [(0.0, 4.4)]
