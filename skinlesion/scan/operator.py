r"""`cross_selective_scan`: the single entry point to all engines.

The operator is the cross scan of VMamba (https://arxiv.org/abs/2401.10166), whose K routes each run Mamba's selective
scan S6 (https://arxiv.org/abs/2312.00752):

.. math::
    y = \sum_k \mathrm{merge}_k\bigl(\mathrm{S6}_k(\mathrm{expand}_k(x))\bigr)
"""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Parameter

from skinlesion.errors import SkinlesionError
from skinlesion.plugins import EXTRA_ENGINES
from skinlesion.scan import reference
from skinlesion.scan.engines import choose_engine
from skinlesion.scan.registration import check_tangents, under_transform
from skinlesion.user_code import named_errors


@functools.lru_cache(maxsize=64)
def _cached_routes(height: int, width: int, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # the cached table must serve training too
        return reference.four_routes(height, width, device)


def _four_routes(x: Tensor) -> Tensor:
    # While a program is traced the table is a fake tensor, or part of the program: neither may get into the cache.
    traced = torch.compiler.is_compiling() or type(x) not in (Tensor, Parameter)
    table = reference.four_routes if traced else _cached_routes
    return table(x.shape[1], x.shape[2], x.device)


# An operator, so that torch.compile keeps the check, which looks at values, as one step of its graph.
@torch.library.custom_op("skinlesion::checked_routes", mutates_args=())
def _checked_routes(routes: Tensor, count: int, length: int) -> Tensor:
    """A caller's own routes, as int32; a kernel must never be sent outside the image."""
    if routes.shape != (count, length):
        raise SkinlesionError(f"routes must be {(count, length)}; got {tuple(routes.shape)}")
    expected = torch.arange(length, device=routes.device).expand(count, length)
    if not torch.equal(routes.long().sort(dim=1).values, expected):
        raise SkinlesionError(f"each route must visit each of the {length} tokens once")
    return routes.to(torch.int32, copy=True)


@_checked_routes.register_fake
def _(routes, count, length):
    return torch.empty_like(routes, dtype=torch.int32)


def _check_shapes(x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor) -> None:
    if x.dim() != 4 or A.dim() != 3:
        raise SkinlesionError(f"x must be (B, H, W, D) and A (K, D, N); got {tuple(x.shape)} and {tuple(A.shape)}")
    if x.numel() == 0:
        raise SkinlesionError(f"x must not be empty; got {tuple(x.shape)}")
    batch, height, width, channels = x.shape
    routes, _, states = A.shape
    for name, tensor, shape in (
        ("delta", delta, (batch, height, width, routes, channels)),
        ("A", A, (routes, channels, states)),
        ("B", B, (batch, height, width, routes, states)),
        ("C", C, (batch, height, width, routes, states)),
        ("D", D, (routes, channels)),
        ("delta_bias", delta_bias, (routes, channels)),
    ):
        if tensor.shape != shape:
            raise SkinlesionError(f"{name} must be {shape} for x {tuple(x.shape)}; got {tuple(tensor.shape)}")


def _pad_channels(tensors: list[Tensor], extra: int) -> list[Tensor]:
    """Append channels of zeros to x, delta, A, D and delta_bias: they read and write nothing."""
    x, delta, A, B, C, D, delta_bias = tensors
    x, delta, D, delta_bias = (F.pad(t, (0, extra)) for t in (x, delta, D, delta_bias))
    return [x, delta, F.pad(A, (0, 0, 0, extra)), B, C, D, delta_bias]


def _dense_rows(tensor: Tensor) -> Tensor:
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


def _wants_gradient(tensors: list[Tensor]) -> bool:
    # Under a transform of torch.func a tensor may hide that an outer transform wants its gradient.
    return torch.is_grad_enabled() and (under_transform() or any(t.requires_grad for t in tensors))


def _check_transforms(engine: str) -> None:
    """Refuse the transforms of torch.func where they would fail in PyTorch's internal terms."""
    if under_transform() and (engine == "mamba" or torch.compiler.is_compiling()):
        where = 'for engine="mamba"' if engine == "mamba" else "inside torch.compile"
        raise SkinlesionError(
            f'The scan supports torch.func transforms, but not {where}; use engine="reference", or torch.autograd.grad.'
        )


def _scan_cpu(tensors: list[Tensor], routes: Tensor) -> Tensor:
    from skinlesion.scan import cpu  # Numba is imported when the engine is first used

    channels = tensors[0].shape[-1]
    lanes = cpu.BYTES // tensors[0].element_size()
    extra = -channels % lanes
    if extra:
        tensors = _pad_channels(tensors, extra)
    y, _ = cpu.scan(*map(_dense_rows, tensors), routes, _wants_gradient(tensors))
    return y[..., :channels] if extra else y


def _scan_triton(tensors: list[Tensor], routes: Tensor) -> Tensor:
    from skinlesion.scan import triton

    y, _ = triton.scan(*map(_dense_rows, tensors), routes, _wants_gradient(tensors))
    return y


def _scan_mamba(tensors: list[Tensor], routes: Tensor) -> Tensor:
    from skinlesion.scan import mamba

    check_tangents(tensors)
    return mamba.cross_selective_scan(*(*tensors, routes), kernel=mamba.load_kernel())


def _scan_reference(tensors: list[Tensor], routes: Tensor) -> Tensor:
    return reference.cross_selective_scan(*(*tensors, routes))


_SCANS = {"reference": _scan_reference, "cpu": _scan_cpu, "triton": _scan_triton, "mamba": _scan_mamba}


def cross_selective_scan(
    x: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    delta_bias: Tensor,
    *,
    routes: Tensor | None = None,
    engine: str = "auto",
) -> Tensor:
    r"""SS2D's scan: expand the grid into routes, scan each (S6), merge by addition (paper section 3.2).

    For route k with step size :math:`\Delta = \mathrm{softplus}(\mathtt{delta} + \mathtt{delta\_bias})`:
    :math:`h_t = e^{\Delta_t A} h_{t-1} + \Delta_t B_t x_t` and :math:`y_t = \langle C_t, h_t\rangle + D x_t`; the
    routes' y are added at each token. The work is done in float32 (float64 for float64 input) under autocast too.

    Args:
        x: input, channels last, (B, H, W, D).
        delta: step sizes before bias and softplus, (B, H, W, K, D).
        A: decay rates, at most 0, (K, D, N).
        B: input weights, (B, H, W, K, N).
        C: output weights, (B, H, W, K, N).
        D: direct path, (K, D).
        delta_bias: added to delta before softplus, (K, D).
        routes: visiting orders, integers (K, H * W), each a permutation of the row-major tokens; None for
            `reference.four_routes`.
        engine: "auto" or a name of `skinlesion.scan.ENGINES`.

    Returns:
        y, (B, H, W, D), in x's dtype.

    Raises:
        SkinlesionError: a shape does not fit, x is empty, a route is not a permutation, the engine is unknown or not
            available, or a derivative is asked for that only engine="reference" has (see `registration`).
    """
    _check_shapes(x, delta, A, B, C, D, delta_bias)
    engine = choose_engine(engine, x.device)
    height, width = x.shape[1:3]
    if routes is not None:
        routes = _checked_routes(routes, A.shape[0], height * width)
    elif A.shape[0] == 4:
        routes = _four_routes(x)
    else:
        raise SkinlesionError(f"A has {A.shape[0]} routes, so routes must be given; only the four of SS2D are built in")
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    x_flat = x.flatten(1, 2)  # (B, L, D)
    per_token = [t.flatten(1, 2) for t in (delta, B, C)]  # (B, L, K, ...)
    tensors = [t.to(dtype) for t in (x_flat, per_token[0], A, *per_token[1:], D, delta_bias)]
    if engine in _SCANS and engine != "reference":
        _check_transforms(engine)
    with torch.autocast(x.device.type, enabled=False):
        y = _SCANS[engine](tensors, routes) if engine in _SCANS else _user_scan(engine, tensors, routes)
    return y.to(x.dtype).unflatten(1, (height, width))  # (B, H, W, D)


def _user_scan(engine: str, tensors: list[Tensor], routes: Tensor) -> Tensor:
    """An engine of `register_engine`: its mistakes are named, and its output must be y (B, L, D)."""
    with named_errors(f"The scan engine {engine!r} failed"):
        y = EXTRA_ENGINES[engine][0](*tensors, routes)
    expected = tuple(tensors[0].shape)
    if not isinstance(y, Tensor) or tuple(y.shape) != expected:
        found = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
        raise SkinlesionError(f"The scan engine {engine!r} must return {expected}; it returned {found}.")
    if torch.is_grad_enabled() and not y.requires_grad and any(each.requires_grad for each in tensors):
        raise SkinlesionError(f"The scan engine {engine!r} returned a result without a gradient.")
    return y
