"""The mamba-ssm adapter: its layout against the readable scan, with a plain PyTorch scan in mamba-ssm's place."""

import importlib.util

import pytest
import torch
import torch.nn.functional as F

from skinlesion.errors import SkinlesionError
from skinlesion.scan import choose_engine, cross_selective_scan, engines, mamba, reference

NAMES = ("x", "delta", "A", "B", "C", "D", "delta_bias")
HAS_PACKAGE = importlib.util.find_spec("mamba_ssm") is not None
HAS_KERNEL = HAS_PACKAGE and importlib.util.find_spec("selective_scan_cuda") is not None


def stand_in(u, delta, A, B, C, D, *, delta_bias, delta_softplus):
    """A scan of the arguments that mamba-ssm documents: time last, B and C shared by groups of channels.

    It is written apart from the adapter and from the reference: the state is (B, D, N) and each group's B and C are
    repeated for its D / G neighboring channels. It insists on what the CUDA kernel insists on.
    """
    batch, channels, length = u.shape
    groups, states = B.shape[1], A.shape[1]
    assert delta.shape == u.shape
    assert A.shape == (channels, states)
    assert B.shape == C.shape == (batch, groups, states, length)
    assert D.shape == delta_bias.shape == (channels,)
    assert all(t.dtype == torch.float32 for t in (u, delta, A, B, C, D, delta_bias))
    assert all(t.stride(-1) == 1 or t.shape[-1] == 1 for t in (u, delta, B, C))
    assert delta_softplus
    delta = F.softplus(delta + delta_bias[:, None])
    B, C = (t.repeat_interleave(channels // groups, dim=1) for t in (B, C))  # (B, D, N, L)
    h = u.new_zeros(batch, channels, states)
    y = []
    for t in range(length):
        h = torch.exp(delta[:, :, t, None] * A) * h + (delta[:, :, t] * u[:, :, t])[..., None] * B[..., t]
        y.append((h * C[..., t]).sum(-1) + D * u[:, :, t])
    return torch.stack(y, dim=-1)  # (B, D, L)


def make_inputs(batch=2, height=3, width=5, channels=6, states=4, seed=0):
    """Arguments of the adapter, tokens flattened."""
    g = torch.Generator().manual_seed(seed)
    length = height * width
    return [
        torch.randn(batch, length, channels, generator=g),
        torch.randn(batch, length, 4, channels, generator=g) - 1,
        -4 * torch.rand(4, channels, states, generator=g),
        torch.randn(batch, length, 4, states, generator=g),
        torch.randn(batch, length, 4, states, generator=g),
        torch.randn(4, channels, generator=g),
        torch.randn(4, channels, generator=g),
    ]


def assert_equals_reference(kernel, inputs, routes, tolerance, device="cpu"):
    ours = [t.to(device).requires_grad_() for t in inputs]
    theirs = [t.double().requires_grad_() for t in inputs]
    y = mamba.cross_selective_scan(*ours, routes.to(device), kernel=kernel)
    expected = reference.cross_selective_scan(*theirs, routes)
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    gradients = torch.autograd.grad(y, ours, dy.to(device))
    expected_gradients = torch.autograd.grad(expected, theirs, dy.double())
    for name, a, b in zip(("y", *NAMES), (y, *gradients), (expected, *expected_gradients), strict=True):
        assert a.shape == b.shape
        error = (a.cpu() - b).abs().max() / b.abs().max().clamp_min(1e-12)
        assert error < tolerance, f"{name}: relative error {error:.2e}"


@pytest.mark.parametrize(("height", "width"), [(3, 5), (1, 1), (4, 4), (1, 7)])
def test_the_layout_in_value_and_in_every_gradient(height, width):
    inputs = make_inputs(height=height, width=width)
    assert_equals_reference(stand_in, inputs, reference.four_routes(height, width), 5e-6)


def test_own_routes_of_any_number():
    inputs = make_inputs()
    inputs = [t[:, :, :3] if t.dim() == 4 else t for t in inputs]  # three routes
    inputs[2], inputs[5], inputs[6] = inputs[2][:3], inputs[5][:3], inputs[6][:3]
    routes = torch.stack([torch.randperm(15, generator=torch.Generator().manual_seed(k)) for k in range(3)])
    assert_equals_reference(stand_in, inputs, routes.int(), 5e-6)


def test_there_and_back():
    tokens = torch.randn(2, 12, 4, 3)
    order = reference.four_routes(3, 4).long()
    inverse = torch.argsort(order, dim=1)
    sequences = mamba.to_sequences(tokens, order, inverse)
    assert sequences.shape == (2, 4, 3, 12)
    assert sequences.is_contiguous()
    assert torch.equal(sequences[1, 2], tokens[1, order[2], 2].T)
    assert torch.equal(mamba.from_sequences(sequences, order, inverse), tokens)


def test_float64_is_refused():
    inputs = [t.double() for t in make_inputs()]
    with pytest.raises(SkinlesionError, match=r"does not take torch\.float64"):
        mamba.cross_selective_scan(*inputs, reference.four_routes(3, 5), kernel=stand_in)


@pytest.mark.parametrize("argument", range(7))
def test_only_first_derivatives(argument):
    inputs = make_inputs()
    leaf = inputs[argument].requires_grad_()
    y = mamba.cross_selective_scan(*inputs, reference.four_routes(3, 5), kernel=stand_in)
    (first,) = torch.autograd.grad(y.square().sum(), leaf, create_graph=True)
    with pytest.raises(SkinlesionError, match=r'no second derivative .*use engine="reference"'):
        first.sum().backward()


@pytest.mark.skipif(HAS_KERNEL, reason="mamba-ssm's CUDA kernel is installed")
def test_without_the_kernel_the_error_gives_the_build_command():
    assert not engines()["mamba"].available
    with pytest.raises(SkinlesionError, match="MAMBA_KEEP_CUDA_BUILD=TRUE pip install mamba-ssm --no-build-isolation"):
        choose_engine("mamba", "cuda")


@pytest.mark.skipif(not HAS_PACKAGE, reason="mamba_ssm is missing: " + mamba.BUILD)
def test_the_packages_own_reference():
    try:
        from mamba_ssm.ops.selective_scan_interface import selective_scan_ref
    except ImportError as error:  # some of its versions cannot be imported without the CUDA kernel
        pytest.skip(f"mamba_ssm cannot be imported ({error}): {mamba.BUILD}")
    g = torch.Generator().manual_seed(0)
    u, delta = torch.randn(2, 2, 8, 11, generator=g)
    A, D, bias = -torch.rand(8, 4, generator=g), torch.randn(8, generator=g), torch.randn(8, generator=g)
    B, C = torch.randn(2, 2, 4, 4, 11, generator=g)
    arguments = {"delta_bias": bias, "delta_softplus": True}
    ours = stand_in(u, delta, A, B, C, D, **arguments)
    torch.testing.assert_close(ours, selective_scan_ref(u, delta, A, B, C, D, **arguments), rtol=1e-5, atol=1e-5)
    assert_equals_reference(selective_scan_ref, make_inputs(), reference.four_routes(3, 5), 5e-6)


@pytest.mark.skipif(
    not (HAS_KERNEL and torch.cuda.is_available()), reason="no GPU, or no CUDA kernel of mamba-ssm: " + mamba.BUILD
)
def test_the_kernel_on_a_gpu():
    # mamba-ssm's own tolerances are 1e-3 and wider; its exponential is approximate.
    assert_equals_reference(mamba.load_kernel(), make_inputs(), reference.four_routes(3, 5), 1e-4, "cuda")
    x, *others = (t.cuda() for t in make_inputs())
    grid = [t.unflatten(1, (3, 5)) if t.dim() == 4 and t.shape[1] == 15 else t for t in others]
    assert cross_selective_scan(x.unflatten(1, (3, 5)), *grid, engine="mamba").shape == (2, 3, 5, 6)
