"""The fused CPU engine against the readable scan in float64: values and every gradient."""

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skinlesion.errors import SkinlesionError
from skinlesion.scan import choose_engine, cross_selective_scan, engines

NAMES = ("x", "delta", "A", "B", "C", "D", "delta_bias")
# Largest error over largest value. float32 rounding is 6e-8; a scan adds up to a few hundred such terms, and exp2 is
# good to two units in the last place. float64 uses libm, so only the order of the sums differs.
TOLERANCE = {torch.float32: 5e-6, torch.float64: 1e-12}


def make_inputs(batch=2, height=3, width=5, channels=16, states=4, dtype=torch.float32, seed=0, rate=4.0, step=-1.0):
    g = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=g, dtype=dtype)

    return [
        normal(batch, height, width, channels),
        normal(batch, height, width, 4, channels) + step,
        -rate * torch.rand(4, channels, states, generator=g, dtype=dtype),
        normal(batch, height, width, 4, states),
        normal(batch, height, width, 4, states),
        normal(4, channels),
        normal(4, channels),
    ]


def value_and_gradients(inputs, engine, seed=1):
    leaves = [t.detach().clone().requires_grad_() for t in inputs]
    y = cross_selective_scan(*leaves, engine=engine)
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(y.dtype)
    return y, torch.autograd.grad(y, leaves, dy)


def sizes(inputs):
    """How large the output and each gradient are, over several gradients of the output.

    With one channel the gradient of D is one number, a sum of both signs that may happen to cancel: an error relative
    to that sum would say nothing.
    """
    found = [value_and_gradients([t.double() for t in inputs], "reference", seed) for seed in (1, 2, 3)]
    return [
        max(float(t.detach().abs().max()) for t in each) or 1e-12
        for each in zip(*((y, *g) for y, g in found), strict=True)
    ]


def assert_equals_reference(inputs):
    y, gradients = value_and_gradients(inputs, "cpu")
    expected, expected_gradients = value_and_gradients([t.double() for t in inputs], "reference")
    tolerance = TOLERANCE[inputs[0].dtype]
    pairs = zip((y, *gradients), (expected, *expected_gradients), strict=True)
    for name, (ours, theirs), size in zip(("y", *NAMES), pairs, sizes(inputs), strict=True):
        assert ours.shape == theirs.shape
        error = (ours - theirs).abs().max() / size
        assert error < tolerance, f"{name}: relative error {error:.2e}"


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 3),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    channels=st.integers(1, 50),
    states=st.integers(1, 17),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 2**16),
)
def test_equals_the_reference_for_any_shape(batch, height, width, channels, states, dtype, seed):
    assert_equals_reference(make_inputs(batch, height, width, channels, states, dtype, seed))


@pytest.mark.parametrize(
    ("rate", "step"),
    [(100.0, 3.0), (1e-3, -12.0), (16.0, 5.0)],
    ids=["underflow", "almost no step", "large rate and step"],
)
def test_equals_the_reference_at_the_ends_of_the_range(rate, step):
    assert_equals_reference(make_inputs(rate=rate, step=step, height=6, width=7))


def test_gradients_by_finite_differences():
    inputs = [t.requires_grad_() for t in make_inputs(1, 2, 2, 8, 2, torch.float64)]
    assert torch.autograd.gradcheck(lambda *t: cross_selective_scan(*t, engine="cpu"), inputs, atol=1e-6)


def test_strided_and_transposed_input():
    inputs = make_inputs(height=4, width=6)
    strided = [torch.stack([t, t], dim=-1)[..., 0] for t in inputs]  # last axis of stride 2
    transposed = [t.transpose(1, 2).contiguous().transpose(1, 2) if t.dim() > 3 else t for t in inputs]
    y = cross_selective_scan(*inputs)
    assert torch.equal(cross_selective_scan(*strided), y)
    assert torch.equal(cross_selective_scan(*transposed), y)


def test_own_routes_and_their_check():
    inputs = make_inputs(height=2, width=3)
    routes = torch.stack([torch.randperm(6, generator=torch.Generator().manual_seed(k)) for k in range(4)])
    ours = cross_selective_scan(*inputs, routes=routes)
    theirs = cross_selective_scan(*inputs, routes=routes, engine="reference")
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    for bad in (torch.zeros(4, 6, dtype=torch.long), routes - 1, routes + 1):
        with pytest.raises(SkinlesionError, match="visit each of the 6 tokens once"):
            cross_selective_scan(*inputs, routes=bad)
    for bad in (routes[:3], routes[:, :5], routes[0]):
        with pytest.raises(SkinlesionError, match=r"routes must be \(4, 6\)"):
            cross_selective_scan(*inputs, routes=bad)


def test_another_number_of_routes_needs_a_table():
    x, delta, A, B, C, D, delta_bias = make_inputs(height=2, width=3)
    two = [x, delta[..., :2, :], A[:2], B[..., :2, :], C[..., :2, :], D[:2], delta_bias[:2]]
    with pytest.raises(SkinlesionError, match="A has 2 routes, so routes must be given"):
        cross_selective_scan(*two)
    routes = torch.stack([torch.arange(6), torch.arange(6).flip(0)])
    theirs = cross_selective_scan(*two, routes=routes, engine="reference")
    torch.testing.assert_close(cross_selective_scan(*two, routes=routes), theirs, rtol=1e-5, atol=1e-5)


def test_half_precision_goes_in_and_comes_out_while_the_scan_stays_in_float32():
    inputs = [t.to(torch.bfloat16) for t in make_inputs()]
    y = cross_selective_scan(*inputs)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, cross_selective_scan(*[t.float() for t in inputs]).to(torch.bfloat16))


def _like(tensor, layout):
    """The same values, laid out in another way."""
    if layout == "every second":  # last axis of stride 2
        return torch.stack([tensor, tensor], dim=-1)[..., 0]
    if layout == "last axis first":
        return tensor.movedim(-1, 0).contiguous().movedim(0, -1)
    if layout == "other order":  # as a projection leaves it: the last axis contiguous, the others not
        return tensor.transpose(0, 1).contiguous().transpose(0, 1)
    if layout == "inside a larger one":
        return torch.nn.functional.pad(tensor, (3, 2, 1, 0))[..., 1:, 3:-2]
    if layout == "repeated":
        return tensor[:1].expand(tensor.shape)
    raise AssertionError(layout)


@settings(max_examples=25, deadline=None)
@given(
    layout=st.sampled_from(["every second", "last axis first", "other order", "inside a larger one", "repeated"]),
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    channels=st.sampled_from([5, 16, 40]),
    rate=st.sampled_from([1e-3, 1.0, 100.0]),
    step=st.sampled_from([-12.0, -1.0, 4.0]),
)
def test_equals_the_reference_for_any_layout(layout, height, width, channels, rate, step):
    # One layout for all seven: Numba compiles anew for each combination of dense and other tensors.
    inputs = [_like(t, layout) for t in make_inputs(2, height, width, channels, rate=rate, step=step)]
    leaves = [t.requires_grad_() for t in inputs]  # not copied, as that would make them dense
    y = cross_selective_scan(*leaves, engine="cpu")
    dy = _like(torch.randn(y.shape, generator=torch.Generator().manual_seed(1)), layout)
    gradients = torch.autograd.grad(y, leaves, dy)
    exact = [t.detach().double().requires_grad_() for t in inputs]
    expected = cross_selective_scan(*exact, engine="reference")
    expected_gradients = torch.autograd.grad(expected, exact, dy.double())
    pairs = zip((y, *gradients), (expected, *expected_gradients), strict=True)
    for name, (ours, theirs), size in zip(("y", *NAMES), pairs, sizes(inputs), strict=True):
        error = (ours - theirs).abs().max() / size
        assert error < TOLERANCE[torch.float32], f"{name}: relative error {error:.2e}"


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("which", range(7), ids=NAMES)
def test_bad_numbers_go_where_the_reference_sends_them(which, bad):
    inputs = make_inputs()
    inputs[which][(0, 1, 2, 3, 1)[: inputs[which].dim()]] = bad
    y, gradients = value_and_gradients(inputs, "cpu")
    expected, expected_gradients = value_and_gradients(inputs, "reference")
    assert torch.equal(y.isfinite(), expected.isfinite())
    # An infinite step leaves the reference's gradient finite, since torch's softplus is linear from 20 on; ours is NaN.
    for name, ours, theirs in zip(NAMES, gradients, expected_gradients, strict=True):
        assert not (ours.isfinite() & ~theirs.isfinite()).any(), f"{name} hides a bad number"


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_bad_numbers_reach_the_output(bad):
    inputs = make_inputs()
    inputs[0][0, 1, 2, 3] = bad
    y = cross_selective_scan(*inputs)
    assert not torch.isfinite(y[0, 1, 2, 3])
    assert torch.isfinite(y[1]).all()  # the other image


def test_the_same_bits_every_time():
    inputs = make_inputs(height=16, width=16, channels=48, states=16)
    first, first_gradients = value_and_gradients(inputs, "cpu")
    for _ in range(3):
        y, gradients = value_and_gradients(inputs, "cpu")
        assert torch.equal(y, first)
        assert all(torch.equal(a, b) for a, b in zip(gradients, first_gradients, strict=True))


def test_32_threads_at_once():
    cases = [make_inputs(seed=seed, height=8, width=8) for seed in range(32)]
    expected = [cross_selective_scan(*case) for case in cases]
    with ThreadPoolExecutor(32) as pool:
        results = list(pool.map(lambda case: cross_selective_scan(*case), cases * 4))
    assert all(torch.equal(y, e) for y, e in zip(results, expected * 4, strict=True))


def test_32_threads_train_at_once():
    cases = [make_inputs(seed=seed, height=5, width=8, batch=1) for seed in range(32)]
    expected = [value_and_gradients(case, "cpu") for case in cases]
    with ThreadPoolExecutor(32) as pool:
        results = list(pool.map(lambda case: value_and_gradients(case, "cpu"), cases * 2))
    for (y, gradients), (e, expected_gradients) in zip(results, expected * 2, strict=True):
        assert torch.equal(y, e)
        assert all(torch.equal(a, b) for a, b in zip(gradients, expected_gradients, strict=True))


def _scan_in_child(queue):
    queue.put(cross_selective_scan(*make_inputs(height=8, width=8, batch=4)).numpy())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_does_not_hang():
    expected = cross_selective_scan(*make_inputs(height=8, width=8, batch=4))  # the pool has threads now
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_scan_in_child, args=(queue,))
    child.start()
    result = torch.from_numpy(queue.get(timeout=60))
    child.join(10)
    assert torch.equal(result, expected)


def test_no_gradient_is_asked_for_in_inference_and_training_works_after():
    inputs = make_inputs(height=11, width=3)
    with torch.inference_mode():
        cross_selective_scan(*inputs)
    y, gradients = value_and_gradients(inputs, "cpu")
    assert torch.isfinite(y).all()
    assert all(torch.isfinite(g).all() for g in gradients)


def test_shapes_are_checked_by_name():
    inputs = make_inputs()
    inputs[3] = inputs[3][..., :2]
    with pytest.raises(SkinlesionError, match=r"B must be \(2, 3, 5, 4, 4\)"):
        cross_selective_scan(*inputs)


def test_engines_are_chosen_in_the_open():
    assert engines()["cpu"].available
    assert choose_engine("auto", "cpu") == "cpu"
    with pytest.raises(SkinlesionError, match="choose one of: auto, reference, cpu, triton, mamba"):
        choose_engine("fast")
    with pytest.raises(SkinlesionError, match="does not run on device"):
        choose_engine("cpu", "meta")


SCRIPT = """
import torch
from skinlesion.scan import cross_selective_scan
g = torch.Generator().manual_seed(0)
r = lambda *s: torch.randn(*s, generator=g)
t = [r(1, 4, 5, 20), r(1, 4, 5, 4, 20), -r(4, 20, 3).abs(), r(1, 4, 5, 4, 3), r(1, 4, 5, 4, 3), r(4, 20), r(4, 20)]
a, b = (cross_selective_scan(*t, engine=e) for e in ("cpu", "reference"))
assert (a - b).abs().max() < 1e-4
print("right")
"""


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param({"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}, id="a processor without AVX"),
        pytest.param({"NUMBA_CACHE_DIR": "/proc/none", "HOME": "/proc/none"}, id="no folder for the cache"),
    ],
)
def test_other_machines(variables, tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), **variables}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.strip() == "right", done.stderr


FIRST_CALL = """
import time, torch
from skinlesion.scan import cpu, cross_selective_scan
t = [torch.rand(*shape, requires_grad=True) for shape in
     ((1, 2, 2, 16), (1, 2, 2, 4, 16), (4, 16, 16), (1, 2, 2, 4, 16), (1, 2, 2, 4, 16), (4, 16), (4, 16))]
start = time.process_time()  # of this process, whatever else the machine does
cross_selective_scan(*t, engine="cpu").sum().backward()
print(time.process_time() - start)
"""


@pytest.mark.slow
def test_the_first_call_compiles_in_seconds_and_the_next_process_does_not(tmp_path):
    def first_call():
        done = subprocess.run(
            [sys.executable, "-c", FIRST_CALL],
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=1200,
            check=True,
        )
        files = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*") if file.is_file()}
        return float(done.stdout), files

    compiled, written = first_call()
    cached, after = first_call()
    assert written == after  # the second process compiled nothing that it would have kept
    assert written
    assert compiled < 30  # 5 to 10 on a quiet machine; cores that are shared count more
    assert cached < compiled


@pytest.mark.parametrize(
    "shape",
    [
        (1, 3, 5, 16, 4),
        (1, 9, 8, 112, 16),
        (2, 16, 16, 48, 16),
        (3, 1, 33, 200, 5),
        (1, 4, 4, 768, 16),
        (5, 8, 8, 50, 3),
    ],
)
def test_the_number_of_threads_does_not_change_a_bit(shape):
    inputs = make_inputs(*shape)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3, 5, 24):
            torch.set_num_threads(threads)
            y, gradients = value_and_gradients(inputs, "cpu")
            results.append((y.detach(), *gradients))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        for name, ours, first in zip(("y", *NAMES), other, results[0], strict=True):
            assert torch.equal(ours, first), name
