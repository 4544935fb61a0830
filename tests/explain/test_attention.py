"""Gates of cross-region attention: exact, for several people at once, and how they follow a change."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from skinlesion import SkinlesionError, create_model, explain
from skinlesion.model import CrossRegionAttention

pytestmark = pytest.mark.usefixtures("untouched")


def test_gates_are_those_that_scaled_the_skip(model, image):
    skips = explain.cra_gates(model, image)
    assert list(skips) == ["S2", "S3", "S4"]
    assert [skip.cell for skip in skips.values()] == [8, 16, 32]
    for i, skip in enumerate(skips.values()):
        assert skip.before.shape == (64 // skip.cell, 96 // skip.cell, 16 * 2 ** (i + 1))
        expected = skip.before * skip.gate_h[:, None] * skip.gate_w[None]
        np.testing.assert_allclose(skip.after, expected, rtol=1e-5, atol=1e-6)
        gate_h, gate_w = model.skips[i].gates(torch.from_numpy(skip.before)[None])
        np.testing.assert_allclose(skip.gate_h, gate_h[0].detach(), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(skip.gate_w, gate_w[0].detach(), rtol=1e-4, atol=1e-6)


def test_mean_product_and_strongest_channel(model, image):
    skip = explain.cra_gates(model, image)["S2"]
    products = np.stack([skip.product(c) for c in range(skip.gate_h.shape[1])])
    np.testing.assert_allclose(skip.product(), products.mean(0), rtol=1e-5)
    assert skip.strongest == products.std((1, 2)).argmax()
    assert skip.profiles(3)[1].tolist() == skip.gate_w[:, 3].tolist()


def test_the_correlation_of_a_map_with_a_mask():
    mask = np.zeros((40, 60), bool)
    mask[10:25, 7:33] = True
    share = mask.reshape(8, 5, 12, 5).mean((1, 3))
    noise = np.random.default_rng(0).random((8, 12)).astype(np.float32)
    assert explain.map_correlation(noise, mask) == pytest.approx(np.corrcoef(noise.ravel(), share.ravel())[0, 1], 1e-5)
    assert explain.map_correlation(1 - 0.2 * share.astype(np.float32), mask) == pytest.approx(-1, 1e-5)
    assert explain.map_correlation(noise * 0, mask) == 0
    assert explain.map_correlation(noise, mask[:8, :12] * False) == 0


def test_a_model_in_training_is_looked_at_as_if_it_were_not(model, image):
    expected = explain.cra_gates(model, image)["S3"].gate_h
    model.train()
    found = explain.cra_gates(model, image)["S3"].gate_h
    assert all(module.training for module in model.modules())
    np.testing.assert_array_equal(found, expected)


def test_eight_people_see_their_own_image(model):
    torch.manual_seed(2)
    images = torch.rand(8, 1, 3, 32, 32)
    alone = [explain.cra_gates(model, image)["S2"].gate_w for image in images]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda image: explain.cra_gates(model, image)["S2"].gate_w, images))
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_cannot_be_shown_is_said(model, image):
    with pytest.raises(SkinlesionError, match="no cross-region attention"):
        explain.cra_gates(create_model("tiny", dim=8, cra=False), image)
    with pytest.raises(SkinlesionError, match="unet has no cross-region"):
        explain.cra_gates(create_model("unet", dim=4), image)
    with pytest.raises(SkinlesionError, match=r"\(1, 3, H, W\).*uint8"):
        explain.cra_gates(model, torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(SkinlesionError, match=r"got .*\(2, 3, 64, 96\)"):
        explain.cra_gates(model, image.expand(2, 3, 64, 96))


@pytest.mark.parametrize("quarters", [1, 2, 3, -1])
def test_turned_gates_are_those_of_the_turned_map(quarters):
    """With one last layer for rows and columns cross-region attention follows a turn exactly."""
    torch.manual_seed(0)
    attention = CrossRegionAttention(dim=6).eval()
    attention.conv_w = attention.conv_h
    x = torch.randn(1, 4, 4, 6)
    gates = [gate[0].detach().numpy() for gate in attention.gates(x)]
    turned = [gate[0].detach().numpy() for gate in attention.gates(torch.rot90(x, quarters, (1, 2)))]
    for expected, found in zip(explain.Rotate(quarters).gates(*gates, cell=8), turned, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_shifted_gates_move_by_cells_and_between_them():
    gate = np.array([[0.0], [1.0], [2.0], [3.0]], dtype=np.float32)
    gate_h, gate_w = explain.Shift(rows=8, columns=-4).gates(gate, gate, cell=8)
    assert gate_h[:, 0].tolist() == [0, 0, 1, 2]
    assert gate_w[:, 0].tolist() == [0.5, 1.5, 2.5, 3]


def test_shifted_image_repeats_its_border(image):
    moved = explain.Shift(rows=3, columns=-5).image(image)
    assert torch.equal(moved[..., 3:, :-5], image[..., :-3, 5:])
    assert torch.equal(moved[..., 0, :-5], image[..., 0, 5:])


def test_gates_stay_where_a_shift_changes_nothing(model):
    """An image of columns looks the same after it moves down."""
    columns = torch.rand(1, 3, 1, 64).expand(1, 3, 64, 64).contiguous()
    response = explain.gate_response(model, columns, explain.Shift(rows=32))
    for skip in response.skips.values():
        assert skip.to_before == 0
        assert skip.to_expected >= 0
    np.testing.assert_array_equal(response.image, columns[0].permute(1, 2, 0))


def test_covering_paints_the_median_color_of_the_rest(model, image):
    mask = np.zeros((64, 96), dtype=bool)
    mask[10:40, 20:70] = True
    response = explain.gate_response(model, image, explain.Cover(mask))
    color = np.median(image[0].permute(1, 2, 0).numpy()[~mask], axis=0)
    np.testing.assert_allclose(response.image[mask], np.broadcast_to(color, (mask.sum(), 3)), atol=1e-3)
    assert np.array_equal(response.image[~mask], image[0].permute(1, 2, 0).numpy()[~mask])
    for skip in response.skips.values():
        assert skip.to_expected == skip.to_before > 0


def test_changes_that_do_not_fit(model, image):
    with pytest.raises(SkinlesionError, match="square"):
        explain.gate_response(model, image, explain.Rotate(1))
    with pytest.raises(SkinlesionError, match="covering mask"):
        explain.gate_response(model, image, explain.Cover(np.zeros((4, 4), dtype=bool)))
