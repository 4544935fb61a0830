"""Activation patching between two images."""

import pytest
import torch

from skinlesion import SkinlesionError, create_model, explain, intervene, observe


@pytest.mark.usefixtures("untouched")
def test_effects_by_hand(model, image):
    other = image.flip(3)
    effects = explain.patch_effects(model, image, other, ["S2.cra.gate_h", "E3.1.output"])
    with torch.no_grad():
        a, b = model(image).sigmoid(), model(other).sigmoid()
        with observe(model, "E3.1.output") as seen:
            model(other)
        with intervene(model, {"E3.1.output": seen["E3.1.output"]}):
            patched = model(image).sigmoid()
    expected = ((patched - a) * (b - a)).sum() / (b - a).square().sum()
    assert effects["E3.1.output"] == pytest.approx(float(expected), rel=1e-4)
    assert set(effects) == {"S2.cra.gate_h", "E3.1.output"}


def test_the_last_map_brings_the_whole_mask_and_the_bottom_does_not(model, image):
    effects = explain.patch_effects(model, image, image.flip(3))
    assert effects["expanded"] == pytest.approx(1, abs=1e-4)
    assert effects["D1.1"] == pytest.approx(1, abs=1e-4)
    assert list(effects) == list(explain.layers(model))
    assert abs(effects["S4"]) < 0.9


def test_another_network(image):
    torch.manual_seed(0)
    effects = explain.patch_effects(create_model("unet", dim=4).eval(), image, image.flip(2))
    assert effects["decoder.3"] == pytest.approx(1, abs=1e-4)


def test_what_cannot_be_patched(model, image):
    with pytest.raises(SkinlesionError, match="same mask"):
        explain.patch_effects(model, image, image)
    with pytest.raises(SkinlesionError, match="same size"):
        explain.patch_effects(model, image, image[..., :32])
    with pytest.raises(SkinlesionError, match="no point 'E9'"):
        explain.patch_effects(model, image, image.flip(3), ["E9"])
