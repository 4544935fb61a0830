"""Layers of any model, their maps, their receptive fields, and the picture of the network."""

import numpy as np
import pytest
import torch
from torch import nn

from skinlesion import SkinlesionError, create_model, explain


@pytest.mark.usefixtures("untouched")
def test_maps_are_the_networks_features(model, image):
    maps = explain.feature_maps(model, image)
    _, features = model.forward_features(image)
    assert [name for name in maps if name in features.blocks] == list(features.blocks)
    for name, block in features.blocks.items():
        torch.testing.assert_close(maps[name], block)
    torch.testing.assert_close(maps["expanded"], features.expanded)
    assert {"S2", "S3", "S4", "embedding"} <= maps.keys()


@pytest.mark.parametrize(
    ("name", "options", "layer", "channels_last", "cell", "channels"),
    [
        ("unet", {"dim": 4}, "encoder.2", False, 4, 16),
        ("unetpp", {"dim": 4}, "columns.1.1", False, 2, 8),
        ("medmamba", {"dim": 8}, "encoder.1", True, 8, 16),
        ("medmamba", {"dim": 8}, "lateral.3", False, 32, 8),
        ("hcmamba", {"dim": 8}, "final_expanding", True, 1, 2),
        ("lvunet", {}, "encoder.5", False, 128, 480),  # it pads to 128
        ("malunet", {}, "decoder.4", False, 4, 8),
        ("transfuse", {"dim": 8}, "transformer", False, 16, 48),
    ],
)
def test_the_layout_of_a_map_is_found(name, options, layer, channels_last, cell, channels):
    network = create_model(name, **options)
    found = explain.layers(network)[layer]
    assert (found.channels_last, found.cell) == (channels_last, cell)
    padded = 128 if name == "lvunet" else 64
    maps = explain.feature_maps(network, torch.rand(1, 3, 64, 64))
    assert maps[layer].shape == (1, padded // cell, padded // cell, channels)
    assert network.training


def test_an_activation_in_place_does_not_reach_a_map():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.Conv2d(4, 1, 1))
    maps = explain.feature_maps(network, torch.randn(1, 3, 8, 8))
    assert (maps["0"] < 0).any()


@pytest.mark.usefixtures("untouched")
def test_a_shared_copy_shares_weights_and_nothing_else(model):
    copy = explain.shared_copy(model)
    assert all(a is b for a, b in zip(model.parameters(), copy.parameters(), strict=True))
    assert all(a is b for a, b in zip(model.buffers(), copy.buffers(), strict=True))
    copy.encoder[0][0].register_forward_hook(lambda *_: None)
    copy.train()
    copy.set_submodule("skips.0", nn.Identity())
    assert not model.training


def box(*sizes):
    """Convolutions with all weights 1."""
    network = nn.Sequential(*(nn.Conv2d(1 if i else 3, 1, k, padding=k // 2) for i, k in enumerate(sizes)))
    for layer in network:
        nn.init.ones_(layer.weight)
    return network


def test_the_field_of_convolutions_is_their_kernel():
    field = explain.receptive_field(box(3, 3), torch.rand(2, 3, 32, 40))
    assert field.center == (16, 20)
    expected = np.outer([1, 2, 3, 2, 1], [1, 2, 3, 2, 1]) / 81
    np.testing.assert_allclose(field.share[14:19, 18:23], expected, rtol=1e-5)
    assert field.share.sum() == pytest.approx(1)
    assert [field.side(fraction) for fraction in (0.1, 0.5, 1.0)] == [1, 3, 5]


def test_the_field_of_a_layer_at_a_place():
    field = explain.receptive_field(box(3, 3), torch.rand(1, 3, 32, 32), layer="0", at=(4, 6))
    assert np.argwhere(field.share).min(0).tolist() == [3, 5]
    assert np.argwhere(field.share).max(0).tolist() == [5, 7]


@pytest.mark.usefixtures("untouched")
def test_the_scan_sees_further_than_convolutions(model, image):
    scan = explain.receptive_field(model, image, layer="E1.1")
    assert scan.center == (34, 50)  # the middle of the token's patch
    assert scan.share.min() > 0
    convolutions = explain.receptive_field(create_model("unet", dim=4), image, layer="encoder.1")
    assert scan.side(1.0) > 60
    # Four 3 x 3 convolutions and a pooling: 14 pixels, not quite around the middle of the cell.
    assert convolutions.side(1.0) <= 15


def test_fields_that_cannot_be_shown(model, image):
    with pytest.raises(SkinlesionError, match=r"no layer 'E7'; choose one of: embedding, E1\.1"):
        explain.receptive_field(model, image, layer="E7")
    with pytest.raises(SkinlesionError, match=r"\(64, 0\) is outside"):
        explain.receptive_field(model, image, at=(64, 0))
    blind = nn.Conv2d(3, 1, 1)
    nn.init.zeros_(blind.weight)
    with pytest.raises(SkinlesionError, match="does not depend"):
        explain.receptive_field(nn.Sequential(blind), image)


@pytest.mark.usefixtures("untouched")
def test_the_picture_accounts_for_every_parameter(model):
    parts = explain.architecture(model, 64, 96)
    assert sum(part.parameters for part in parts) == sum(p.numel() for p in model.parameters())
    shapes = {part.name: part.shape for part in parts}
    assert shapes["E1"] == (16, 24, 16)
    assert shapes["S3"] == shapes["D3"] == (4, 6, 64)
    assert shapes["head"] == (64, 96, 4)
    plain = explain.architecture(create_model("vmunet", dim=8, d_state=2), 32, 32)
    assert not [part for part in plain if part.kind == "skip"]
    with pytest.raises(SkinlesionError, match="not for unet"):
        explain.architecture(create_model("unet", dim=4))


@pytest.mark.parametrize(("name", "options"), [("unet", {"dim": 4}), ("vmunet", {"dim": 8, "d_state": 2})])
def test_any_network_has_a_list_of_its_layers(name, options):
    model = create_model(name, **options)
    sizes = explain.layer_sizes(model, 64, 96)
    assert [size.name for size in sizes] == list(explain.layers(model))
    for size in sizes:
        layer = explain.layers(model)[size.name]
        assert size.shape[:2] == (64 // layer.cell, 96 // layer.cell)
        assert 0 < size.parameters < sum(p.numel() for p in model.parameters())
