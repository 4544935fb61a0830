import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.losses import DiceLoss as MonaiDice

from skinlesion.errors import SkinlesionError
from skinlesion.losses import BceDiceLoss, bce_dice_loss, bce_loss, dice_loss


def pair(seed=0, shape=(3, 1, 7, 10), soft=True, dtype=torch.float32):
    g = torch.Generator().manual_seed(seed)
    target = torch.rand(shape, generator=g, dtype=dtype)
    return 3 * torch.randn(shape, generator=g, dtype=dtype), target if soft else (target > 0.5).to(dtype)


@pytest.mark.parametrize("soft", [False, True])
def test_bce_on_logits_is_bce_on_probabilities(soft):
    logits, target = pair(soft=soft, dtype=torch.float64)
    torch.testing.assert_close(bce_loss(logits, target), F.binary_cross_entropy(logits.sigmoid(), target))


@pytest.mark.parametrize("soft", [False, True])
def test_dice_is_monais_dice_with_smooth_one(soft):
    logits, target = pair(soft=soft)
    monai = MonaiDice(sigmoid=True, smooth_nr=1.0, smooth_dr=1.0)
    torch.testing.assert_close(dice_loss(logits, target), monai(logits, target))


def test_dice_is_taken_per_image_not_over_the_pooled_batch():
    target = torch.zeros(2, 1, 16, 16)
    target[0, :, :8] = 1  # a large lesion that is found, and a small one that is missed
    target[1, :, 0, 0] = 1
    logits = torch.full_like(target, -50.0)
    logits[0, :, :8] = 50
    found, missed = 0.0, 1 - 1 / (1 + 1)
    assert dice_loss(logits, target).item() == pytest.approx((found + missed) / 2)


def test_bce_dice_by_hand_on_two_pixels():
    logits = torch.tensor([[[[0.0, 0.0]]]])  # both probabilities one half
    target = torch.tensor([[[[1.0, 0.0]]]])
    bce, dice = 0.6931471805599453, 1 - (2 * 0.5 + 1) / (1 + 1 + 1)
    assert bce_dice_loss(logits, target).item() == pytest.approx(0.3 * bce + 0.7 * dice)
    assert BceDiceLoss(w_bce=2, w_dice=5)(logits, target).item() == pytest.approx(2 * bce + 5 * dice)


def test_an_empty_mask_predicted_empty_costs_nothing():
    logits, target = torch.full((1, 1, 8, 8), -60.0), torch.zeros(1, 1, 8, 8)
    assert bce_dice_loss(logits, target).item() == pytest.approx(0, abs=1e-6)


def test_gradients_in_float64():
    logits, target = pair(shape=(2, 1, 3, 4), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: bce_dice_loss(x, target), logits.requires_grad_())


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.floats(0.1, 80))
def test_bounds_and_order_of_images_for_any_size(seed, batch, height, width, scale):
    logits, target = pair(seed, (batch, 1, height, width))
    logits = logits * scale
    dice = dice_loss(logits, target)
    assert 0 <= dice < 1
    assert 0 <= bce_loss(logits, target) < float("inf")
    torch.testing.assert_close(dice, dice_loss(logits.flip(0), target.flip(0)))


def test_half_precision_does_not_overflow_at_full_size():
    logits = torch.full((1, 1, 512, 512), 20.0, dtype=torch.float16, requires_grad=True)
    target = torch.ones(1, 1, 512, 512)  # its area, 262,144, is beyond float16's 65,504
    loss = bce_dice_loss(logits, target)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(0, abs=1e-5)
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("loss", [bce_loss, dice_loss, bce_dice_loss])
def test_shapes_that_would_broadcast_and_integer_masks_are_refused(loss):
    logits = torch.zeros(2, 1, 4, 4)
    with pytest.raises(SkinlesionError, match=r"\(2, 1, 4, 4\).*\(2, 4, 4\).*channel axis"):
        loss(logits, torch.zeros(2, 4, 4))
    with pytest.raises(SkinlesionError, match=r"uint8.*floating point"):
        loss(logits, torch.full((2, 1, 4, 4), 255, dtype=torch.uint8))
