"""The Triton engine without a GPU: in Triton's interpreter against the readable scan, and compiled ahead of time.

The interpreter is chosen when the kernels are defined, so its cases run in a process of their own. What this cannot
show is said in `skinlesion/scan/triton.py`.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from skinlesion.errors import SkinlesionError
from skinlesion.scan import choose_engine, engines

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is missing (Linux: pip install triton)"
)
ROOT = Path(__file__).parents[2]

PRELUDE = """
import json, numpy, sys, torch
from hypothesis import HealthCheck, given, settings, strategies as st
from skinlesion.scan import choose_engine, cross_selective_scan, engines

NAMES = ("y", "x", "delta", "A", "B", "C", "D", "delta_bias")
TOLERANCE = {torch.float32: 5e-6, torch.float64: 1e-12}  # as in test_cpu.py, and for the same reasons

def make(batch=1, height=3, width=5, channels=4, states=2, dtype=torch.float32, seed=0, rate=4.0, step=-1.0):
    g = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=g, dtype=dtype)
    return [
        normal(batch, height, width, channels),
        normal(batch, height, width, 4, channels) + step,
        -rate * torch.rand(4, channels, states, generator=g, dtype=dtype),
        normal(batch, height, width, 4, states),
        normal(batch, height, width, 4, states),
        normal(4, channels),
        normal(4, channels),
    ]

def value_and_gradients(inputs, engine, **options):
    leaves = [t.detach().clone().requires_grad_() for t in inputs]
    y = cross_selective_scan(*leaves, engine=engine, **options)
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(y.dtype)
    return y.detach(), *torch.autograd.grad(y, leaves, dy)

def check(inputs, **options):
    ours = value_and_gradients(inputs, "triton", **options)
    theirs = value_and_gradients([t.double() for t in inputs], "reference", **options)
    for name, a, b in zip(NAMES, ours, theirs, strict=True):
        error = (a - b).abs().max() / b.abs().max().clamp_min(1e-12)
        assert a.shape == b.shape and error < TOLERANCE[a.dtype], f"{name}: relative error {error:.2e}"
"""

CASES = {
    "any shape": """
@settings(max_examples=12, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(st.tuples(st.integers(1, 2), st.integers(1, 6), st.integers(1, 6), st.integers(1, 6), st.integers(1, 5),
                 st.sampled_from([torch.float32, torch.float64]), st.integers(0, 2**16)))
def run(case):
    check(make(*case))
run()
""",
    "more than one block of channels": "check(make(1, 2, 3, 35, 2))",
    "more than one tile of tokens": "check(make(1, 5, 7, 3, 3)); check(make(1, 1, 32, 2, 2))",
    "one token, one channel, one state": "check(make(1, 1, 1, 1, 1))",
    "the states of the network": "check(make(1, 2, 2, 4, 16))",
    "underflow": "check(make(rate=100.0, step=3.0))",
    "almost no step": "check(make(rate=1e-3, step=-12.0))",
    "large rate and step": "check(make(rate=16.0, step=5.0))",
    "own routes": """
routes = torch.stack([torch.randperm(15, generator=torch.Generator().manual_seed(k)) for k in range(4)])
check(make(), routes=routes)
""",
    "strided and transposed input": """
inputs = make(height=4, width=3)
y = cross_selective_scan(*inputs, engine="triton")
strided = [torch.stack([t, t], dim=-1)[..., 0] for t in inputs]
transposed = [t.transpose(1, 2).contiguous().transpose(1, 2) if t.dim() > 3 else t for t in inputs]
assert torch.equal(cross_selective_scan(*strided, engine="triton"), y)
assert torch.equal(cross_selective_scan(*transposed, engine="triton"), y)
""",
    "bad numbers stay in their image": """
for bad in (float("nan"), float("inf")):
    inputs = make(batch=2)
    inputs[0][0, 1, 2, 3] = bad
    with numpy.errstate(all="ignore"):  # the interpreter is NumPy, which warns of inf * 0
        y = cross_selective_scan(*inputs, engine="triton")
    assert not torch.isfinite(y[0, 1, 2, 3])
    assert torch.isfinite(y[1]).all() and torch.isfinite(y[0, ..., :3]).all()
""",
    "the same bits every time": """
runs = [value_and_gradients(make(channels=35, states=1), "triton") for _ in range(2)]
assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))
""",
    "finite differences": """
inputs = [t.requires_grad_() for t in make(1, 1, 2, 2, 1, torch.float64)]
assert torch.autograd.gradcheck(lambda *t: cross_selective_scan(*t, engine="triton"), inputs, atol=1e-6)
""",
    "half precision and no gradient": """
inputs = [t.bfloat16() for t in make()]
with torch.inference_mode():
    y = cross_selective_scan(*inputs, engine="triton")
    assert torch.equal(y, cross_selective_scan(*[t.float() for t in inputs], engine="triton").bfloat16())
""",
    "opcheck": """
from skinlesion.scan import triton
from skinlesion.scan.reference import four_routes
x, delta, A, B, C, D, bias = make(height=1, width=2, channels=2, states=1)
tensors = [x.flatten(1, 2), delta.flatten(1, 2), A, B.flatten(1, 2), C.flatten(1, 2), D, bias]
leaves = [t.clone().requires_grad_() for t in tensors]
torch.library.opcheck(triton.cross_scan, (*leaves, four_routes(1, 2), True))
y, kept = triton.cross_scan(*tensors, four_routes(1, 2), True)
torch.library.opcheck(triton.cross_scan_backward, (y, *tensors, four_routes(1, 2), kept))
""",
    "vmap": """
scan = lambda *t: cross_selective_scan(*t, engine="triton")
inputs, others = make(), make(seed=1)
mapped = torch.func.vmap(scan, in_dims=(0, None, None, 0, None, None, None))
x, B = torch.stack([inputs[0], others[0]]), torch.stack([inputs[3], others[3]])
y = mapped(x, *inputs[1:3], B, *inputs[4:])
for k in range(2):
    torch.testing.assert_close(y[k], scan(x[k], *inputs[1:3], B[k], *inputs[4:]))
""",
    "derivatives": """
import warnings
warnings.filterwarnings("ignore", message=".*torch.jit.script.* is deprecated")  # PyTorch's own, of forward mode
from skinlesion.errors import SkinlesionError
scan = lambda *t: cross_selective_scan(*t, engine="triton")
x, *others = make(height=1, width=2, channels=2, states=1)
loss = lambda x: scan(x, *others).square().sum()
exact = torch.func.grad(lambda x: cross_selective_scan(x, *others, engine="reference").square().sum())(x)
torch.testing.assert_close(torch.func.grad(loss)(x), exact, rtol=1e-4, atol=1e-4)
for bad, part in ((lambda: torch.func.grad(lambda x: torch.func.grad(loss)(x).sum())(x), "no second derivative"),
                  (lambda: torch.func.jacfwd(loss)(x), "no forward-mode derivative")):
    try:
        bad()
    except SkinlesionError as error:
        assert part in str(error)
    else:
        raise AssertionError(part)
""",
    "status": """
status = engines()["triton"]
assert status.available and "interpreted" in status.reason
assert choose_engine("auto", "cpu") == "cpu"  # never the interpreter unasked
""",
}


def run(code: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELUDE + code],
        env={**os.environ, **variables},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_in_the_interpreter():
    """Every case in one process, as starting one costs more than most cases; a failure names its case."""
    calls = [f"print({name!r}, flush=True)\n{code}" for name, code in CASES.items()]
    output = run("\n".join(calls), TRITON_INTERPRET="1")
    assert output.splitlines() == list(CASES)


@pytest.mark.parametrize("capability", [80, 90])
def test_both_kernels_compile_ahead_of_time_without_spilling(capability, tmp_path):
    code = f"""
sys.path.insert(0, "benchmarks")
import triton_aot
print(json.dumps(triton_aot.report([{capability}], states=[16], types=["fp32"])))
"""
    rows = json.loads(run(code, TRITON_CACHE_DIR=str(tmp_path)))
    assert [row["kernel"] for row in rows] == ["forward", "forward, states kept", "backward"]
    for row in rows:
        assert row["stack_bytes"] == row["spill_stores"] == row["spill_loads"] == 0
        assert 0 < row["registers"] <= 255
        assert row["recurrence_in_one_thread"]  # else the scan would cost an exchange between threads at every step


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_the_error_says_so():
    assert not engines()["triton"].available
    with pytest.raises(SkinlesionError, match="PyTorch finds no GPU"):
        choose_engine("triton", "cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU: the kernels are only interpreted and compiled here")
@pytest.mark.parametrize("shape", [(2, 7, 9, 48, 16), (1, 1, 1, 1, 1), (1, 16, 16, 192, 16), (2, 5, 3, 33, 3)])
@pytest.mark.parametrize("dtype", ["torch.float32", "torch.float64"])
def test_on_a_gpu(shape, dtype):
    """The same check on a real GPU, for whoever has one."""
    run(f"""
def on_gpu(inputs, engine, **options):
    return [t.cpu() for t in value_and_gradients([t.cuda() for t in inputs], engine, **options)]
inputs = make(*{shape}, dtype={dtype})
ours, again, theirs = on_gpu(inputs, "triton"), on_gpu(inputs, "triton"), value_and_gradients(
    [t.double() for t in inputs], "reference")
for name, a, b, c in zip(NAMES, ours, again, theirs, strict=True):
    assert torch.equal(a, b), name
    error = (a - c).abs().max() / c.abs().max().clamp_min(1e-12)
    assert error < 4 * TOLERANCE[a.dtype], f"{{name}}: relative error {{error:.2e}}"  # ex2.approx: two more ulp
""")
