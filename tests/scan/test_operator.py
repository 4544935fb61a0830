"""The scan as a PyTorch operator: what compilers, exporters, transforms and autocast may rely on."""

import shutil
import sys

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad

from skinlesion.errors import SkinlesionError
from skinlesion.scan import cpu, cross_selective_scan
from skinlesion.scan.reference import four_routes

COMPILER = "cl" if sys.platform == "win32" else "c++"


def make_inputs(batch=2, height=3, width=5, channels=16, states=4, seed=0):
    g = torch.Generator().manual_seed(seed)
    return [
        torch.randn(batch, height, width, channels, generator=g),
        torch.randn(batch, height, width, 4, channels, generator=g) - 1,
        -4 * torch.rand(4, channels, states, generator=g),
        torch.randn(batch, height, width, 4, states, generator=g),
        torch.randn(batch, height, width, 4, states, generator=g),
        torch.randn(4, channels, generator=g),
        torch.randn(4, channels, generator=g),
    ]


def flat(inputs):
    """As the operators take them: (B, H, W, ...) -> (B, L, ...)."""
    return [t.flatten(1, 2) if t.dim() > 3 else t for t in inputs]


def gradients(function, inputs):
    leaves = [t.detach().clone().requires_grad_() for t in inputs]
    return torch.autograd.grad(function(*leaves).square().sum(), leaves)


class Scan(torch.nn.Module):
    def forward(self, *inputs):
        return cross_selective_scan(*inputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("keep", [True, False])
def test_opcheck_of_the_forward_operator(dtype, keep):
    tensors = [t.to(dtype).requires_grad_(keep) for t in flat(make_inputs())]
    torch.library.opcheck(cpu.cross_scan, (*tensors, four_routes(3, 5), keep))


@pytest.mark.parametrize("shape", [(2, 3, 5, 16, 4), (1, 1, 1, 16, 1), (1, 9, 8, 48, 3)])
def test_opcheck_of_the_backward_operator(shape):
    tensors = flat(make_inputs(*shape))
    routes = four_routes(*shape[1:3])
    y, kept = cpu.cross_scan(*tensors, routes, True)
    torch.library.opcheck(cpu.cross_scan_backward, (y, *tensors, routes, kept))


@pytest.mark.parametrize(
    "backend",
    [
        "aot_eager",
        pytest.param(
            "inductor",
            marks=[
                pytest.mark.skipif(
                    shutil.which(COMPILER) is None, reason=f"inductor needs a C++ compiler ({COMPILER})"
                ),
                pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"),
                pytest.mark.slow,
            ],
        ),
    ],
)
@pytest.mark.parametrize("channels", [16, 20], ids=["whole vectors", "padded channels"])
def test_compiled_into_one_graph(backend, channels):
    torch.compiler.reset()
    inputs = make_inputs(channels=channels)
    compiled = torch.compile(cross_selective_scan, fullgraph=True, backend=backend)
    torch.testing.assert_close(compiled(*inputs), cross_selective_scan(*inputs))
    for ours, expected in zip(gradients(compiled, inputs), gradients(cross_selective_scan, inputs), strict=True):
        torch.testing.assert_close(ours, expected)


def test_one_compilation_serves_every_size():
    torch.compiler.reset()
    compiled = torch.compile(cross_selective_scan, fullgraph=True, backend="aot_eager", dynamic=True)
    for batch, height, width in ((2, 3, 5), (3, 4, 7), (5, 6, 4)):
        inputs = make_inputs(batch, height, width)
        with torch.compiler.set_stance("default" if batch == 2 else "fail_on_recompile"):
            assert torch.equal(compiled(*inputs), cross_selective_scan(*inputs))


def test_compiled_with_own_routes():
    torch.compiler.reset()
    inputs = make_inputs()
    routes = torch.stack([torch.randperm(15, generator=torch.Generator().manual_seed(k)) for k in range(4)])
    compiled = torch.compile(cross_selective_scan, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(*inputs, routes=routes), cross_selective_scan(*inputs, routes=routes))
    with pytest.raises(ValueError, match="visit each of the 15 tokens once"):
        compiled(*inputs, routes=torch.zeros(4, 15, dtype=torch.long))


def test_exported_and_saved(tmp_path):
    inputs = tuple(make_inputs())
    program = torch.export.export(Scan(), inputs)
    torch.export.save(program, tmp_path / "scan.pt2")
    loaded = torch.export.load(tmp_path / "scan.pt2").module()
    others = make_inputs(seed=1)
    assert torch.equal(loaded(*others), cross_selective_scan(*others))


def test_exported_for_any_size():
    sizes = {0: torch.export.Dim("batch", max=64), 1: torch.export.Dim("height"), 2: torch.export.Dim("width")}
    shapes = tuple(sizes if t.dim() > 3 else None for t in make_inputs())
    program = torch.export.export(Scan(), tuple(make_inputs()), dynamic_shapes=(shapes,)).module()
    others = make_inputs(3, 7, 4)
    assert torch.equal(program(*others), cross_selective_scan(*others))


def test_tracing_leaves_no_trace():
    """A table of routes made while tracing is not a real tensor; it must not be kept for real calls."""
    inputs = make_inputs(height=13, width=2)  # a size that no other test uses
    torch.export.export(Scan(), tuple(inputs))
    with FakeTensorMode() as mode:
        cross_selective_scan(*(mode.from_tensor(t) for t in inputs))
    y = cross_selective_scan(*inputs)
    assert type(y) is torch.Tensor
    torch.testing.assert_close(y, cross_selective_scan(*inputs, engine="reference"), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_autocast_leaves_the_scan_in_float32(half):
    inputs = make_inputs()
    with torch.autocast("cpu", dtype=half):
        low = [t.to(half) for t in inputs]
        y = cross_selective_scan(*low)
        mixed = cross_selective_scan(low[0], *inputs[1:])
        assert cross_selective_scan(*inputs).dtype == torch.float32
    assert y.dtype == mixed.dtype == half
    assert torch.equal(y, cross_selective_scan(*[t.float() for t in low]).to(half))
    assert torch.equal(mixed, cross_selective_scan(low[0].float(), *inputs[1:]).to(half))


def test_autocast_trains_float32_parameters():
    inputs = make_inputs()
    leaves = [t.requires_grad_() for t in inputs]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = cross_selective_scan(leaves[0].bfloat16(), leaves[1].bfloat16(), *leaves[2:])
    found = torch.autograd.grad(y.float().sum(), leaves)
    assert all(g.dtype == torch.float32 and torch.isfinite(g).all() for g in found)


@pytest.mark.parametrize("mapped", [(0, 1, 3, 4), (0,), (1, 3), (4,)])
def test_vmap_over_what_belongs_to_tokens(mapped):
    cases = [make_inputs(seed=seed) for seed in range(3)]
    inputs = [torch.stack([c[i] for c in cases], dim=-1) if i in mapped else cases[0][i] for i in range(7)]
    dims = tuple(-1 if i in mapped else None for i in range(7))
    y = torch.func.vmap(cross_selective_scan, in_dims=dims)(*inputs)
    for k, case in enumerate(cases):
        one = [case[i] if i in mapped else cases[0][i] for i in range(7)]
        assert torch.equal(y[k], cross_selective_scan(*one))


def test_the_gradient_through_vmap():
    cases = [make_inputs(seed=seed) for seed in range(3)]
    dims = (0, 0, None, 0, 0, None, None)

    def mapped(*inputs):
        return torch.func.vmap(cross_selective_scan, in_dims=dims)(*inputs)

    def looped(*inputs):
        parts = [[t if dim is None else t[k] for t, dim in zip(inputs, dims, strict=True)] for k in range(3)]
        return torch.stack([cross_selective_scan(*part) for part in parts])

    inputs = [torch.stack(ts) if dim == 0 else ts[0] for ts, dim in zip(zip(*cases, strict=True), dims, strict=True)]
    for ours, expected in zip(gradients(mapped, inputs), gradients(looped, inputs), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


def test_many_output_gradients_at_once():
    """`is_grads_batched` maps the backward operator: each row of a Jacobian in one call."""
    inputs = [t.requires_grad_() for t in make_inputs(1, 2, 2, 16, 2)]
    y = cross_selective_scan(*inputs)
    directions = torch.randn(3, *y.shape, generator=torch.Generator().manual_seed(0))
    together = torch.autograd.grad(y, inputs, directions, is_grads_batched=True, retain_graph=True)
    for k, direction in enumerate(directions):
        alone = torch.autograd.grad(y, inputs, direction, retain_graph=True)
        for ours, expected in zip(together, alone, strict=True):
            torch.testing.assert_close(ours[k], expected)


def test_vmap_over_a_parameter_is_refused_by_name():
    inputs = make_inputs()
    inputs[2] = torch.stack([inputs[2]] * 2)
    with pytest.raises(SkinlesionError, match="can map x, delta, B and C, but not A"):
        torch.func.vmap(cross_selective_scan, in_dims=(None, None, 0, None, None, None, None))(*inputs)


def test_inference_mode_equals_training():
    inputs = make_inputs()
    with torch.inference_mode():
        y = cross_selective_scan(*inputs)
        assert y.is_inference()
        assert torch.equal(y, cross_selective_scan(*[t.clone() for t in inputs]))  # inference tensors in
    leaves = [t.requires_grad_() for t in inputs]
    trained = cross_selective_scan(*leaves)
    assert torch.equal(trained, y)
    assert trained.requires_grad


def test_nothing_is_kept_when_no_gradient_is_wanted():
    tensors = [t.requires_grad_() for t in flat(make_inputs())]
    y, kept = cpu.cross_scan(*tensors, four_routes(3, 5), False)
    assert kept.numel() == 0
    with pytest.raises(RuntimeError, match="keep=False"):
        y.sum().backward()


def fused(*inputs):
    return cross_selective_scan(*inputs, engine="cpu")


def readable(*inputs):
    return cross_selective_scan(*inputs, engine="reference")


# PyTorch's own, at the first use of forward mode.
WARNS = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated", "ignore:The .grad attribute of a Tensor")
TANGENT = 'no forward-mode derivative .*use engine="reference"'
SECOND = 'no second derivative .*use engine="reference"'


@pytest.mark.parametrize("argument", range(7))
def test_the_gradient_by_torch_func(argument):
    inputs = make_inputs()

    def gradient(scan):
        return torch.func.grad(lambda *t: scan(*t).square().sum(), argnums=argument)(*inputs)

    torch.testing.assert_close(gradient(fused), gradient(readable), rtol=1e-4, atol=1e-4)


def test_vjp_and_jacrev_by_torch_func():
    inputs = make_inputs(1, 2, 2, 16, 2)
    y, pull = torch.func.vjp(fused, *inputs)
    expected, expected_pull = torch.func.vjp(readable, *inputs)
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(pull(y), expected_pull(y), rtol=1e-4, atol=1e-4)
    rows, expected_rows = (torch.func.jacrev(scan, argnums=(0, 3))(*inputs) for scan in (fused, readable))
    torch.testing.assert_close(rows, expected_rows, rtol=1e-4, atol=1e-4)


def test_a_gradient_for_each_image_by_vmap_of_grad():
    inputs = make_inputs()
    images = torch.stack([inputs[0], 2 * inputs[0], -inputs[0]])

    def gradients(scan):
        return torch.func.vmap(torch.func.grad(lambda x: scan(x, *inputs[1:]).square().sum()))(images)

    torch.testing.assert_close(gradients(fused), gradients(readable), rtol=1e-4, atol=1e-4)


def test_the_gradient_of_a_vmap_by_torch_func():
    inputs = make_inputs()
    images = torch.stack([inputs[0], -inputs[0]])

    def gradient(scan):
        mapped = torch.func.vmap(scan, in_dims=(0, *[None] * 6))
        return torch.func.grad(lambda A: mapped(images, inputs[1], A, *inputs[3:]).square().sum())(inputs[2])

    torch.testing.assert_close(gradient(fused), gradient(readable), rtol=1e-4, atol=1e-3)


@WARNS
@pytest.mark.parametrize("argument", range(7))
@pytest.mark.parametrize("requires_grad", [False, True])
def test_forward_mode_is_refused_for_every_argument(argument, requires_grad):
    inputs = [t.requires_grad_(requires_grad) for t in make_inputs()]
    tangent = torch.ones_like(inputs[argument])
    with forward_ad.dual_level(), pytest.raises(SkinlesionError, match=TANGENT):
        fused(*[forward_ad.make_dual(t, tangent) if i == argument else t for i, t in enumerate(inputs)])


@WARNS
@pytest.mark.parametrize("transform", ["jvp", "jacfwd", "hessian", "vmap of jvp", "jvp of vmap", "compiled jvp"])
def test_forward_mode_by_torch_func_is_refused(transform):
    inputs = make_inputs()
    x, tangent = inputs[0], torch.ones_like(inputs[0])

    def loss(x):
        return fused(x, *inputs[1:]).square().sum()

    def mapped(x):
        return torch.func.vmap(fused, in_dims=(0, *[None] * 6))(torch.stack([x, x]), *inputs[1:]).sum()

    def push(x):
        return torch.func.jvp(loss, (x,), (tangent,))[1]

    calls = {
        "jvp": lambda: push(x),
        "jacfwd": lambda: torch.func.jacfwd(loss)(x),
        "hessian": lambda: torch.func.hessian(loss)(x),
        "vmap of jvp": lambda: torch.func.vmap(push)(torch.stack([x, x])),
        "jvp of vmap": lambda: torch.func.jvp(mapped, (x,), (tangent,)),
        "compiled jvp": lambda: torch.compile(push, backend="eager")(x),
    }
    with pytest.raises(SkinlesionError, match=TANGENT):
        calls[transform]()


def test_a_dual_level_without_tangents_changes_nothing():
    inputs = make_inputs()
    with forward_ad.dual_level():
        assert torch.equal(fused(*inputs), fused(*[t.clone() for t in inputs]))


@WARNS
@pytest.mark.skipif(
    tuple(map(int, torch.__version__.split(".")[:2])) < (2, 12),
    reason="before PyTorch 2.12, torch.compile fails where its graph breaks inside torch.func",
)
def test_compiled_gradients_by_torch_func_are_right_or_refused():
    torch.compiler.reset()
    inputs = make_inputs()

    def gradient(x):
        return torch.func.grad(lambda x: fused(x, *inputs[1:]).square().sum())(x)

    # torch.compile leaves this part to eager mode; in one graph it is refused.
    torch.testing.assert_close(torch.compile(gradient, backend="eager")(inputs[0]), gradient(inputs[0]))
    torch.compiler.reset()
    with pytest.raises(Exception, match=r"inside torch\.compile"):  # of dynamo, around ours
        torch.compile(gradient, backend="eager", fullgraph=True)(inputs[0])


@pytest.mark.parametrize("argument", range(7))
def test_a_second_derivative_is_refused(argument):
    inputs = make_inputs()
    leaf = inputs[argument].requires_grad_()
    (first,) = torch.autograd.grad(fused(*inputs).square().sum(), leaf, create_graph=True)
    with pytest.raises(SkinlesionError, match=SECOND):
        first.sum().backward()


@pytest.mark.parametrize("inner", [torch.func.grad, torch.func.jacrev])
@pytest.mark.parametrize("outer", [torch.func.grad, torch.func.jacrev])
def test_a_second_derivative_by_torch_func_is_refused(inner, outer):
    inputs = make_inputs()

    def loss(bias):
        return fused(*inputs[:6], bias).square().sum()

    with pytest.raises(SkinlesionError, match=SECOND):
        outer(lambda bias: inner(loss)(bias).sum())(inputs[6])


@pytest.mark.parametrize("shape", [(0, 3, 5, 16), (2, 0, 5, 16), (2, 3, 5, 0)])
def test_an_empty_image_is_refused(shape):
    with pytest.raises(SkinlesionError, match="must not be empty"):
        cross_selective_scan(*make_inputs(*shape))
