"""Which channels pass, and how much they repeat each other."""

import numpy as np
import pytest
import torch

from skinlesion import SkinlesionError, create_model, explain
from skinlesion.explain.redundancy import redundancy


@pytest.mark.usefixtures("untouched")
def test_gates_of_every_block_in_order(model, image):
    gates = explain.se_gates(model, image)
    assert list(gates)[:3] == ["E1.1", "E1.2", "E2.1"]
    assert list(gates)[-1] == "D1.1"
    assert len(gates) == 15
    for block, gate in gates.items():
        assert gate.shape == (2 * 16 * 2 ** (int(block[1]) - 1),)
        assert ((gate > 0) & (gate < 1)).all()


@pytest.mark.usefixtures("untouched")
def test_maps_before_and_after(model, image):
    found = explain.excitation(model, image, "E2.2")
    np.testing.assert_array_equal(found.gate, explain.se_gates(model, image)["E2.2"])
    assert found.before.shape == (8, 12, 64)
    trace = explain.read(model, image)
    np.testing.assert_allclose(found.after, trace["E2.2.se.output"][0], rtol=1e-6)


def test_without_se_or_block(model, image):
    with pytest.raises(SkinlesionError, match=r"'E9\.1'; choose one of: E1\.1, "):
        explain.excitation(model, image, "E9.1")
    with pytest.raises(SkinlesionError, match="no squeeze-and-excitation"):
        explain.se_gates(create_model("tiny", dim=8, se=False), image)


def test_ranges_over_images():
    a, b = np.array([0.9, 0.1, 0.9, 0.5]), np.array([0.8, 0.2, 0.1, 0.5])
    ranges = explain.gate_ranges([{"E1.1": a}, {"E1.1": b}])["E1.1"]
    assert ranges.always().tolist() == [0]
    assert ranges.never().tolist() == [1]
    assert ranges.always(0.85).tolist() == []
    assert ranges.mean.tolist() == pytest.approx([0.85, 0.15, 0.5, 0.5])
    with pytest.raises(SkinlesionError, match="at least one image"):
        explain.gate_ranges([])


def test_differences_only_where_widths_agree():
    a, b = {"E1.1": np.ones(4), "E2.1": np.ones(8)}, {"E1.1": np.zeros(4), "E2.1": np.zeros(16)}
    assert {name: d.tolist() for name, d in explain.gate_differences(a, b).items()} == {"E1.1": [1, 1, 1, 1]}


def test_channels_that_say_the_same():
    x = torch.randn(1, 5, 7, 1)
    found = redundancy("x", torch.cat([x, 3 * x + 1, -x], dim=-1))
    np.testing.assert_allclose(found.correlation, [[1, 1, -1], [1, 1, -1], [-1, -1, 1]], atol=1e-6)
    assert found.mean_absolute == pytest.approx(1)
    assert found.effective_rank == pytest.approx(1, abs=1e-3)
    assert (found.samples, found.dead, found.channels) == (35, 0, 3)


def test_unrelated_channels():
    basis = torch.linalg.qr(torch.randn(64, 65, dtype=torch.float64).T - 0).Q[:, :6]
    basis = torch.linalg.qr(basis - basis.mean(0)).Q  # centered and orthogonal
    found = redundancy("x", basis)
    assert found.mean_absolute == pytest.approx(0, abs=1e-6)
    assert found.effective_rank == pytest.approx(6, abs=1e-4)


def test_constant_channels_count_in_neither_figure():
    x = torch.randn(50, 2)
    constant = torch.full((50, 1), 0.1)
    found = redundancy("x", torch.cat([x, constant], dim=-1))
    assert found.dead == 1
    assert found.correlation[2].tolist() == [0, 0, 0]
    assert found.mean_absolute == pytest.approx(abs(np.corrcoef(x.T.numpy())[0, 1]), abs=1e-5)
    assert found.effective_rank == pytest.approx(redundancy("x", x).effective_rank, abs=1e-5)
    dead = redundancy("x", torch.ones(9, 4))
    assert (dead.dead, dead.mean_absolute, dead.effective_rank) == (4, 0.0, 0.0)


def test_correlation_is_pearsons():
    x = torch.randn(3, 4, 5, 6).cumsum(-1)
    r, living = explain.channel_correlation(x)
    np.testing.assert_allclose(r, np.corrcoef(x.reshape(-1, 6).T.numpy()), atol=1e-5)
    assert living.all()


@pytest.mark.usefixtures("untouched")
def test_redundancy_of_every_layer(model, image):
    found = explain.redundancy_by_depth(model, image.expand(2, 3, 64, 96))
    assert found["E1.1"].samples == 2 * 16 * 24
    assert all(1 <= layer.effective_rank <= layer.channels for layer in found.values())
    assert "head" not in explain.redundancy_by_depth(create_model("unet", dim=4, stages=2), image)
