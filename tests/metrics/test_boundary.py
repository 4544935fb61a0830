import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
from scipy.spatial.distance import cdist

from skinlesion.errors import SkinlesionError
from skinlesion.metrics import average_surface_distance, boundary_f1, hausdorff_distance

masks = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(lambda shape: st.tuples(*[hnp.arrays(bool, shape)] * 2))


def disc(row, column, radius, shape=(40, 50)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return (y - row) ** 2 + (x - column) ** 2 <= radius**2


def boundary_pixels(mask):
    """The definition, pixel by pixel."""
    height, width = mask.shape
    return [
        (y, x)
        for y, x in np.argwhere(mask)
        if any(
            not (0 <= v < height and 0 <= u < width and mask[v, u])
            for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1))
        )
    ]


@settings(max_examples=80, deadline=None)
@given(masks, st.sampled_from([0.0, 1.0, 1.5, 2.0]))
def test_boundary_f1_is_the_definition_spelled_out(pair, tolerance):
    prediction, truth = pair
    p, t = boundary_pixels(prediction), boundary_pixels(truth)
    if not p or not t:
        expected = float(not p and not t)
    else:
        distance = cdist(p, t)
        precision, recall = ((distance.min(axis) <= tolerance).mean() for axis in (1, 0))
        expected = 2 * precision * recall / (precision + recall) if precision + recall else 0
    assert boundary_f1(prediction, truth, tolerance) == pytest.approx(expected)
    assert boundary_f1(truth, prediction, tolerance) == pytest.approx(expected)


def test_a_shift_within_the_tolerance_costs_nothing():
    truth = disc(20, 25, 10)
    assert boundary_f1(disc(20, 27, 10), truth, 2) == 1
    assert 0 < boundary_f1(disc(20, 27, 10), truth, 1) < 1
    assert boundary_f1(disc(20, 25, 4), truth, 2) == 0


@pytest.mark.parametrize(
    ("prediction", "truth"),
    [
        (disc(20, 25, 10), disc(22, 24, 12)),
        (disc(3, 3, 9), disc(0, 0, 9)),  # cut off by the image's edge
        (disc(20, 10, 5) | disc(20, 40, 6), disc(19, 25, 8)),
        (disc(20, 25, 10), disc(20, 25, 10)),
    ],
)
@pytest.mark.filterwarnings("ignore:monai.metrics.utils get_mask_edges:FutureWarning")  # about its own call
def test_distances_are_monais(prediction, truth):
    both = (torch.from_numpy(m)[None, None] for m in (prediction, truth))
    p, t = both
    average = compute_average_surface_distance(p, t, include_background=True, symmetric=True).item()
    hd95 = compute_hausdorff_distance(p, t, include_background=True, percentile=95).item()
    assert average_surface_distance(prediction, truth) == pytest.approx(average, abs=1e-5)
    assert hausdorff_distance(prediction, truth) == pytest.approx(hd95, abs=1e-4)


def test_empty_masks():
    empty, lesion = np.zeros((5, 6), bool), disc(2, 3, 1, (5, 6))
    assert boundary_f1(empty, empty) == 1
    assert boundary_f1(empty, lesion) == boundary_f1(lesion, empty) == 0
    assert average_surface_distance(empty, empty) == hausdorff_distance(empty, empty) == 0
    assert average_surface_distance(empty, lesion) == hausdorff_distance(lesion, empty) == np.inf


def test_different_sizes_are_refused():
    with pytest.raises(SkinlesionError, match=r"\(5, 6\).*\(6, 5\)"):
        boundary_f1(np.zeros((5, 6), bool), np.zeros((6, 5), bool))
