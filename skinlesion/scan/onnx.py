r"""The scan in ONNX: one standard `Scan` operator for all routes, channels and states of a layer.

.. math::
    h_t = e^{\Delta_t A} h_{t-1} + \Delta_t B_t x_t, \qquad y_t = C_t h_t

`Scan` (https://onnx.ai/onnx/operators/onnx__Scan.html) takes one token of every route at a time, so its state is
(B, K, N, D) and it runs as many steps as there are tokens. It belongs to the ONNX standard: the file runs wherever ONNX
does, without an operator of ours. A `Loop`, which indexes its inputs by hand, is slower.
"""

from collections.abc import Callable
from typing import Any

import torch
from onnxscript import FLOAT, graph, script
from onnxscript import opset18 as op

import skinlesion.scan.cpu  # noqa: F401  (its import registers the operator that is translated)

OPSET = 18  # of the standard; nothing newer is needed
_INT64 = 7  # onnx.TensorProto.INT64; onnxscript wants a plain number


@script(default_opset=op)
def _selective_scan(h0, step, write, B, C, rates) -> FLOAT:
    """`reference.selective_scan` for all routes at once.

    Args:
        h0: (B, K, N, D), zeros.
        step: Delta, (B, L, K, 1, D).
        write: Delta x, (B, L, K, 1, D).
        B: (B, L, K, N, 1).
        C: (B, L, K, 1, N).
        rates: A, (K, N, D).

    Returns:
        y without the direct path, (B, L, K, 1, D).
    """

    @graph()
    def token(h: FLOAT[...], step_t: FLOAT[...], write_t: FLOAT[...], B_t: FLOAT[...], C_t: FLOAT[...]):
        h_next = op.Add(op.Mul(op.Exp(op.Mul(step_t, rates)), h), op.Mul(B_t, write_t))  # (B, K, N, D)
        y_t = op.MatMul(C_t, h_next)  # (B, K, 1, D)
        return h_next, y_t

    _, y = op.Scan(
        h0, step, write, B, C, body=token, num_scan_inputs=4, scan_input_axes=[1, 1, 1, 1], scan_output_axes=[1]
    )
    return y


def _sizes(*sizes: int) -> Any:
    return op.Constant(value_ints=list(sizes))


def _range(stop: int) -> Any:
    return op.Range(op.Constant(value_int=0), op.Constant(value_int=stop), op.Constant(value_int=1))


def translate(x: Any, delta: Any, A: Any, B: Any, C: Any, D: Any, delta_bias: Any, routes: Any, keep: bool) -> Any:
    """What `skinlesion.scan.cpu.cross_scan` becomes in an ONNX graph; same arguments, all symbolic but the last."""
    _, length, count, channels = delta.shape
    states = A.shape[2]
    # Row t * K + k of a tensor (B, L K, ..) is token t for route k; `order` says which row route k reads at step t.
    tokens = op.Cast(op.Transpose(routes, perm=[1, 0]), to=_INT64)  # (L, K)
    order = op.Reshape(op.Add(op.Mul(tokens, op.Constant(value_int=count)), _range(count)), _sizes(-1))  # (L K,)
    back = op.ScatterElements(_range(length * count), order, _range(length * count), axis=0)  # its inverse

    def along(tensor: Any, *tail: int) -> Any:
        """(B, L, K, ..) in the order of the tokens -> (B, L, K, *tail) in the order of each route."""
        rows = op.Gather(op.Reshape(tensor, _sizes(0, length * count, -1)), order, axis=1)
        return op.Reshape(rows, _sizes(0, length, count, *tail))

    step = op.Softplus(op.Add(delta, delta_bias))  # (B, L, K, D)
    write = op.Mul(step, op.Unsqueeze(x, _sizes(2)))  # (B, L, K, D)
    h0 = op.Expand(
        op.Constant(value_float=0.0),
        op.Concat(op.Shape(x, start=0, end=1), _sizes(count, states, channels), axis=0),
    )
    y = _selective_scan(
        h0,
        along(step, 1, channels),
        along(write, 1, channels),
        along(B, states, 1),
        along(C, 1, states),
        op.Transpose(A, perm=[0, 2, 1]),
    )
    y = op.Gather(op.Reshape(y, _sizes(0, length * count, channels)), back, axis=1)
    y = op.ReduceSum(op.Reshape(y, _sizes(0, length, count, channels)), _sizes(2), keepdims=0)  # (B, L, D)
    y = op.Add(y, op.Mul(x, op.ReduceSum(D, _sizes(0), keepdims=0)))
    return y, op.Identity(x)  # no gradient is taken, so nothing reads the states that `cross_scan` would keep


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {torch.ops.skinlesion.cross_scan.default: translate}
