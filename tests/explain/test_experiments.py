"""Setting gates and painting on images: known effects, controls, and nothing left on the model."""

import numpy as np
import pytest
import torch

from skinlesion import explain, observe
from skinlesion.errors import SkinlesionError
from skinlesion.explain import Stamp
from skinlesion.zoo import create_model


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return create_model("tiny", dim=16, depths=(1, 1), decoder_depths=(1, 1), d_state=2).eval()


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_without_an_experiment_the_outcome_is_the_networks(model, images):
    first, second = explain.outcomes(model, images)
    with torch.no_grad():
        expected = model(images).sigmoid()[:, 0].numpy()
    assert np.array_equal(first.probability, expected[0])
    assert np.array_equal(second.probability, expected[1])
    assert set(explain.gate_changes(first, first).values()) == {0.0}
    assert {"E1.1", "S2"} <= explain.gate_changes(first, second).keys()


def test_one_channel_is_set_and_the_others_are_not(model, images):
    before, after = (
        explain.outcomes(model, images[:1], edit)[0] for edit in (None, explain.set_channel("E1.1", 3, 0.25))
    )
    gate, changed = before.gates["E1.1.se.gate"], after.gates["E1.1.se.gate"]
    assert changed[3] == 0.25
    assert np.array_equal(np.delete(changed, 3), np.delete(gate, 3))
    assert not np.array_equal(before.probability, after.probability)


@pytest.mark.parametrize("axis", ["h", "w"])
def test_one_row_or_column_is_set(model, images, axis):
    before = explain.outcomes(model, images[:1])[0].gates[f"S2.cra.gate_{axis}"]
    after = explain.outcomes(model, images[:1], explain.set_line("S2", axis, 1, 0.0))[0].gates[f"S2.cra.gate_{axis}"]
    assert np.array_equal(after[1], np.zeros_like(after[1]))
    assert np.array_equal(np.delete(after, 1, 0), np.delete(before, 1, 0))


@pytest.mark.parametrize("module", ["E1.1", "S2"])
def test_a_module_is_set_to_its_mean_or_to_another_images_gates(model, images, module):
    names = explain.gate_points(model, module)
    (mean,) = explain.outcomes(model, images[:1], explain.to_mean(model, module))
    (own,) = explain.outcomes(model, images[:1])
    for name in names:
        assert np.allclose(mean.gates[name], own.gates[name].mean(0, keepdims=True), atol=1e-6)
    (other,) = explain.outcomes(model, images[:1], explain.to_other(model, module, images[1:]))
    (expected,) = explain.outcomes(model, images[1:])
    for name in names:
        assert np.array_equal(other.gates[name], expected.gates[name])


def test_what_isnt_there_is_an_error(model, images):
    with pytest.raises(SkinlesionError, match="has no gates"):
        explain.gate_points(model, "E9.9")
    with pytest.raises(SkinlesionError, match="channels"):
        explain.outcomes(model, images, explain.set_channel("E1.1", 99999, 0.5))
    with pytest.raises(SkinlesionError, match="rows"):
        explain.outcomes(model, images, explain.set_line("S2", "h", 99, 0.5))


def test_a_network_without_gates_has_a_mask_alone(images):
    (outcome,) = explain.outcomes(create_model("unet", dim=4), images[:1])
    assert outcome.gates == {}
    with observe(create_model("tiny", dim=16, depths=(1, 1), decoder_depths=(1, 1), d_state=2)) as seen:
        assert not seen


def _lesion() -> tuple[torch.Tensor, np.ndarray]:
    image = torch.full((1, 3, 40, 40), 0.8)
    lesion = np.zeros((40, 40), dtype=bool)
    lesion[15:25, 15:25] = True
    image[..., 15:25, 15:25] = 0.2
    return image, lesion


def test_paint_erase_and_move():
    image, lesion = _lesion()
    painted = explain.stamped(image, [Stamp("paint", 0.1, 0.1, 0.08)], lesion)
    assert painted[0, 0, 4, 4] == pytest.approx(0.2)
    assert (painted != image).sum() == 3 * Stamp("paint", 0.1, 0.1, 0.08).disk((40, 40)).sum()
    erased = explain.stamped(image, [Stamp("erase", 0.5, 0.5, 0.5)], lesion)
    assert bool((erased == 0.8).all())
    moved = explain.stamped(image, [Stamp("move", 0.15, 0.15, 0.12, source=(0.5, 0.5))], lesion)
    assert moved[0, 0, 6, 6] == pytest.approx(0.2)
    assert moved[0, 0, 20, 20] == pytest.approx(0.8)
    assert bool((image == _lesion()[0]).all())  # the one given is untouched


def test_the_control_is_the_same_elsewhere():
    _, lesion = _lesion()
    stamps = [Stamp("erase", 0.5, 0.5, 0.1), Stamp("erase", 0.6, 0.5, 0.1)]
    control = explain.control_stamps(stamps, lesion)
    assert control[1].row - control[0].row == pytest.approx(0.1)
    assert not any((stamp.disk((40, 40)) & lesion).any() for stamp in control)
    assert explain.control_stamps([Stamp("erase", 0.5, 0.5, 0.7)], lesion) is None
