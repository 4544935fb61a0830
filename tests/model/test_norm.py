"""The fast LayerNorm against PyTorch's: values, gradients, and the cases that it leaves alone."""

import pytest
import torch
from torch import nn

from skinlesion.model.norm import MANY, LayerNorm


def value_and_gradients(module, x):
    x = x.clone().requires_grad_()
    y = module(x)
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float32).to(y.dtype)
    return y, torch.autograd.grad(y, (x, *module.parameters()), dy)


def make(channels, dtype=torch.float32):
    torch.manual_seed(0)
    ours, theirs = LayerNorm(channels, dtype=dtype), nn.LayerNorm(channels, dtype=dtype)
    for parameter in ours.parameters():
        nn.init.normal_(parameter)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize("channels", [1, 4, 6, 16, 17])
@pytest.mark.parametrize("shift", [0.0, 10.0])
def test_equals_torchs(channels, shift):
    ours, theirs = make(channels)
    x = torch.randn(2, 64, 65, channels) + shift
    y, gradients = value_and_gradients(ours, x)
    expected, expected_gradients = value_and_gradients(theirs.double(), x.double())
    tolerance = 1e-5 * (1 + shift)  # of the largest value; a shift costs digits of x - mean
    for a, b in zip((y, *gradients), (expected, *expected_gradients), strict=True):
        assert a.dtype == torch.float32
        assert a.shape == b.shape
        assert (a - b).abs().max() <= tolerance * b.abs().max().clamp_min(1)


def test_the_number_of_threads_does_not_change_a_bit():
    ours, _ = make(6)
    x = torch.randn(MANY + 7, 6)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(value_and_gradients(ours, x))
    finally:
        torch.set_num_threads(before)
    for y, gradients in results[1:]:
        assert torch.equal(y, results[0][0])
        assert all(torch.equal(a, b) for a, b in zip(gradients, results[0][1], strict=True))


def test_other_layouts_and_inference():
    ours, theirs = make(6)
    x = torch.randn(6, 80, 80).permute(1, 2, 0)  # channels not contiguous
    for a, b in zip(value_and_gradients(ours, x)[1], value_and_gradients(theirs, x)[1], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-3)
    with torch.inference_mode():
        assert torch.equal(ours(x), theirs(x))


def test_what_the_kernel_cannot_do_is_torchs():
    ours, theirs = make(4)
    x = torch.randn(MANY, 4)
    found, expected = (torch.func.grad(lambda x, norm=norm: norm(x).square().sum())(x) for norm in (ours, theirs))
    torch.testing.assert_close(found, expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ours(x.requires_grad_()), theirs(x))
    wide, wide_theirs = make(4, torch.float64)
    assert torch.equal(wide(x.double()), wide_theirs(x.double()))


def test_the_second_derivative_is_torchs():
    ours, theirs = make(4)
    x = torch.randn(MANY, 4)

    def second(norm):
        leaf = x.clone().requires_grad_()
        (first,) = torch.autograd.grad(norm(leaf).pow(3).sum(), leaf, create_graph=True)
        return torch.autograd.grad(first.square().sum(), (leaf, *norm.parameters()))

    for a, b in zip(second(ours), second(theirs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3 * b.abs().max().item())
