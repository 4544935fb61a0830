"""From results to a page: tables beside the paper's, each claim with its effect and interval, and figures.

Everything on the page is computed here from the results folder; nothing is typed in.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skinlesion.files import replacing, write_text
from skinlesion.metrics import paired_permutation, ratios
from skinlesion.reproduce.plan import Claim, Table
from skinlesion.reproduce.results import Key, Result, Results

SCORES = ("iou", "dsc", "accuracy")
HEADINGS = {"iou": "IoU", "dsc": "DSC", "accuracy": "Accuracy"}
RESAMPLES = 4000


class Verdict(NamedTuple):
    """How a claim fares.

    Attributes:
        word: "holds", "contradicted", "not distinguishable" or "not run".
        difference: pooled IoU of the better cell less the worse one's, in points; mean over seeds.
        low: lower end of its 95 % interval over seeds and images.
        high: upper end.
        p: paired permutation test of the per-image IoU, averaged over seeds.
        seeds: runs of each side.
    """

    word: str
    difference: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    p: float = float("nan")
    seeds: int = 0


def stacked(results: Sequence[Result]) -> NDArray[np.int64]:
    """Counts of several runs on the same images, (seeds, images, 4)."""
    return np.stack([result.counts for result in results])


def compare(a: NDArray[np.int64], b: NDArray[np.int64], *, seed: int = 0) -> Verdict:
    """Difference of pooled IoU between two systems, a less b, with all that is random resampled.

    A resample draws the runs of each system anew and the same images for both, so the interval covers the luck of
    training as well as the luck of the test images.

    Args:
        a: (seeds, images, 4).
        b: (seeds, images, 4), the same images.
        seed: of the resampling.
    """
    rng = np.random.default_rng(seed)
    images = a.shape[1]
    weights = rng.multinomial(images, np.full(images, 1 / images), RESAMPLES)  # (R, images)

    def pooled(counts: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.stack([ratios(weights @ run)["iou"] for run in counts], axis=1)  # (R, seeds)

    def drawn(scores: NDArray[np.float64]) -> NDArray[np.float64]:
        runs = rng.integers(0, scores.shape[1], scores.shape)
        return np.take_along_axis(scores, runs, axis=1).mean(1)

    differences = 100 * (drawn(pooled(a)) - drawn(pooled(b)))
    low, high = np.percentile(differences, [2.5, 97.5])
    observed = 100 * (ratios(a.sum(1))["iou"].mean() - ratios(b.sum(1))["iou"].mean())
    p = paired_permutation(ratios(a)["iou"].mean(0), ratios(b)["iou"].mean(0)).p_value
    word = "holds" if low > 0 else "contradicted" if high < 0 else "not distinguishable"
    return Verdict(word, float(observed), float(low), float(high), float(p), min(len(a), len(b)))


def runs_of(results: Results, table: Table, cell: str) -> list[Result]:
    """All finished runs of a cell, of any seed."""
    folder = results.folder / table.dataset / cell
    seeds = sorted(int(path.stem.split("-")[1]) for path in folder.glob("seed-*.json") if "error" not in path.name)
    found = (results.load(Key(table.dataset, cell, seed)) for seed in seeds)
    return [result for result in found if result is not None]


def verdict(results: Results, claim: Claim) -> Verdict:
    """A claim against the results: equal numbers of seeds on both sides."""
    table = results.plan.tables[claim.table]
    better, worse = runs_of(results, table, claim.better), runs_of(results, table, claim.worse)
    count = min(len(better), len(worse))
    return compare(stacked(better[:count]), stacked(worse[:count])) if count else Verdict("not run")


def summary(results: Results) -> dict[str, Any]:
    """Everything that the page says, as plain values."""
    return {
        "plan": results.plan.name,
        "protocol": results.plan.protocol,
        "tables": {name: _table_values(results, table) for name, table in results.plan.tables.items()},
        "claims": [
            {"text": c.text, "source": c.source, "better": c.better, "worse": c.worse, "paper": c.paper}
            | verdict(results, c)._asdict()
            for c in results.plan.claims
        ],
    }


def _table_values(results: Results, table: Table) -> dict[str, Any]:
    rows = []
    for row in table.rows:
        runs = runs_of(results, table, row.cell)
        scores = {name: [100 * run.data["report"]["pooled"][name] for run in runs] for name in SCORES}
        errors = [error for seed in range(table.seeds) if (error := results.error(Key(table.dataset, row.cell, seed)))]
        rows.append(
            {
                "cell": row.cell,
                "label": row.label,
                "paper": row.paper,
                "seeds": len(runs),
                "wanted": table.seeds,
                "errors": errors,
                "mean": {name: float(np.mean(values)) if values else None for name, values in scores.items()},
                "deviation": {
                    name: float(np.std(values, ddof=1)) if len(values) > 1 else None for name, values in scores.items()
                },
                "values": scores,
                "per_image_iou": float(np.mean([r.data["report"]["per_image"]["iou"]["mean"] for r in runs]))
                if runs
                else None,
                "cost": runs[0].data["cost"] if runs else None,
                "minutes": float(np.median([r.data["seconds"] for r in runs])) / 60 if runs else None,
            }
        )
    return {"title": table.title, "dataset": table.dataset, "rows": rows}


def write_report(results: Results, folder: Path) -> Path:
    """Write README.md, summary.json and one figure for each table with results.

    Args:
        results: what has been run so far.
        folder: where to.

    Returns:
        The page.
    """
    values = summary(results)
    write_text(folder / "summary.json", json.dumps(values, indent=1) + "\n")
    parts = [
        f"# The paper's comparison at scale `{values['plan']}`",
        values["protocol"],
        _claims_text(values["claims"]),
    ]
    for name, table in values["tables"].items():
        parts.append(f"## {table['title']}\n\n{_table_text(table)}")
        if any(row["seeds"] for row in table["rows"]):
            _draw(table, folder / f"{name}.png")
            parts.append(
                f"![{table['title']}: every run as a dot, their mean as a line, the paper as a cross]({name}.png)"
            )
    page = folder / "README.md"
    write_text(page, "\n\n".join(parts) + "\n")
    return page


def _claims_text(claims: list[dict[str, Any]]) -> str:
    lines = [
        "## Which claims hold here",
        "",
        "Difference of pooled lesion IoU in points; the interval (95 %) is over seeds and test images; p is a paired "
        "permutation test on per-image IoU. A claim holds if the whole interval is above zero. Where there is one "
        "seed, the interval is over test images alone: it is about these two runs, and another may turn it round.",
        "",
        "| claim | source | paper | here | interval | p | seeds | verdict |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for claim in claims:
        paper = "" if claim["paper"] is None else f"{claim['paper']:+.2f}"
        if claim["seeds"]:
            here = f"{claim['difference']:+.2f} | {claim['low']:+.2f} to {claim['high']:+.2f} | {claim['p']:.4f}"
        else:
            here = " | | "
        word = f"{claim['word']} (one seed)" if claim["seeds"] == 1 else claim["word"]
        lines.append(f"| {claim['text']} | {claim['source']} | {paper} | {here} | {claim['seeds']} | {word} |")
    return "\n".join(lines)


def _score_text(row: dict[str, Any], score: str) -> str:
    if row["mean"][score] is None:
        return ""
    spread = "" if row["deviation"][score] is None else f" ± {row['deviation'][score]:.2f}"
    return f"{row['mean'][score]:.2f}{spread}"


def _table_text(table: dict[str, Any]) -> str:
    lines = [
        "| system | paper IoU / DSC | IoU here | DSC here | accuracy here | per-image IoU | runs | parameters (M) "
        "| GFLOPs without / with scan | minutes a run |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in table["rows"]:
        paper = " / ".join(f"{row['paper'][s]:.2f}" for s in ("iou", "dsc") if s in row["paper"])
        runs = f"{row['seeds']} of {row['wanted']}" + (f", failed: {row['errors'][0]}" if row["errors"] else "")
        cost = row["cost"]
        sizes = (
            f"{cost['parameters'] / 1e6:.2f} | {cost['product_flops'] / 1e9:.2f} / {cost['flops'] / 1e9:.2f}"
            if cost
            else " | "
        )
        image = "" if row["per_image_iou"] is None else f"{100 * row['per_image_iou']:.2f}"
        minutes = "" if row["minutes"] is None else f"{row['minutes']:.0f}"
        scores = " | ".join(_score_text(row, score) for score in SCORES)
        lines.append(f"| {row['label']} | {paper} | {scores} | {image} | {runs} | {sizes} | {minutes} |")
    return "\n".join(lines)


def _draw(table: dict[str, Any], path: Path) -> None:
    from matplotlib.figure import Figure

    rows = table["rows"][::-1]
    figure = Figure(figsize=(7, 0.45 * len(rows) + 1.2), layout="constrained")
    axes = figure.subplots()
    for y, row in enumerate(rows):
        values = row["values"]["iou"]
        axes.plot(values, [y] * len(values), "o", color="#0072B2", alpha=0.7, label="a run" if y == 0 else None)
        if values:
            mean = row["mean"]["iou"]
            axes.plot([mean, mean], [y - 0.3, y + 0.3], color="#0072B2", lw=2, label="mean" if y == 0 else None)
        if "iou" in row["paper"]:
            axes.plot(row["paper"]["iou"], y, "x", color="#D55E00", label="paper" if y == 0 else None)
    axes.set_yticks(range(len(rows)), [row["label"] for row in rows])
    axes.set_xlabel("pooled lesion IoU, percent")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="best", fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
