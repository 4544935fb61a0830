r"""A tiny vocabulary of explicit vectors for Numba kernels: one `Vector` is one 64-byte cache line.

Numba's automatic vectorizer gives up on the scan (it cannot prove that the state does not alias the input), so the
kernels say what they mean: `load` 16 float32 (or 8 float64), multiply, `fma`, `exp2`, `store`. LLVM maps a
vector to whatever the machine has: one AVX-512 register, two of AVX2, four of NEON or SSE.

They serve Mamba's scan (https://arxiv.org/abs/2312.00752), most of whose time goes into the decay :math:`e^{\Delta A}`.
Here it is a power of two, computed from the nearest integer :math:`i` to its exponent :math:`v` by a polynomial
:math:`p`:

.. math::
    e^{\Delta A} = 2^{v}, \quad v = \Delta A \log_2 e, \qquad 2^v \approx 2^i\, p(v - i)

The functions below only work inside `numba.njit` code.
"""

import operator

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

BYTES = 64  # one cache line


class Vector(types.Type):
    """Numba type of 64 bytes of one floating type."""

    def __init__(self, element: types.Float) -> None:
        self.element = element
        self.lanes = BYTES * 8 // element.bitwidth
        super().__init__(name=f"Vector({element}x{self.lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        element = ir.FloatType() if fe_type.element == types.float32 else ir.DoubleType()
        super().__init__(dmm, fe_type, ir.VectorType(element, fe_type.lanes))


def _item_pointer(context, builder, signature, args):
    """Pointer to `array[index]` as a pointer to a vector; strides of any kind, last axis contiguous."""
    array_type, index_type = signature.args[:2]
    array = context.make_array(array_type)(context, builder, args[0])
    indices = cgutils.unpack_tuple(builder, args[1], len(index_type))
    indices = [context.cast(builder, index, kind, types.intp) for index, kind in zip(indices, index_type, strict=True)]
    pointer = cgutils.get_item_pointer(context, builder, array_type, array, indices)
    vector = context.get_value_type(Vector(array_type.dtype))
    return builder.bitcast(pointer, vector.as_pointer())


@intrinsic
def load(typingctx, array, index):
    """`lanes` consecutive elements of `array` from `index` (a tuple) on."""
    signature = Vector(array.dtype)(array, index)

    def codegen(context, builder, signature, args):
        item = builder.load(_item_pointer(context, builder, signature, args))
        item.align = signature.args[0].dtype.bitwidth // 8
        return item

    return signature, codegen


@intrinsic
def store(typingctx, array, index, value):
    """Write the vector `value` to `array` from `index` on."""
    signature = types.void(array, index, value)

    def codegen(context, builder, signature, args):
        item = builder.store(args[2], _item_pointer(context, builder, signature, args))
        item.align = signature.args[0].dtype.bitwidth // 8

    return signature, codegen


@intrinsic
def prefetch(typingctx, array, index):
    """Ask for the cache line of `array[index]` ahead of its use."""
    signature = types.void(array, index)

    def codegen(context, builder, signature, args):
        pointer = _item_pointer(context, builder, signature, args)
        byte = ir.IntType(8).as_pointer()
        word = ir.IntType(32)
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [byte, word, word, word]), "llvm.prefetch.p0i8"
        )
        read, keep, data = word(0), word(3), word(1)
        builder.call(function, [builder.bitcast(pointer, byte), read, keep, data])

    return signature, codegen


def _splat(builder, number, vector):
    undefined = ir.Constant(vector, ir.Undefined)
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    return builder.shuffle_vector(builder.insert_element(undefined, number, ir.IntType(32)(0)), undefined, lanes)


@intrinsic
def splat(typingctx, scalar):
    """A vector with `scalar` in every lane."""
    signature = Vector(scalar)(scalar)

    return signature, lambda context, builder, signature, args: _splat(
        builder, args[0], context.get_value_type(signature.return_type)
    )


@intrinsic
def zero(typingctx, array):
    """A vector of zeros of the array's element type."""
    signature = Vector(array.dtype)(array)
    return signature, lambda context, builder, signature, args: _constant(
        context.get_value_type(signature.return_type), 0.0
    )


@intrinsic
def scaled(typingctx, v, factor):
    """Every lane times one number, rounded to the lanes' type first."""

    def codegen(context, builder, signature, args):
        number = context.cast(builder, args[1], signature.args[1], signature.args[0].element)
        return builder.fmul(args[0], _splat(builder, number, args[0].type))

    return v(v, factor), codegen


def _shuffle(builder, a, b, lanes):
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), list(lanes)))


@intrinsic
def store_folded(typingctx, array, index, value):
    """Write the sum of a vector's two halves, half a vector, to `array` from `index` on."""
    signature = types.void(array, index, value)

    def codegen(context, builder, signature, args):
        vector, width = args[2], signature.args[2].lanes
        low, high = (_shuffle(builder, vector, vector, range(s, s + width // 2)) for s in (0, width // 2))
        pointer = _item_pointer(context, builder, signature, args)
        item = builder.store(builder.fadd(low, high), builder.bitcast(pointer, low.type.as_pointer()))
        item.align = signature.args[0].dtype.bitwidth // 8

    return signature, codegen


@intrinsic
def folded_totals(typingctx, array, index):
    """Sums of as many half vectors as a vector has lanes, as one vector; they lie side by side from `index` on.

    A tree of pairwise sums whose order is fixed, so that runs repeat bit for bit. All but its last level stay inside
    of 128-bit groups, which AVX shuffles in one instruction.
    """
    vector = Vector(array.dtype)
    half, group = vector.lanes // 2, 128 // vector.element.bitwidth

    def codegen(context, builder, signature, args):
        first = _item_pointer(context, builder, signature, args)
        half_type = ir.VectorType(first.type.pointee.element, half)
        first = builder.bitcast(first, half_type.as_pointer())
        rows = []
        for row in range(vector.lanes):
            item = builder.load(builder.gep(first, [ir.IntType(32)(row)]))
            item.align = vector.element.bitwidth // 8
            rows.append(item)
        # Neighbors within each group, first those of row a, then those of row b: one group has two of each.
        left = [s + g + i for g in range(0, half, group) for s in (0, half) for i in range(0, group, 2)]
        levels = [(left, [lane + 1 for lane in left])] * (group.bit_length() - 1)
        levels.append(
            ([*range(group), *range(half, half + group)], [*range(group, half), *range(half + group, 2 * half)])
        )
        for one, other in levels:
            rows = [
                builder.fadd(_shuffle(builder, a, b, one), _shuffle(builder, a, b, other))
                for a, b in zip(rows[::2], rows[1::2], strict=True)
            ]
        return _shuffle(builder, rows[0], rows[1], range(vector.lanes))

    return vector(array, index), codegen


def _binary(operation, emit):
    @intrinsic
    def vector_operation(typingctx, a, b):
        return a(a, b), lambda context, builder, signature, args: getattr(builder, emit)(*args)

    @overload(operation, inline="always")
    def _(a, b):
        if isinstance(a, Vector) and a == b:
            return lambda a, b: vector_operation(a, b)
        return None


for _operation, _emit in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _binary(_operation, _emit)


def _call(builder, name, args):
    """Call LLVM's overloaded vector intrinsic `name`."""
    kind = args[0].type
    suffix = f"v{kind.count}f{32 if isinstance(kind.element, ir.FloatType) else 64}"
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(kind, [a.type for a in args]), f"llvm.{name}.{suffix}"
    )
    return builder.call(function, args)


@intrinsic
def fma(typingctx, a, b, c):
    """a * b + c, fused where the machine can."""
    return a(a, b, c), lambda context, builder, signature, args: _call(builder, "fmuladd", args)


def _constant(kind, value):
    if isinstance(kind.element, ir.IntType):
        return ir.Constant(kind, [int(value)] * kind.count)
    return ir.Constant(
        kind, [float(np.float32(value)) if isinstance(kind.element, ir.FloatType) else value] * kind.count
    )


def _horner(builder, xs, coefficients):
    """Polynomial in each of xs, coefficients from the constant term up; step by step for all of them at once."""
    results = [_constant(x.type, coefficients[-1]) for x in xs]
    for coefficient in reversed(coefficients[:-1]):
        results = [
            _call(builder, "fmuladd", [result, x, _constant(x.type, coefficient)])
            for result, x in zip(results, xs, strict=True)
        ]
    return results


def _fit(function, low, high, degree):
    """Near-minimax polynomial of `function` on [low, high] through Chebyshev nodes (computed in float64)."""
    series = np.polynomial.chebyshev.Chebyshev.interpolate(function, degree, domain=[low, high])
    return [float(c) for c in series.convert(kind=np.polynomial.Polynomial).coef]


# 2**f on [-1/2, 1/2], exactly 1 at 0: without a step a state must stay as it is. The minimax polynomial of degree 5
# (found by Lawson's iteration): relative error 9e-8, about a rounding of float32.
_EXP2 = [1.0, 0.693146978, 0.240222421, 0.0555073374, 0.00967151267, 0.00132647272]
# Relative error 6e-9.
_LOG1P = _fit(lambda u: np.where(u == 0, 1.0, np.log1p(u) / np.where(u == 0, 1, u)), 0.0, 1.0, 10)


def _exp2_float32(builder, xs):
    """2**x for x <= 0 without a library call: x = i + f, |f| <= 1/2, 2**f by polynomial, 2**i by the exponent bits."""
    kind = xs[0].type
    words = ir.VectorType(ir.IntType(32), kind.count)
    floor = _constant(kind, -126.0)  # 2**-126 stands in for all that is smaller
    xs = [builder.select(builder.fcmp_ordered("<", x, floor), floor, x) for x in xs]  # a NaN stays a NaN
    shift = _constant(kind, 1.5 * 2**23)  # adding it rounds to the nearest integer
    shifted = [builder.fadd(x, shift) for x in xs]
    fractions = [builder.fsub(x, builder.fsub(s, shift)) for x, s in zip(xs, shifted, strict=True)]
    powers = _horner(builder, fractions, _EXP2)
    results = []
    for power, s in zip(powers, shifted, strict=True):
        exponent = builder.shl(builder.bitcast(s, words), _constant(words, 23))
        results.append(builder.bitcast(builder.add(builder.bitcast(power, words), exponent), kind))
    return results


def _exp2(builder, xs, element):
    return _exp2_float32(builder, xs) if element == types.float32 else [_call(builder, "exp2", [x]) for x in xs]


@intrinsic
def exp2(typingctx, x):
    """2**x for x <= 0; float32 to 2 units in the last place (never below 2**-126), float64 through libm."""
    return x(x), lambda context, builder, signature, args: _exp2(builder, args, signature.return_type.element)[0]


@intrinsic
def exp2_two(typingctx, a, b):
    """`exp2` of four vectors, interleaved.

    A polynomial is a chain of dependent operations. A processor looks only some 60 operations ahead for others that
    it could start meanwhile, so they have to stand side by side.
    """
    result = types.UniTuple(a, 2)

    def codegen(context, builder, signature, args):
        return context.make_tuple(builder, result, _exp2(builder, args, a.element))

    return result(a, b), codegen


@intrinsic
def log1p_unit(typingctx, u):
    """log(1 + u) for u in [0, 1]; float32 by polynomial (relative accuracy kept near 0), float64 through libm."""

    def codegen(context, builder, signature, args):
        (u,) = args
        if signature.return_type.element == types.float32:
            return builder.fmul(u, _horner(builder, [u], _LOG1P)[0])
        # log(1 + u) u / ((1 + u) - 1) keeps relative accuracy; where 1 + u == 1 the answer is u.
        one = _constant(u.type, 1.0)
        above = builder.fadd(one, u)
        rounded = builder.fsub(above, one)
        ratio = builder.fdiv(builder.fmul(_call(builder, "log", [above]), u), rounded)
        return builder.select(builder.fcmp_ordered("==", rounded, _constant(u.type, 0.0)), u, ratio)

    return u(u), codegen


@intrinsic
def positive_part(typingctx, v):
    """max(v, 0) in each lane; a NaN stays a NaN."""

    def codegen(context, builder, signature, args):
        nothing = _constant(args[0].type, 0.0)
        return builder.select(builder.fcmp_ordered("<", args[0], nothing), nothing, args[0])

    return v(v), codegen


@intrinsic
def absolute(typingctx, a):
    """Magnitude of each lane."""
    return a(a), lambda context, builder, signature, args: _call(builder, "fabs", args)
