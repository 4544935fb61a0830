"""The results page: tables next to the paper's, each claim with its difference and intervals, and figures.

Everything on the page is computed here from the results folder; nothing is typed in.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skinlesion.files import write_text
from skinlesion.reproduce.claims import VERDICTS, Scatter, dataset_scatter, holm, mean_reach, stacked, verdict
from skinlesion.reproduce.convergence import convergence_text, draw_curves, epochs_values, kept_last, ranking_values
from skinlesion.reproduce.costs import load_costs
from skinlesion.reproduce.factorial import factorial_text, factorial_values
from skinlesion.reproduce.figures import draw_claims, draw_table
from skinlesion.reproduce.plan import Table
from skinlesion.reproduce.results import Key, Results, describe_images

SCORES = ("iou", "dsc", "accuracy")
LEVEL = 0.05  # below it a corrected p outlasts the number of claims
UNIT_CELL = "full"  # what costs are quoted as multiples of


def summary(results: Results) -> dict[str, Any]:
    """Everything that the page says, as plain values."""
    plan = results.plan
    datasets = dict.fromkeys(table.dataset for table in plan.tables.values())
    scatter = {dataset: dataset_scatter(results, dataset) for dataset in datasets}
    verdicts = [verdict(results, claim, scatter[plan.tables[claim.table].dataset]) for claim in plan.claims]
    corrected = holm([found.wide_p for found in verdicts])
    return {
        "plan": plan.name,
        "protocol": plan.protocol,
        "scatter": {dataset: found._asdict() for dataset, found in scatter.items() if found.freedom},
        "tables": {name: _table_values(results, table, scatter[table.dataset]) for name, table in plan.tables.items()},
        "claims": [
            {"text": c.text, "source": c.source, "better": c.better, "worse": c.worse, "paper": c.paper}
            | {name: None if value != value else value for name, value in found._asdict().items()}
            | {"corrected_p": None if p != p else p}
            for c, found, p in zip(plan.claims, verdicts, corrected, strict=True)
        ],
        "factorials": [found for each in plan.factorials if (found := factorial_values(results, each))],
        "costs": load_costs(results),
    }


def _table_values(results: Results, table: Table, scatter: Scatter) -> dict[str, Any]:
    rows = []
    for row in table.rows:
        runs = results.all_of(table.dataset, row.cell)
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
                "reach": mean_reach(stacked(runs), scatter) if runs and scatter.freedom else None,
                "values": scores,
                "per_image_iou": float(np.mean([r.data["report"]["per_image"]["iou"]["mean"] for r in runs]))
                if runs
                else None,
                "cost": runs[0].data["cost"] if runs else None,
            }
        )
    return {
        "title": table.title,
        "dataset": table.dataset,
        "note": table.note,
        "images": results.images(table.dataset),
        "rows": rows,
        "runs": epochs_values(results, table),
        "ranking": ranking_values(results, table),
    }


def write_report(results: Results, folder: Path) -> Path:
    """Write README.md, summary.json, the figure of the claims, and one figure for each table with results.

    Args:
        results: what has been run so far.
        folder: where to.

    Returns:
        The page.

    Raises:
        SkinlesionError: there are no results, one is damaged, or they are another plan's.
    """
    results.check()
    values = summary(results)
    write_text(folder / "summary.json", json.dumps(values, indent=1) + "\n")
    parts = [
        f"# The paper's comparison at the `{values['plan']}` scale",
        values["protocol"],
        f"## Which claims hold here\n\n{count_verdicts(values['claims'])}\n\n{_how_judged(values['scatter'])}",
        claims_table(values["claims"]),
    ]
    if any(claim["seeds"] for claim in values["claims"]):
        draw_claims(values["claims"], folder / "claims.png")
        parts.append("![Each claim: the difference here with its wider interval, the paper's as a cross](claims.png)")
    parts += [f"## {each['title']}\n\n{factorial_text(each)}" for each in values["factorials"]]
    parts.append(f"{_HOW_READ} {kept_last(_all_runs(values['tables']))}")
    with_curves = {name for name, table in values["tables"].items() if any(run["curve"] for run in table["runs"])}
    for name, table in values["tables"].items():
        if not any(row["seeds"] or row["errors"] for row in table["rows"]):
            parts.append(f"## {table['title']}\n\nNot run here. Its data are {table['dataset']}.")
            continue
        parts.append("\n\n".join([f"## {table['title']}", *_data_text(table), _table_text(table)]))
        draw_table(table, folder / f"{name}.png")
        parts.append(f"![{table['title']}: every run as a dot, their mean as a line, the paper as a cross]({name}.png)")
        if table["ranking"] or name in with_curves:
            parts.append(convergence_text(table["runs"], table["ranking"]))
        if name in with_curves:
            draw_curves(table["runs"], folder / f"{name}-curves.png")
            parts.append(f"![{table['title']}: validation IoU by epoch, a dot at the selected one]({name}-curves.png)")
    if values["costs"]:
        parts.append(f"## What each system costs\n\n{_costs_text(values)}")
    page = folder / "README.md"
    write_text(page, "\n\n".join(parts) + "\n")
    return page


def _all_runs(tables: dict[str, Any]) -> list[dict[str, Any]]:
    """The runs of all tables, each once."""
    runs = {(table["dataset"], run["cell"], run["seed"]): run for table in tables.values() for run in table["runs"]}
    return list(runs.values())


def _how_judged(scatter: dict[str, dict[str, Any]]) -> str:
    known = "; ".join(
        f"on {dataset}, runs of one system scatter by {found['deviation']:.2f} points (standard deviation, "
        f"{found['freedom']} degrees of freedom)"
        for dataset, found in scatter.items()
    )
    return (
        "Difference in pooled lesion IoU, in points, with two 95% intervals over seeds and test images. The first "
        "resamples both. Resampling only three runs understates their scatter, and one run shows none, so the "
        "second uses the variance pooled over all configurations (Student's t). A claim is reproduced if both "
        "intervals are above zero, and reversed at this scale if both are below: short runs of small networks can't "
        "contradict long runs of large ones. Our own claims follow the same rule. The corrected p is that of the "
        "second interval, after Holm's correction for the number of claims. The permutation p is from a test that "
        "swaps the two systems image by image and compares pooled IoU, as the table does: it tests these runs and "
        "doesn't generalize to others. The column of seeds gives the smaller number of runs; all runs are used."
        + (f"\n\nMeasured: {known}." if known else "")
    )


_HOW_READ = (
    "In the tables below ± is the standard deviation over runs, and the interval is for the mean, over test images "
    "and seeds (with the pooled variance)."
)


def count_verdicts(claims: list[dict[str, Any]]) -> str:
    """How many claims have which verdict, and which verdicts remain after the correction for their number."""
    words = [claim["word"] for claim in claims]
    counts = [f"{words.count(word)} {word}" for word in dict.fromkeys((*VERDICTS, *words))]
    firm = [
        f"{claim['text']} ({claim['word']})"
        for claim in claims
        if claim["word"] in VERDICTS[:2] and claim["corrected_p"] is not None and claim["corrected_p"] < LEVEL
    ]
    return (
        f"Verdicts on {len(words)} claims: {', '.join(counts)}. After Holm's correction for the number of claims, "
        + (f"these verdicts remain: {'; '.join(firm)}." if firm else "no verdict remains.")
    )


def _between(claim: dict[str, Any], low: str, high: str) -> str:
    return "" if claim[low] is None else f"{claim[low]:+.2f} to {claim[high]:+.2f}"


def _or_nothing(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


_COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "claim": lambda claim: claim["text"],
    "source": lambda claim: claim["source"],
    "paper": lambda claim: _or_nothing(claim["paper"], "+.2f"),
    "here": lambda claim: _or_nothing(claim["difference"], "+.2f"),
    "interval": lambda claim: _between(claim, "low", "high"),
    "95% interval, pooled variance": lambda claim: _between(claim, "wide_low", "wide_high"),
    "corrected p": lambda claim: _or_nothing(claim["corrected_p"], ".3f"),
    "permutation p": lambda claim: _or_nothing(claim["p"], ".4f"),
    "seeds": lambda claim: str(claim["seeds"]),
    "verdict": lambda claim: f"{claim['word']} (one seed)" if claim["seeds"] == 1 else claim["word"],
}
SHORT = ("claim", "source", "paper", "here", "95% interval, pooled variance", "verdict")


def claims_table(claims: list[dict[str, Any]], columns: Sequence[str] = tuple(_COLUMNS)) -> str:
    """The claims as a Markdown table of some columns."""
    words = {"claim", "source", "verdict"}
    lines = [columns, ["---" if name in words else "---:" for name in columns]]
    lines += [[_COLUMNS[name](claim) for name in columns] for claim in claims]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _score_text(row: dict[str, Any], score: str) -> str:
    if row["mean"][score] is None:
        return ""
    spread = "" if row["deviation"][score] is None else f" ± {row['deviation'][score]:.2f}"
    return f"{row['mean'][score]:.2f}{spread}"


def _runs_text(row: dict[str, Any]) -> str:
    done, wanted = row["seeds"], row["wanted"]
    counted = f"{done} of {wanted}" if done < wanted else f"{done}"
    return counted + (f", failed: {row['errors'][0]}" if row["errors"] else "")


def _cost_text(cost: dict[str, Any] | None) -> str:
    if cost is None:
        return " | "
    return f"{cost['parameters'] / 1e6:.2f} | {cost['product_flops'] / 1e9:.2f} / {cost['flops'] / 1e9:.2f}"


def _table_text(table: dict[str, Any]) -> str:
    lines = [
        "| system | paper IoU / DSC / accuracy | IoU here | 95% interval | DSC here | accuracy here | per-image IoU "
        "| runs | parameters (M) | GFLOPs without / with scan |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in table["rows"]:
        paper = " / ".join(f"{row['paper'][score]:.2f}" for score in SCORES if score in row["paper"])
        image = "" if row["per_image_iou"] is None else f"{100 * row['per_image_iou']:.2f}"
        iou, *others = (_score_text(row, score) for score in SCORES)
        mean, reach = row["mean"]["iou"], row["reach"]
        interval = "" if reach is None else f"{mean - reach:.1f} to {mean + reach:.1f}"
        cells = (row["label"], paper, iou, interval, *others, image, _runs_text(row), _cost_text(row["cost"]))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _data_text(table: dict[str, Any]) -> list[str]:
    """Paragraphs on a table's data: how many images, and its note."""
    counted = [f"Data: {table['dataset']}, {describe_images(table['images'])}."] if table["images"] else []
    return counted + ([table["note"]] if table["note"] else [])


def _costs_text(values: dict[str, Any]) -> str:
    costs = values["costs"]
    machine, cells = costs["machine"], costs["cells"]
    labels: dict[str, str] = {}
    for table in values["tables"].values():
        for row in table["rows"]:
            labels.setdefault(row["cell"], row["label"])
    unit = cells.get(UNIT_CELL, next(iter(cells.values())))
    lines = [
        f"Medians over {costs['rounds']} rounds in which all systems took turns, on {costs['threads']} of "
        f"{machine['cores']} threads ({machine['processor']}, torch {machine['torch']}). Times are per image (for a "
        "training step, the batch's time divided by its size); memory is what a step on the whole batch adds to the "
        "process. In parentheses: multiples of the paper's network.",
        "",
        "| system | training step, ms | inference, ms | memory of a step, MB | parameters (M) "
        "| GFLOPs without / with scan |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for cell, found in cells.items():
        times = " | ".join(
            f"{1000 * found[name]:.1f} ({found[name] / unit[name]:.2f})"
            for name in ("step_seconds", "inference_seconds")
        )
        memory = "" if found["step_peak_bytes"] is None else f"{found['step_peak_bytes'] / 1e6:.0f}"
        lines.append(f"| {labels.get(cell, cell)} | {times} | {memory} | {_cost_text(found.get('cost'))} |")
    return "\n".join(lines)
