"""The figures of the results page."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from skinlesion.files import replacing
from skinlesion.reproduce.claims import VERDICTS

_HERE, _PAPER = "#0072B2", "#D55E00"
_VERDICTS = dict(zip(VERDICTS, ("#009E73", "#CC79A7", "#777777"), strict=True))


def _axes(lines: int) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7, 0.45 * lines + 1.2), layout="constrained")
    axes = figure.subplots()
    axes.grid(axis="x", alpha=0.3)
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def draw_table(table: dict[str, Any], path: Path) -> None:
    """Every run of a table as a dot, their mean as a line, the paper's figure as a cross."""
    rows = table["rows"][::-1]
    figure, axes = _axes(len(rows))
    for y, row in enumerate(rows):
        values = row["values"]["iou"]
        axes.plot(values, [y] * len(values), "o", color=_HERE, alpha=0.7, label="a run" if y == 0 else None)
        if values:
            mean = row["mean"]["iou"]
            axes.plot([mean, mean], [y - 0.3, y + 0.3], color=_HERE, lw=2, label="mean" if y == 0 else None)
        if "iou" in row["paper"]:
            axes.plot(row["paper"]["iou"], y, "x", color=_PAPER, label="paper" if y == 0 else None)
    axes.set_yticks(range(len(rows)), [row["label"] for row in rows])
    axes.set_xlabel("pooled lesion IoU, percent")
    axes.legend(loc="best", fontsize=8)
    _save(figure, path)


def draw_claims(claims: list[dict[str, Any]], path: Path) -> None:
    """Each claim's difference with the wider of its intervals, colored by verdict, and the paper's as a cross."""
    shown = [claim for claim in claims if claim["seeds"]][::-1]
    figure, axes = _axes(len(shown))
    axes.axvline(0, color="black", lw=0.8)
    for y, claim in enumerate(shown):
        low, high = claim["low"], claim["high"]
        if claim["wide_low"] is not None:
            low, high = min(low, claim["wide_low"]), max(high, claim["wide_high"])
        color = _VERDICTS.get(claim["word"], "#777777")
        axes.plot([low, high], [y, y], color=color, lw=2)
        axes.plot(claim["difference"], y, "o", color=color)
        if claim["paper"] is not None:
            axes.plot(claim["paper"], y, "x", color=_PAPER)
    axes.set_yticks(range(len(shown)), [claim["text"] for claim in shown])
    axes.set_xlabel("difference of pooled lesion IoU, points")
    for word, color in _VERDICTS.items():
        axes.plot([], [], "o-", color=color, label=f"here: {word}")
    axes.plot([], [], "x", color=_PAPER, label="paper")
    figure.legend(loc="outside upper center", ncols=4, fontsize=8, frameon=False)
    _save(figure, path)
