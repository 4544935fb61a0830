"""Attributions: right by hand, stoppable, checked for faithfulness, and without a trace in the model."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from skinlesion import SkinlesionError, create_model, explain, observe
from skinlesion.explain.attribution import baseline_image
from skinlesion.explain.faithfulness import ORDERS, POINTS


@pytest.fixture
def region():
    mask = np.zeros((64, 96), dtype=bool)
    mask[20:40, 30:60] = True
    return mask


def pointwise(weight=1.0):
    """Each logit is `weight` times the sum of its pixel's colors."""
    network = nn.Sequential(nn.Conv2d(3, 1, 1, bias=False))
    nn.init.constant_(network[0].weight, weight)
    return network


@pytest.mark.usefixtures("untouched")
def test_integrated_gradients_add_up_to_the_difference(model, image, region):
    rough, found = (explain.attribute(model, image, region, steps=steps) for steps in (4, 64))
    assert found.map.shape == (64, 96)
    assert found.completeness_gap < min(0.02, rough.completeness_gap)
    assert found.map.sum() == pytest.approx(found.score - found.baseline_score, rel=0.02)
    with torch.no_grad():
        expected = model(image)[0, 0].numpy()[region].mean()
    assert found.score == pytest.approx(expected, rel=1e-4)


def test_integrated_gradients_of_a_linear_model_are_exact(image, region):
    found = explain.attribute(pointwise(), image, region, baseline="black", steps=3)
    expected = image[0].sum(0).numpy() * region / region.sum()
    np.testing.assert_allclose(found.map, expected, rtol=1e-4, atol=1e-9)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("layer", ["E2.1", "S3", "D1.1"])
def test_grad_cam_by_hand_on_channels_last_layers(model, image, region, layer):
    point = explain.layers(model)[layer].point
    with observe(model, point) as seen:
        score = model(image)[0, 0][torch.from_numpy(region)].mean()
    kept = [seen[point]]
    (gradient,) = torch.autograd.grad(score, kept[0])
    cam = (gradient.mean((1, 2), keepdim=True) * kept[0]).sum(-1).relu()  # (1, h, w)
    expected = F.interpolate(cam[None], size=(64, 96), mode="bilinear")[0, 0].detach()
    found = explain.attribute(model, image, region, "grad_cam", layer=layer)
    np.testing.assert_allclose(found.map, expected, rtol=1e-3, atol=1e-8)
    assert found.baseline_score is found.completeness_gap is None


def test_grad_cam_of_a_channels_first_layer_of_a_padded_image():
    torch.manual_seed(0)
    network = create_model("unet", dim=4)
    region = np.ones((50, 70), dtype=bool)
    found = explain.attribute(network, torch.rand(1, 3, 50, 70), region, "grad_cam", layer="encoder.3")
    assert found.map.shape == (50, 70)
    assert found.map.min() >= 0


def test_occlusion_finds_the_only_pixel_that_matters():
    image = torch.rand(1, 3, 32, 32) + 0.5
    region = explain.pixel_region((32, 32), (9, 21))
    found = explain.attribute(pointwise(), image, region, "occlusion", baseline="black")
    rows, columns = np.nonzero(found.map)
    assert rows.min() <= 9 <= rows.max() < rows.min() + 8
    assert columns.min() <= 21 <= columns.max() < columns.min() + 8
    assert found.map.max() == pytest.approx(float(image[0, :, 9, 21].sum()), rel=1e-4)


def test_progress_is_told_and_an_attribution_can_be_stopped(model, image, region):
    for method in ("integrated_gradients", "occlusion"):
        told = []
        explain.attribute(model, image, region, method, steps=6, report=told.append)
        assert told == sorted(told)
        assert told[-1] == pytest.approx(1)
        told.clear()
        with pytest.raises(explain.Canceled):
            explain.attribute(model, image, region, method, report=told.append, canceled=lambda: len(told) >= 2)  # noqa: B023
        assert len(told) == 2


def test_questions_that_make_no_sense(model, image, region):
    with pytest.raises(SkinlesionError, match="region is empty"):
        explain.attribute(model, image, np.zeros((64, 96), dtype=bool))
    with pytest.raises(SkinlesionError, match=r"bool \(64, 96\).*\(4, 4\)"):
        explain.attribute(model, image, np.ones((4, 4), dtype=bool))
    with pytest.raises(SkinlesionError, match="Unknown method 'guess'"):
        explain.attribute(model, image, region, "guess")
    with pytest.raises(SkinlesionError, match="layer="):
        explain.attribute(model, image, region, "grad_cam")
    with pytest.raises(SkinlesionError, match="no layer 'E9'"):
        explain.attribute(model, image, region, "grad_cam", layer="E9")
    with pytest.raises(SkinlesionError, match="baseline 'white'"):
        explain.attribute(model, image, region, baseline="white")
    with pytest.raises(SkinlesionError, match="outside"):
        explain.pixel_region((4, 4), (4, 0))


def test_baselines(image, region):
    skin = baseline_image(image, region)
    outside = image[0].permute(1, 2, 0).numpy()[~region]
    np.testing.assert_allclose(skin[0, :, 5, 7], np.median(outside, axis=0), atol=1e-3)
    assert torch.equal(skin[..., :1, :1].expand_as(skin), skin)
    assert baseline_image(image, np.ones((64, 96), dtype=bool)).shape == image.shape
    blur = baseline_image(image, region, "blur")
    assert blur.std() < 0.2 * image.std()
    assert float(blur.mean()) == pytest.approx(float(image.mean()), abs=0.02)


def test_the_predicted_region_is_the_mask(model, image):
    with torch.no_grad():
        probability = model(image).sigmoid()[0, 0].numpy()
    threshold = float(np.median(probability))
    assert np.array_equal(explain.predicted_region(model, image, threshold), probability >= threshold)


class Patchy(nn.Module):
    """Every logit is the same: how much brighter than 1/2 one corner is."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(20.0))

    def forward(self, x):
        return ((x[:, :, :16, :16].mean((1, 2, 3)) - 0.5) * self.scale)[:, None, None, None].expand(-1, 1, *x.shape[2:])


def curves_of(values, image, region, control):
    found = explain.Attribution("occlusion", None, values, region, 0.0, 0.0, 0.0)
    return explain.faithfulness(Patchy(), image, found, control, baseline="black")


def test_faithfulness_tells_a_true_map_from_a_false_one():
    image = torch.ones(1, 3, 64, 64)
    region = np.ones((64, 64), dtype=bool)
    told = []
    control = explain.random_control(Patchy(), image, region, baseline="black", report=told.append)
    assert len(told) == -(-2 * POINTS // 4) * ORDERS
    assert told[-1] == 1
    right = np.zeros((64, 64), dtype=np.float32)
    right[:16, :16] = 1
    true, false = curves_of(right, image, region, control), curves_of(-right, image, region, control)
    assert true.score > 0.3
    assert false.score < -0.3
    assert true.curves.deletion_auc < 0.1 < 0.9 < true.curves.insertion_auc
    for curves in (control, true.curves):
        assert curves.fraction.tolist() == pytest.approx(np.linspace(0, 1, POINTS).tolist())
        assert curves.deletion[0] == pytest.approx(curves.insertion[-1])
        assert curves.deletion[-1] == pytest.approx(curves.insertion[0])
    with pytest.raises(explain.Canceled):
        explain.random_control(Patchy(), image, region, canceled=lambda: True)


@pytest.mark.usefixtures("untouched")
def test_shuffled_weights_are_the_same_numbers_elsewhere(model, image, region):
    shuffled = explain.shuffled_copy(model)
    for a, b in zip(model.parameters(), shuffled.parameters(), strict=True):
        assert torch.equal(a.flatten().sort().values, b.flatten().sort().values)
    assert not torch.equal(model.encoder[0][0].ss2d.A_logs, shuffled.encoder[0][0].ss2d.A_logs)
    again = explain.shuffled_copy(model)
    assert torch.equal(next(again.parameters()), next(shuffled.parameters()))
    ours = explain.attribute(model, image, region, "grad_cam", layer="D2.1")
    theirs = explain.attribute(shuffled, image, region, "grad_cam", layer="D2.1")
    assert explain.similarity(ours.map, theirs.map) < 0.9


def test_similarity_of_maps():
    a = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert explain.similarity(a, -(a**3)) == pytest.approx(1)  # signs and scale do not count
    assert explain.similarity(a, 1 / (1 + a)) == pytest.approx(-1)
    assert explain.similarity(a, np.ones_like(a)) == 0
    with pytest.raises(SkinlesionError, match="same size"):
        explain.similarity(a, a.T)
