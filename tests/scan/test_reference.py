"""The readable scan against closed forms, gradients by finite differences, and another project's scan."""

import mambapy.pscan
import pytest
import torch

from skinlesion.scan import reference


def test_one_state_equals_the_sum_written_out():
    """With constant decay the recurrence is y_t = sum_s C decay^(t-s) step B u_s."""
    length, step, rate = 7, 0.3, -0.8
    u = torch.randn(1, length, 1, dtype=torch.float64)
    delta = torch.full((1, length, 1), step, dtype=torch.float64)
    ones = torch.ones(1, length, 1, dtype=torch.float64)
    A = torch.full((1, 1), rate, dtype=torch.float64)
    y = reference.selective_scan(u, delta, A, 2 * ones, 3 * ones, torch.ones(1, dtype=torch.float64))
    decay = torch.exp(torch.tensor(step * rate, dtype=torch.float64))
    for t in range(length):
        expected = sum(3 * decay ** (t - s) * step * 2 * u[0, s, 0] for s in range(t + 1)) + u[0, t, 0]
        torch.testing.assert_close(y[0, t, 0], expected)


def test_gradients_by_finite_differences():
    g = torch.Generator().manual_seed(0)
    u, B, C = (torch.randn(1, 4, n, dtype=torch.float64, generator=g).requires_grad_() for n in (3, 2, 2))
    delta = torch.rand(1, 4, 3, dtype=torch.float64, generator=g).requires_grad_()
    A = (-torch.rand(3, 2, dtype=torch.float64, generator=g)).requires_grad_()
    D = torch.randn(3, dtype=torch.float64, generator=g).requires_grad_()
    assert torch.autograd.gradcheck(reference.selective_scan, (u, delta, A, B, C, D))


@pytest.mark.parametrize("length", [1, 2, 5, 64, 100])
def test_equals_mambapy(length):
    """mambapy scans given decays and inputs in parallel; only the discretization is repeated here."""
    g = torch.Generator().manual_seed(length)
    u, delta = torch.randn(2, length, 4, generator=g), torch.rand(2, length, 4, generator=g)
    B, C = torch.randn(2, 2, length, 3, generator=g)
    A = -torch.rand(4, 3, generator=g)
    decay = torch.exp(delta[..., None] * A)
    states = mambapy.pscan.pscan(decay, (delta * u)[..., None] * B[:, :, None, :])
    expected = (states * C[:, :, None, :]).sum(-1)
    # float32 sums of up to 100 terms, in two orders
    torch.testing.assert_close(reference.selective_scan(u, delta, A, B, C), expected, rtol=1e-4, atol=1e-5)


def test_the_four_routes_of_a_2_by_3_grid():
    expected = [[0, 1, 2, 3, 4, 5], [0, 3, 1, 4, 2, 5], [5, 4, 3, 2, 1, 0], [5, 2, 4, 1, 3, 0]]
    assert reference.four_routes(2, 3).tolist() == expected


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 6), (5, 1), (4, 4), (3, 7)])
def test_merging_an_expansion_gives_four_times_the_input(height, width):
    x = torch.randn(2, height, width, 3, dtype=torch.float64)
    routes = reference.four_routes(height, width)
    merged = reference.cross_merge(reference.cross_scan(x, routes), routes, height, width)
    torch.testing.assert_close(merged, 4 * x)
