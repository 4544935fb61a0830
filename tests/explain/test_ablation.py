"""Ablated modules: mean gates by hand, the rest of the network as it was, and nothing left behind."""

import numpy as np
import pytest
import torch

from skinlesion import SkinlesionError, create_model, explain, observe


def gates(model, image):
    with torch.no_grad(), observe(model) as seen:
        model(image)
    return seen


@pytest.mark.usefixtures("untouched")
def test_even_attention_prefers_no_region_but_keeps_each_channel(model, image):
    before = gates(model, image)
    after = gates(explain.ablated_model(model, ["cra"]), image)
    for name in ("gate_h", "gate_w"):
        # The deepest skip is the last that the encoder makes, so what it sees is the same.
        found, expected = after[f"S4.cra.{name}"], before[f"S4.cra.{name}"].mean(1, keepdim=True)
        torch.testing.assert_close(found, expected.expand_as(found))
    assert before["S4.cra.gate_h"].std(1).max() > 1e-3
    torch.testing.assert_close(
        after["S4.cra.output"], before["S4.cra.input"] * after["S4.cra.gate_h"][0, 0] * after["S4.cra.gate_w"][0, 0]
    )


@pytest.mark.usefixtures("untouched")
def test_even_excitation_treats_all_channels_alike(model, image):
    before = gates(model, image)["E1.1.se.gate"]
    after = gates(explain.ablated_model(model, ["se"]), image)["E1.1.se.gate"]
    torch.testing.assert_close(after, before.mean().expand_as(after))
    assert before.std() > 1e-4


@pytest.mark.usefixtures("untouched")
def test_without_channel_mixing_a_block_is_its_first_residual(model, image):
    x = torch.rand(1, 8, 8, 16)
    block = model.encoder[0][0]
    with explain.ablated(model, ["cmn"]):
        torch.testing.assert_close(block(x), x + block.ss2d(block.norm1(x)))
    copy = explain.ablated_model(model, ["cmn"])
    shared = zip(copy.parameters(), model.parameters(), strict=True)
    assert all(a is b for a, b in shared)  # no weight is copied


@pytest.mark.usefixtures("untouched")
def test_the_output_changes_and_parts_can_be_combined(model, image):
    with torch.no_grad():
        outputs = {parts: explain.ablated_model(model, parts)(image) for parts in ((), ("cra",), ("cra", "se", "cmn"))}
        torch.testing.assert_close(outputs[()], model(image))
    values = [output.numpy() for output in outputs.values()]
    assert all(np.abs(a - b).max() > 1e-4 for a, b in ((values[0], values[1]), (values[1], values[2])))


def test_a_part_that_is_not_there():
    assert explain.ablatable_parts(create_model("unet", dim=4)) == ()
    bare = create_model("vmunet", dim=8, depths=(1, 1), decoder_depths=(1, 1))
    assert explain.ablatable_parts(bare) == ()
    with pytest.raises(SkinlesionError, match="vmunet has no 'cra'"):
        explain.ablated_model(bare, ["cra"])
    with pytest.raises(SkinlesionError, match=r"has no 'scan' to ablate.*cra, se"):
        explain.ablated_model(create_model("tiny", dim=8, cmn=False), ["scan"])
