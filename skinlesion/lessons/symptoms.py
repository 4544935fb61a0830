"""What a wrong result gives away by itself, whatever the exercise: facts about two arrays, not guesses."""

import itertools
import math
from collections.abc import Callable

import numpy as np

_FLAT = "Only axes of size 1 differ: check keepdim, unsqueeze, and squeeze."
_RELATED: tuple[tuple[str, Callable[[np.ndarray], np.ndarray]], ...] = (
    ("It is one minus the expected result.", lambda e: 1 - e),
    ("It is the square of the expected result.", np.square),
    ("It is the square root of the expected result.", np.sqrt),
    ("It is the absolute value of the expected result: the sign is lost.", np.abs),
    ("It is one divided by the expected result: numerator and denominator are swapped.", lambda e: 1 / e),
    ("It is the logarithm of the expected result.", np.log),
    ("It is the exponential of the expected result: a logarithm is missing.", np.exp),
    ("It is the expected result, rounded to whole numbers.", np.round),
    ("It is the expected result, rounded down.", np.floor),
    ("It is the expected result, rounded up.", np.ceil),
    ("It is the expected result in percent: multiply or divide by 100.", lambda e: 100 * e),
    ("It is x / (1 - x) for the expected x: you divide by the rest instead of by the whole.", lambda e: e / (1 - e)),
    (
        "It is x / (1 + x) for the expected x: the denominator counts the numerator once too often.",
        lambda e: e / (1 + e),
    ),
    ("It is the expected result, with all negative values set to 0.", lambda e: e.clip(0)),
    ("It is the expected result, clipped to between 0 and 1.", lambda e: e.clip(0, 1)),
)

_CONSTANTS = (
    ("ln 2 (the other base of the logarithm)", math.log(2)),
    ("ln 10 (the other base of the logarithm)", math.log(10)),
    ("pi", math.pi),
    ("2 pi", 2 * math.pi),
    ("the square root of 2", math.sqrt(2)),
    ("the square root of 2 pi", math.sqrt(2 * math.pi)),
)


def of_values(y: np.ndarray, e: np.ndarray, rtol: float, atol: float) -> str:
    """What numbers of the right shape give away; "" for nothing.

    Args:
        y: the student's result, float64.
        e: the right one, of the same shape.
        rtol: relative tolerance.
        atol: absolute tolerance.
    """

    def same(a: np.ndarray, b: np.ndarray = e) -> bool:
        return a.shape == b.shape and bool(np.allclose(a, b, rtol, atol))

    if not y.any():
        return "Everything is zero."
    if y.size > 1 and np.ptp(y) == 0:
        return ""  # one value is related to anything
    with np.errstate(all="ignore"):  # infinite less infinite, the logarithm of what is negative
        return _rearranged(y, e, same) or of_relation(y, e, rtol, atol)


def of_relation(y: np.ndarray, e: np.ndarray, rtol: float, atol: float) -> str:
    """The formula that leads from the right numbers to the wrong ones, where it is a common one; "" for none."""

    def same(a: np.ndarray, b: np.ndarray = e) -> bool:
        return a.shape == b.shape and bool(np.allclose(a, b, rtol, atol))

    with np.errstate(all="ignore"):
        weight = float((e * e).sum())
        factor = float((y * e).sum()) / weight if weight else 1.0
        if factor and same(y / factor):
            return _of_ratio(factor)
        found = _related(y, e, same)
        if found:
            return found
        offset = float((y - e).mean())
        if y.size > 1 and same(y - offset):
            return f"Everything is off by the same {offset:.4g}."
        return _affine(y, e, same) or _scaled_inside(y, e, same)


def traces(y: np.ndarray, e: np.ndarray, rtol: float, atol: float) -> str:
    """What wrong numbers give away less surely: where they are, or that they are close; "" for nothing."""

    def same(a: np.ndarray, b: np.ndarray = e) -> bool:
        return a.shape == b.shape and bool(np.allclose(a, b, rtol, atol))

    with np.errstate(all="ignore"):
        if y.size > 1 and same(np.sort(y, None), np.sort(e, None)):
            return "The values are right but in the wrong order."
        if y.size > 1 and np.ptp(y) == 0 < np.ptp(e):
            return f"All values are {y.flat[0]:.4g}."
        weight = float((e * e).sum())
        factor = float((y * e).sum()) / weight if weight else 1.0
        if factor and same(y / factor):
            return _scaled(y, factor)
        return _where(np.isclose(y, e, rtol, atol)) or _collapsed(y, e, same) or _close(y, e)


def of_numbers(yours: float, expected: float, rtol: float, atol: float) -> str:
    """What a single wrong number gives away; "" for nothing."""
    if not (math.isfinite(yours) and math.isfinite(expected)):
        return ""
    y, e = np.array(yours), np.array(expected)
    tight = min(rtol, 1e-4)  # one number proves less than many

    def same(a: np.ndarray, b: np.ndarray = e) -> bool:
        return bool(np.allclose(a, b, tight, 1e-3 * atol))

    if expected and same(-y):
        return "The sign is wrong."
    with np.errstate(all="ignore"):
        ratio = _of_ratio(yours / expected) if expected and yours else ""
        return ratio or _related(y, e, same)


def of_shapes(mine: tuple[int, ...], right: tuple[int, ...]) -> str:
    """What a wrong shape gives away; "" for nothing."""
    if sorted(mine) == sorted(right):
        return "The axes are in the wrong order."
    if [n for n in mine if n != 1] == [n for n in right if n != 1]:
        return _FLAT
    if math.prod(mine) == math.prod(right):
        return (
            "The number of values is right, but they are arranged along different axes: check reshape, flatten, and "
            "permute."
        )
    if len(mine) == len(right) - 1:
        return "One axis is missing: did you take a mean or a sum over too many axes, or forget keepdim?"
    if len(mine) == len(right) + 1:
        return "There is one axis too many: a mean, a sum, or an index is missing."
    wrong = [axis for axis, (m, r) in enumerate(zip(mine, right, strict=False)) if m != r]
    if len(mine) == len(right) and wrong:
        axes = ", ".join(f"axis {axis} has size {mine[axis]} instead of {right[axis]}" for axis in wrong)
        return (
            f"{axes[:1].upper()}{axes[1:]}: did you slice or take a mean along the wrong axis, or with the wrong size?"
        )
    return ""


def _rearranged(y: np.ndarray, e: np.ndarray, same: Callable[..., bool]) -> str:
    turned = [("The sign is wrong.", -y)]
    turned += [(f"Axis {axis} runs backward.", np.flip(y, axis)) for axis in range(y.ndim)]
    for one, two in itertools.combinations(range(y.ndim), 2):
        turned.append((f"Axes {one} and {two} are swapped.", np.swapaxes(y, one, two)))
    for axis in range(y.ndim):
        if y.shape[axis] > 2:
            by = [("late", -1), ("early", 1)]
            turned += [(f"Along axis {axis} each value is one position too {d}.", np.roll(y, k, axis)) for d, k in by]
    return next((text for text, array in turned if same(array)), "") or _shifted(y, e, same)


def _shifted(y: np.ndarray, e: np.ndarray, same: Callable[..., bool]) -> str:
    """Whether values moved along an axis and other ones came in at the edge."""
    for axis in range(y.ndim):
        length = y.shape[axis]
        for by in range(1, length // 2 + 1):
            early, late = np.arange(length - by), np.arange(by, length)
            for word, mine, right in (("late", late, early), ("early", early, late)):
                one, two = np.take(y, mine, axis), np.take(e, right, axis)
                if np.unique(two).size > 2 and same(one, two):
                    return f"Along axis {axis} the values come too {word}, by {by}."
    for first, second in itertools.combinations(range(y.ndim), 2):
        if min(y.shape[first], y.shape[second]) < 3:
            continue
        for way, sign in (("late", 1), ("early", -1)):
            moved = np.roll(e, (sign, sign), (first, second))
            kept = [slice(None)] * y.ndim
            kept[first] = kept[second] = slice(1, None) if sign > 0 else slice(-1)
            if np.unique(moved[tuple(kept)]).size > 2 and same(y[tuple(kept)], moved[tuple(kept)]):
                return f"Along axes {first} and {second} the values come too {way}, by 1."
    return ""


def _of_ratio(ratio: float) -> str:
    if not math.isfinite(ratio):
        return ""
    for name, constant in _CONSTANTS:
        for text, factor in ((name, constant), (f"1 / {name}", 1 / constant)):
            if math.isclose(ratio, factor, rel_tol=1e-4):
                return f"It is {text} times what it should be."
    for text, factor in (("", ratio), ("1/", 1 / ratio)):
        if abs(factor - round(factor)) < 1e-3 * abs(factor) and round(factor) not in (0, 1) and abs(factor) < 1e10:
            return (
                f"It is {text}{round(factor)} times what it should be: did you take a sum instead of a mean, or leave "
                "something out?"
            )
    return ""


def _scaled(y: np.ndarray, factor: float) -> str:
    if np.count_nonzero(y) < 3:
        return ""
    return f"Everything is {factor:.4g} times what it should be: a constant is missing, or you normalized the result."


def _affine(y: np.ndarray, e: np.ndarray, same: Callable[..., bool]) -> str:
    """Whether the result is the expected one on another scale: four values at least, so that two numbers can't fit."""
    spread = float(((e - e.mean()) ** 2).sum())
    if np.unique(e).size < 4 or not spread:
        return ""
    factor = float(((e - e.mean()) * y).sum()) / spread
    shift = float(y.mean() - factor * e.mean())
    if abs(factor) < 1e-6 or not same((y - shift) / factor):
        return ""
    return f"It is {factor:.4g} times the expected result {'plus' if shift > 0 else 'minus'} {abs(shift):.4g}."


def _scaled_inside(y: np.ndarray, e: np.ndarray, same: Callable[..., bool]) -> str:
    """Whether a number was multiplied before the last sigmoid."""
    if y.size < 4 or min(y.min(), e.min()) <= 0 or max(y.max(), e.max()) >= 1:
        return ""
    mine, right = (np.log(each / (1 - each)) for each in (y, e))
    factor = float((mine * right).sum() / (right * right).sum())
    if same(y, 1 / (1 + np.exp(-factor * right))):
        return f"It is what a sigmoid gives if its argument is multiplied by {factor:.4g}."
    return ""


def _related(y: np.ndarray, e: np.ndarray, same: Callable[..., bool]) -> str:
    for text, relation in _RELATED:
        wanted = relation(e)
        if np.isfinite(wanted).all() and not same(wanted, e) and wanted.any() and same(y, wanted):
            if "rounded" in text and np.abs(y).max() <= 1 and np.unique(y).size < 3:
                continue  # zeros and ones come from a comparison as well
            return text
    return ""


def _where(right: np.ndarray) -> str:
    """Where the right values and the wrong ones are."""
    if right.ndim == 0 or not right.any() or right.size < 4:
        return ""
    for axis in range(right.ndim):
        whole = np.asarray(np.moveaxis(right, axis, 0).reshape(right.shape[axis], -1).all(1))
        if whole.any() and not whole.all() and _is_pattern(whole):
            good, bad = (", ".join(map(str, np.flatnonzero(each)[:6])) for each in (whole, ~whole))
            return f"Along axis {axis}, the values at {good} are right; those at {bad} are wrong."
    for one, two in itertools.combinations(range(right.ndim), 2):
        if min(right.shape[one], right.shape[two]) > 2:
            inner = np.moveaxis(right, (one, two), (0, 1))[1:-1, 1:-1]
            if inner.all():
                return f"Only values at the edge of axes {one} and {two} are wrong: check the padding."
    return ""


def _is_pattern(right: np.ndarray) -> bool:
    """Whether the right or the wrong positions are one run, or every second one; others are right by chance."""
    where = np.flatnonzero(right), np.flatnonzero(~right)
    return any(len(np.unique(np.diff(each))) <= 1 and (np.diff(each) <= 2).all() for each in where)


def _collapsed(y: np.ndarray, e: np.ndarray, same: Callable[..., bool]) -> str:
    for axis in range(y.ndim):
        first = np.take(y, [0], axis)
        if y.shape[axis] > 1 and same(np.broadcast_to(first, y.shape), y):
            if same(np.broadcast_to(np.take(e, [0], axis), e.shape)):
                continue
            return (
                f"All values along axis {axis} are the same, but they should differ: did you take a mean or a sum over "
                "too many axes?"
            )
    return ""


def _close(y: np.ndarray, e: np.ndarray) -> str:
    size = np.abs(e).max()
    off = np.abs(y - e).max() / size if size else math.inf
    if off >= 0.02:
        return ""
    percent = f"{100 * off:.1g}%"
    return (
        f"It is close but not equal (off by up to {percent} of the largest value): did you add a small constant, "
        "approximate, round, or divide by n - 1 instead of n?"
    )
