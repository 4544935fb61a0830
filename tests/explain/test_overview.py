"""Gates at a glance: known gates give known summaries and sentences."""

import numpy as np
import pytest
import torch

from skinlesion import explain
from skinlesion.errors import SkinlesionError
from skinlesion.explain import Outcome
from skinlesion.zoo import create_model


def _seen() -> list[Outcome]:
    """Four images with lesions of growing size: one SE follows the area, one is 0.5, one 0 or 1; CRA marks it."""
    found = []
    for side in (4, 8, 12, 16):
        probability = np.zeros((32, 32), dtype=np.float32)
        probability[8 : 8 + side, 8 : 8 + side] = 1
        area = probability.mean()
        line = np.zeros((8, 2), dtype=np.float32)
        line[2 : 2 + side // 4] = 1
        gates = {
            "E1.1.se.gate": np.array([area, 1 - area], dtype=np.float32),
            "E1.2.se.gate": np.full(3, 0.5, dtype=np.float32),
            "E2.1.se.gate": np.array([0.001, 0.999], dtype=np.float32),
            "S2.cra.gate_h": line,
            "S2.cra.gate_w": line,
        }
        found.append(Outcome(probability, gates))
    return found


EFFECTS = {"E1.1": 0.3, "E1.2": 0.0, "E2.1": 0.002, "S2": 0.1}


def test_known_gates_give_known_summaries():
    found = {each.name: each for each in explain.module_summaries(_seen(), 1, EFFECTS)}
    assert found["E1.1"].correlation == pytest.approx(1, abs=1e-6)
    assert found["E1.1"].reaction == pytest.approx((16**2 - 4**2) / 32**2)
    assert found["S2"].correlation == pytest.approx(1, abs=1e-6)
    assert (found["E1.2"].constant, found["E1.2"].where) == (True, "0.5")
    assert (found["E2.1"].constant, found["E2.1"].where) == (True, "0 or 1")
    assert not found["S2"].constant
    assert found["E2.1"].gates.tolist() == pytest.approx([0.999, 0.001])


def test_the_findings_are_sentences_from_the_data():
    said = explain.findings(explain.module_summaries(_seen(), 0, EFFECTS))
    assert said == [
        "2 of 3 blocks' SE gates don't react to the image: E1.2 at 0.5; E2.1 at 0 or 1.",
        "All 1 skips' CRA gates react to the image.",
        "The mask of this image depends most on E1.1 (SE, Dice falls by 0.30), S2 (CRA, Dice falls by 0.10).",
    ]
    calm = explain.findings(explain.module_summaries(_seen(), 0, dict.fromkeys(EFFECTS, 0.0)))
    assert calm[-1].startswith("No module's gates matter")


def test_effects_cover_every_module_and_leave_the_model():
    torch.manual_seed(0)
    model = create_model("tiny", dim=16, depths=(1, 1), decoder_depths=(1, 1), d_state=2).eval()
    image = torch.rand(1, 3, 32, 32)
    before = explain.outcomes(model, image)[0].probability
    effects = explain.ablation_effects(model, image, float(np.median(before)))
    assert effects.keys() == explain.gate_changes(*explain.outcomes(model, image.repeat(2, 1, 1, 1))).keys()
    assert all(0 <= effect <= 1 for effect in effects.values())
    assert np.array_equal(before, explain.outcomes(model, image)[0].probability)


def test_two_images_are_no_overview():
    with pytest.raises(SkinlesionError, match="three images"):
        explain.module_summaries(_seen()[:2], 0, EFFECTS)
