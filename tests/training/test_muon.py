"""Muon: against torch's own, against AdamW, and what it does to a matrix."""

import pytest
import torch
from torch import nn

from skinlesion.training.muon import RATIO, Muon, hidden_matrices, orthogonalize
from skinlesion.zoo import create_model


def test_all_directions_of_a_matrix_are_evened_out():
    generator = torch.Generator().manual_seed(0)
    for shape in ((3, 40, 20), (2, 16, 16), (1, 8, 64)):
        values = torch.linalg.svdvals(orthogonalize(torch.randn(shape, generator=generator)))
        assert values.min() > 0.65  # 0.68 to 1.2 in exact arithmetic, for what these matrices have
        assert values.max() < 1.25
    assert not orthogonalize(torch.zeros(1, 8, 9)).any()


def test_the_directions_stay_the_matrixs_own():
    u, s, v = torch.linalg.svd(torch.randn(12, 30, generator=torch.Generator().manual_seed(1)), full_matrices=False)
    found = orthogonalize((u * s @ v)[None])[0]
    inside = u.T @ found @ v.T  # diagonal if nothing was turned
    torch.testing.assert_close(inside, torch.diag(inside.diagonal()), rtol=0, atol=1e-4)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch.optim.Muon came with torch 2.9")
def test_a_matrix_takes_the_step_of_torchs_muon():
    torch.manual_seed(0)
    ours = nn.Linear(24, 40, bias=False)
    theirs = nn.Linear(24, 40, bias=False)
    theirs.load_state_dict(ours.state_dict())
    a = Muon(ours, lr=0.01, weight_decay=0.1)
    b = torch.optim.Muon([theirs.weight], lr=RATIO * 0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(5):
        ours.weight.grad = torch.randn_like(ours.weight)
        theirs.weight.grad = ours.weight.grad.clone()
        before = ours.weight.detach().clone()
        a.step()
        b.step()
    step = ours.weight.detach() - before
    # torch's works in bfloat16, with 8 bits: a few percent of a step
    assert (ours.weight - theirs.weight).norm() < 0.05 * 5 * step.norm()


@pytest.mark.parametrize("make", [lambda: nn.LayerNorm(50), lambda: nn.Linear(4, 50)], ids=["vectors", "narrow"])
def test_all_other_weights_take_adamws_step(make):
    """A matrix that is narrower than 8 has too few directions to even out, and is one of them."""
    torch.manual_seed(0)
    ours, theirs = make(), make()
    theirs.load_state_dict(ours.state_dict())
    a = Muon(ours, lr=0.01, weight_decay=0.1)
    b = torch.optim.AdamW(theirs.parameters(), lr=0.01, weight_decay=0.1)
    for _ in range(5):
        for x, y in zip(ours.parameters(), theirs.parameters(), strict=True):
            x.grad = torch.randn_like(x)
            y.grad = x.grad.clone()
        a.step()
        b.step()
    for x, y in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-6, atol=1e-7)  # the same formula, rounded in another order


@pytest.mark.parametrize("name", ["tiny", "unet", "utnetv2"])
def test_every_weight_of_a_network_is_moved(name):
    torch.manual_seed(0)
    options = {"tiny": {"dim": 16, "d_state": 2, "se_ratio": 2}, "unet": {"dim": 4}, "utnetv2": {"dim": 4}}[name]
    model = create_model(name, **options)
    before = [weight.detach().clone() for weight in model.parameters()]
    optimizer = Muon(model, lr=1e-3)
    for weight in model.parameters():
        weight.grad = torch.randn_like(weight)
    optimizer.step()
    assert all((weight != old).any() for weight, old in zip(model.parameters(), before, strict=True))
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(before)
    assert bool(hidden_matrices(model)) == (name != "unet")  # a network of convolutions is AdamW's alone
