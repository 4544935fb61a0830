"""Matplotlib figures: what is drawn where."""

import numpy as np
import pytest

from skinlesion.plots import static
from skinlesion.plots.colors import BLUE, GREEN, ORANGE, PURPLE
from skinlesion.plots.rasters import confusion, masked, reduced


def test_rights_and_wrongs_have_their_colors(case):
    drawn = confusion(case.image, case.mask, case.truth, opacity=1.0)
    assert tuple(drawn[30, 69]) == PURPLE  # predicted only
    assert tuple(drawn[30, 27]) == ORANGE  # true only
    assert tuple(drawn[30, 25]) != ORANGE
    assert tuple(drawn[0, 0]) == tuple(case.image[0, 0])
    border = case.truth & ~np.roll(case.truth, 1, axis=0)
    assert {tuple(pixel) for pixel in drawn[border]} == {GREEN}
    half_blue = np.round(0.5 * case.image[30, 45] + 0.5 * np.array(BLUE))
    np.testing.assert_allclose(drawn[30, 45], half_blue, atol=1)


def test_a_contour_leaves_the_inside_alone(case):
    filled = masked(case.image, case.mask, None, 0.5, "fill")
    contour = masked(case.image, case.mask, None, 0.5, "contour")
    assert tuple(contour[30, 50]) == tuple(case.image[30, 50]) != tuple(filled[30, 50])
    edge = np.flatnonzero(case.mask[30])[0]
    assert tuple(contour[30, edge]) == tuple(filled[30, edge]) == BLUE


def test_the_truth_is_drawn_last(case):
    drawn = masked(case.image, case.truth, case.truth, 0.5, "fill")
    assert tuple(drawn[30, np.flatnonzero(case.truth[30])[0]]) == GREEN


def test_reducing_a_map_keeps_its_mean():
    values = np.arange(64.0).reshape(8, 8)
    small, block = reduced(values, 4)
    assert block == 2
    assert small.shape == (4, 4)
    assert small.mean() == pytest.approx(values.mean())
    assert reduced(values, 8)[1] == 1
    assert reduced(np.ones((9, 5)), 4)[0].shape == (3, 2)


def test_strips_share_the_images_axes(draw):
    picture = draw(static, "cra_gates")
    center = picture.axes[0]
    assert len(center.child_axes) == 2
    picture.draw_without_rendering()
    left, top = (axes.get_window_extent() for axes in center.child_axes)
    image = center.get_window_extent()
    assert (left.y0, left.y1) == (pytest.approx(image.y0, abs=1), pytest.approx(image.y1, abs=1))
    assert (top.x0, top.x1) == (pytest.approx(image.x0, abs=1), pytest.approx(image.x1, abs=1))
    assert left.x1 < image.x0
    assert top.y0 > image.y1


def test_the_cross_is_on_its_token(draw):
    picture = draw(static, "implicit_attention")
    (cross,) = picture.axes[1].get_lines()
    assert (cross.get_xdata()[0], cross.get_ydata()[0]) == (34.5, 24.5)  # token (2, 3) of 10 pixels a side


def test_the_square_surrounds_the_center(draw):
    square = draw(static, "receptive_fields").axes[0].patches[0]
    assert (square.get_x(), square.get_width()) == (16 - 4.5, 9)


def test_dollars_in_a_caption_are_text(case):
    picture = static.cra_gates(case.image, np.ones(2), np.ones(2), np.ones((2, 2)), what="costs $5 or $6")
    assert picture._repr_png_()
    assert "$5 or $6" in picture.caption
