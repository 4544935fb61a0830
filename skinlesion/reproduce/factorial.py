"""Main effects and interactions of a 2^k factorial: every module switched on and off in all combinations.

Table 4 of the paper switches SE, CMN and CRA on and off independently. A comparison of two of its rows uses two cells.
A main effect compares the four cells that have a module with the four that don't: it uses all runs and has a smaller
error. An interaction says whether the effect of one module depends on another.
"""

from collections.abc import Sequence
from itertools import combinations, permutations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from skinlesion.reproduce.claims import holm, scatter_of
from skinlesion.reproduce.plan import Factorial
from skinlesion.reproduce.results import Results


class Effect(NamedTuple):
    """An effect in points of pooled IoU.

    Attributes:
        name: the factors, such as "SE" or "SE x CMN".
        order: 1 for a main effect, 2 for an interaction of two factors, and so on.
        estimate: of one factor: mean with it less mean without. Of two: how much the effect of one grows when the
            other is on; and so on, always at the mean of the remaining factors.
        reach: half-width of the 95% interval; NaN without replicates.
        p: two-sided, Student's t; NaN without replicates.
    """

    name: str
    order: int
    estimate: float
    reach: float
    p: float


def contrasts(factors: Sequence[str]) -> dict[tuple[str, ...], NDArray[np.float64]]:
    """Weights of the cells for every effect.

    Args:
        factors: k names.

    Returns:
        For every nonempty set of factors, weights of the 2^k cells in standard order: the first factor changes fastest,
        so with A and B the cells are none, A, B, AB.
    """
    k = len(factors)
    levels = np.array([[-1 if not cell >> i & 1 else 1 for i in range(k)] for cell in range(2**k)])
    return {
        tuple(factors[i] for i in chosen): levels[:, chosen].prod(axis=1) / 2 ** (k - len(chosen))
        for order in range(1, k + 1)
        for chosen in combinations(range(k), order)
    }


def effects(factors: Sequence[str], groups: Sequence[Sequence[float]]) -> list[Effect]:
    """Every main effect and interaction, with the pooled error of the replicates.

    Args:
        factors: k names.
        groups: the runs of each of the 2^k cells in standard order, as pooled IoU in points.
    """
    means = np.array([np.mean(group) for group in groups])
    counts = np.array([len(group) for group in groups])
    error = scatter_of(groups)
    found = []
    for names, weights in contrasts(factors).items():
        estimate = float(weights @ means)
        deviation = error.deviation * float(np.sqrt((weights**2 / counts).sum()))
        reach, p = float("nan"), float("nan")
        if error.freedom and deviation > 0:
            reach = float(stats.t.ppf(0.975, error.freedom)) * deviation
            p = float(2 * stats.t.sf(abs(estimate) / deviation, error.freedom))
        found.append(Effect(" x ".join(names), len(names), estimate, reach, p))
    return found


def slope_test(factors: int, values: Sequence[float]) -> tuple[float, float]:
    """Whether the score grows with the number of factors that are on, by an exact permutation test.

    Args:
        factors: k, at most 3: all orders of the 2^k values are tried.
        values: one for each cell in standard order.

    Returns:
        The least-squares slope in points per factor, and the one-sided p-value: the share of all orders of the values
        that give at least this slope.
    """
    number = np.array([cell.bit_count() for cell in range(2**factors)], float)
    number -= number.mean()
    observed = float(number @ np.asarray(values))
    orders = np.array(list(permutations(values)))
    at_least = orders @ number >= observed - 1e-9
    return observed / float(number @ number), float(at_least.mean())


def factorial_values(results: Results, factorial: Factorial) -> dict[str, Any] | None:
    """A factorial of a plan as plain values, beside the paper's own; None until every cell has a run."""
    table = results.plan.tables[factorial.table]
    runs = [results.all_of(table.dataset, cell) for cell in factorial.cells]
    if not all(runs):
        return None
    groups = [[100 * run.data["report"]["pooled"]["iou"] for run in cell] for cell in runs]
    error = scatter_of(groups)
    found = effects(factorial.factors, groups)
    corrected = holm([effect.p for effect in found])
    reported = {row.cell: row.paper.get("iou") for row in table.rows}
    paper = [reported.get(cell) for cell in factorial.cells]
    has_paper = all(value is not None for value in paper)
    of_paper = effects(factorial.factors, [[value] for value in paper if value is not None]) if has_paper else []
    k = len(factorial.factors)
    return {
        "title": factorial.title,
        "factors": list(factorial.factors),
        "runs": sum(len(cell) for cell in runs),
        "error": {"deviation": error.deviation, "freedom": error.freedom} if error.freedom else None,
        "effects": [
            {name: None if value != value else value for name, value in effect._asdict().items()}
            | {"corrected_p": None if p != p else p}
            | {"paper": of_paper[i].estimate if has_paper else None}
            for i, (effect, p) in enumerate(zip(found, corrected, strict=True))
        ],
        "slope": _slope(k, [float(np.mean(group)) for group in groups]),
        "paper_slope": _slope(k, [value for value in paper if value is not None]) if has_paper else None,
    }


def _slope(k: int, values: list[float]) -> dict[str, float] | None:
    """`slope_test` of three factors; with fewer there are too few orders to say anything."""
    if k != 3:
        return None
    slope, p = slope_test(k, values)
    return {"points_per_factor": slope, "p": p}


def finding(values: dict[str, Any]) -> str:
    """What a factorial shows, in sentences: first the effects that are there, then those that aren't."""
    known = [effect for effect in values["effects"] if effect["reach"] is not None]
    if not known:
        return "Without a second run of any cell there is no error to judge these effects by."
    sure = [effect for effect in known if abs(effect["estimate"]) > effect["reach"]]
    parts = []
    if sure:
        parts.append("Different from zero: " + "; ".join(_effect_text(effect) for effect in sure) + ".")
    for order, what in ((1, "Main effects"), (2, "Two-way interactions"), (3, "Three-way interaction")):
        rest = [effect for effect in known if effect["order"] == order and effect not in sure]
        if rest:
            parts.append(f"{what} not distinguishable from zero: {_effects_text(rest)}.")
    return " ".join(parts)


def _effects_text(effects: list[dict[str, Any]]) -> str:
    """Effects of one order, which share the width of their interval."""
    reach = f"± {effects[0]['reach']:.2f}"
    if len(effects) == 1:
        return f"{effects[0]['name']} ({effects[0]['estimate']:+.2f} {reach})"
    return ", ".join(f"{effect['name']} ({effect['estimate']:+.2f})" for effect in effects) + f", each {reach}"


def _effect_text(effect: dict[str, Any]) -> str:
    return f"{effect['name']} {effect['estimate']:+.2f} ± {effect['reach']:.2f} points"


def factorial_text(values: dict[str, Any]) -> str:
    """A factorial as Markdown: the finding, the table, how it was computed."""
    paper = values["paper_slope"] is not None or any(effect["paper"] is not None for effect in values["effects"])
    head = ["effect", *(["paper"] if paper else []), "here", "95% interval", "p", "corrected p"]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for effect in values["effects"]:
        estimate, reach = effect["estimate"], effect["reach"]
        interval, p, corrected = "", "", ""
        if reach is not None:
            interval = f"{estimate - reach:+.2f} to {estimate + reach:+.2f}"
            p, corrected = f"{effect['p']:.4f}", f"{effect['corrected_p']:.3f}"
        line = [effect["name"], *([f"{effect['paper']:+.2f}"] if paper else []), f"{estimate:+.2f}"]
        lines.append([*line, interval, p, corrected])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return "\n\n".join(part for part in (finding(values), table, _how(values), _slopes(values)) if part)


def _how(values: dict[str, Any]) -> str:
    error = values["error"]
    text = (
        "Points of pooled IoU. The effect of one factor is the mean of the cells that have it minus the mean of those "
        "that don't. A two-way interaction is the increase in one factor's effect when the other is on."
    )
    if error:
        text += (
            f" {values['runs']} runs with the seed as replicate; pooled standard deviation {error['deviation']:.2f}, "
            f"{error['freedom']} degrees of freedom, Student's t. The intervals cover variation between training runs, "
            "on these test images. The corrected p is Holm's, for the number of effects."
        )
    return text


def _slopes(values: dict[str, Any]) -> str:
    here, paper = values["slope"], values["paper_slope"]
    if not paper or not here:
        return ""
    return (
        f"In the paper, IoU changes by {paper['points_per_factor']:+.2f} points with each module (exact one-sided "
        f"permutation p of {paper['p']:.3f}); single modules can't be judged there, since every cell was run once. "
        f"Here it changes by {here['points_per_factor']:+.2f} points with each module (p of {here['p']:.3f}, the same "
        "test on the means of the cells)."
    )
