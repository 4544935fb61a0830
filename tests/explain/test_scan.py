"""The scan from inside: routes, step sizes, and the attention that it amounts to, exact."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from skinlesion import SkinlesionError, create_model, explain
from skinlesion.scan import cross_selective_scan


def test_routes_of_a_small_grid():
    found = explain.route_coordinates(2, 3)
    assert found[0].tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    assert found[1].tolist() == [[0, 0], [1, 0], [0, 1], [1, 1], [0, 2], [1, 2]]
    assert found[2].tolist() == found[0].tolist()[::-1]
    assert found[3].tolist() == found[1].tolist()[::-1]
    assert len(explain.ROUTE_NAMES) == len(found)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("block", ["E1.1", "E3.2", "D1.1"])
@pytest.mark.parametrize("token", [(0, 0), (1, 2), (3, 5)])
def test_a_row_times_the_input_is_the_scans_output(model, image, block, token):
    inputs = explain.scan_inputs(model, image, block)
    weights = explain.attention_weights(inputs, token)
    y = (weights * inputs.x).sum((0, 1, 2)) + inputs.D.sum(0) * inputs.x[token]
    torch.testing.assert_close(y, inputs.merged[token], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("token", [(0, 0), (2, 3), (7, 11)])
def test_a_column_is_what_a_change_of_the_input_does(model, image, token):
    """The scan is linear in x: add something at one token and see where it arrives."""
    seen = explain.read(model, image, "E2.1.ss2d.*")
    x, delta, B, C = (seen[f"E2.1.ss2d.{name}"].double() for name in ("x", "delta", "B", "C"))
    inputs = explain.scan_inputs(model, image, "E2.1")
    bias = model.encoder[1][0].ss2d.dt_projs_bias.detach().double()
    rest = (delta, inputs.A.double(), B, C, inputs.D.double(), bias)
    bump = torch.randn(x.shape[-1], dtype=torch.float64)
    changed = x.clone()
    changed[0, token[0], token[1]] += bump
    difference = cross_selective_scan(changed, *rest) - cross_selective_scan(x, *rest)
    difference[0, token[0], token[1]] -= inputs.D.sum(0) * bump
    expected = explain.attention_weights(inputs, token, "writes").sum(0) * bump
    torch.testing.assert_close(difference[0], expected, rtol=1e-3, atol=1e-5)


def test_rows_and_columns_are_of_one_matrix(model, image):
    inputs = explain.scan_inputs(model, image, "E2.1")
    a, b = (1, 4), (5, 2)
    reads, writes = (explain.attention_weights(inputs, at, way) for at, way in ((a, "reads"), (b, "writes")))
    torch.testing.assert_close(reads[:, b[0], b[1]], writes[:, a[0], a[1]], rtol=1e-4, atol=1e-7)


def test_a_route_reads_only_what_it_has_passed(model, image):
    inputs = explain.scan_inputs(model, image, "E2.1")
    found = explain.implicit_attention(inputs, (3, 4))
    assert found.routes.shape == (4, 8, 12)
    passed = np.arange(96).reshape(8, 12) <= 3 * 12 + 4
    assert (found.routes[0] > 0).tolist() == passed.tolist()
    assert (found.routes[2] > 0).tolist() == (np.arange(96).reshape(8, 12) >= 3 * 12 + 4).tolist()


def test_reductions(model, image):
    inputs = explain.scan_inputs(model, image, "E2.1")
    weights = explain.attention_weights(inputs, (3, 4))
    total = weights.sum(0)

    def merged(**options):
        return explain.implicit_attention(inputs, (3, 4), **options).merged

    np.testing.assert_allclose(merged(), total.norm(dim=-1), rtol=1e-4)
    np.testing.assert_allclose(merged(reduction="sum"), total.sum(-1), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(merged(reduction="contribution"), (total * inputs.x).norm(dim=-1), rtol=1e-4)
    with pytest.raises(SkinlesionError, match="reduction 'max'"):
        merged(reduction="max")
    with pytest.raises(SkinlesionError, match="direction 'up'"):
        merged(direction="up")


def test_step_sizes_are_after_softplus(model, image):
    delta = explain.read(model, image, "D2.1.ss2d.delta")["D2.1.ss2d.delta"][0]
    inputs = explain.scan_inputs(model, image, "D2.1")
    expected = F.softplus(delta + model.decoder[2][0].ss2d.dt_projs_bias).detach()
    torch.testing.assert_close(inputs.step.detach(), expected)
    maps = explain.step_maps(inputs)
    assert maps.shape == (4, 8, 12)
    np.testing.assert_allclose(maps[3], expected[:, :, 3].mean(-1), rtol=1e-5)


def test_pixels_tokens_and_blocks(model, image):
    inputs = explain.scan_inputs(model, image, "E3.1")
    assert (inputs.grid, inputs.cell) == ((4, 6), 16)
    with pytest.raises(SkinlesionError, match=r"outside the 4 x 6 grid of block E3\.1"):
        explain.attention_weights(inputs, (0, -1))
    with pytest.raises(SkinlesionError, match=r"choose one of: E1\.1"):
        explain.scan_inputs(model, image, "S2")
    vmunet = create_model("vmunet", dim=8, d_state=2)
    assert explain.scan_inputs(vmunet, image, "E1.1").grid == (16, 24)
