"""Counting parameters and operations."""

import pytest

from skinlesion import create_model
from skinlesion.model.cost import count_cost


def test_vmunets_layers_cost_what_layer_counters_report():
    """4.07 G multiply-adds at 256 x 256 is what VM-UNet's authors' kind of counter gives, without the scan."""
    cost = count_cost(create_model("vmunet"))
    assert cost.parameters == 27_427_561
    assert cost.layer_macs == pytest.approx(4.07e9, rel=0.002)


def test_scans_are_counted_by_mambas_rule():
    model = create_model("tiny", dim=16, d_state=4)
    tokens = {"E1": 256, "E2": 64, "E3": 16, "E4": 4}
    per_stage = [(2 + 1, tokens["E1"], 32), (4, tokens["E2"], 64), (4, tokens["E3"], 128), (4, tokens["E4"], 256)]
    expected = sum(blocks * 4 * length * inner * (9 * 4 + 1) for blocks, length, inner in per_stage)
    assert count_cost(model, 64, 64).scan_flops == expected


def test_an_image_of_one_channel_is_counted():
    gray, color = (count_cost(create_model("tiny", dim=16, in_channels=channels), 32, 32) for channels in (1, 3))
    assert color.layer_macs - gray.layer_macs == 2 * 8 * 8 * 16 * 16  # two channels, 8 x 8 patches of 16 pixels, dim 16


def test_counting_leaves_the_model_as_it_was():
    model = create_model("tiny", dim=16).train()
    count_cost(model, 32, 32)
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


def test_a_unet_has_no_scan_and_every_product_is_two_operations():
    cost = count_cost(create_model("unet", dim=8), 32, 32)
    assert cost.scan_flops == 0
    assert cost.product_flops == 2 * cost.layer_macs
