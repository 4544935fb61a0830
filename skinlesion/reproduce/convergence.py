"""Whether the runs had converged: validation curves, selected epochs, and the ranking after more epochs."""

from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from skinlesion.reproduce.claims import scatter_of
from skinlesion.reproduce.plan import Table
from skinlesion.reproduce.results import Result, Results


def epochs_values(results: Results, table: Table) -> list[dict[str, Any]]:
    """For every run of a table: seed, epochs trained, selected epoch, and the curve if its result has one.

    The curve is a list of {"epoch", "train_loss", "val_iou"}.
    """
    return [
        {"cell": row.cell, "label": row.label} | _run_values(run)
        for row in table.rows
        for run in results.all_of(table.dataset, row.cell)
        if "selected" in run.data
    ]


def _run_values(run: Result) -> dict[str, Any]:
    kept = ("epoch", "train_loss", "val_iou")
    return {
        "seed": run.key.seed,
        "epochs": run.data["config"]["epochs"],
        "selected": run.data["selected"]["epoch"],
        "curve": [{name: epoch[name] for name in kept} for epoch in run.data.get("history", [])],
    }


def ranking_values(results: Results, table: Table) -> dict[str, Any] | None:
    """Mean pooled IoU of the short and the long runs of each system; None until two systems have both.

    "reach" is half the width of the 95% interval of the difference of two means over long runs, with the variance
    pooled over the systems; None without a second run.
    """
    systems = []
    for row in table.rows:
        short = results.all_of(table.dataset, row.short) if row.short else []
        long = results.all_of(table.dataset, row.cell)
        if short and long:
            systems.append(
                {"label": row.label, "short": _mean_iou(short), "long": _mean_iou(long), "long_runs": len(long)}
            )
    if len(systems) < 2:
        return None
    tau = stats.kendalltau([each["short"] for each in systems], [each["long"] for each in systems]).statistic
    return {"systems": systems, "kendall_tau": float(tau), "reach": _reach(results, table)}


def _reach(results: Results, table: Table) -> float | None:
    systems = [results.all_of(table.dataset, row.cell) for row in table.rows]
    groups = [[100 * run.data["report"]["pooled"]["iou"] for run in runs] for runs in systems if runs]
    scatter = scatter_of(groups)
    if not scatter.freedom:
        return None
    fewest = min(len(group) for group in groups)
    return float(stats.t.ppf(0.975, scatter.freedom) * scatter.deviation * (2 / fewest) ** 0.5)


def _mean_iou(runs: list[Result]) -> float:
    return float(np.mean([100 * run.data["report"]["pooled"]["iou"] for run in runs]))


def kept_last(runs: list[dict[str, Any]]) -> str:
    """How many runs selected their last epoch."""
    last = sum(run["selected"] == run["epochs"] for run in runs)
    return f"In {last} of {len(runs)} runs, the selected epoch was the last one."


def convergence_text(runs: list[dict[str, Any]], ranking: dict[str, Any] | None) -> str:
    """The ranking, then the selected epochs, as Markdown."""
    parts = [ranking_text(ranking)] if ranking else []
    lines = ["| system | epochs | selected epoch, by seed |", "| --- | ---: | --- |"]
    for cell in dict.fromkeys(run["cell"] for run in runs):
        own = [run for run in runs if run["cell"] == cell]
        selected = ", ".join(str(run["selected"]) for run in own)
        lines.append(f"| {own[0]['label']} | {own[0]['epochs']} | {selected} |")
    return "\n\n".join([*parts, kept_last(runs), "\n".join(lines)])


def ranking_text(ranking: dict[str, Any]) -> str:
    """Whether the ranking of the short runs holds after more epochs, from `ranking_values`; Markdown."""
    systems = ranking["systems"]
    by_short, by_long = (
        [each["label"] for each in sorted(systems, key=lambda each, when=when: -each[when])]  # type: ignore[misc]
        for when in ("short", "long")
    )
    if by_short == by_long:
        first = f"The ranking of the short runs holds: {', '.join(by_long)}."
    else:
        first = (
            f"The long runs rank the systems differently (Kendall's tau {ranking['kendall_tau']:+.2f}). Short: "
            f"{', '.join(by_short)}. Long: {', '.join(by_long)}."
        )
    changes = "; ".join(f"{each['label']} {each['short']:.2f} to {each['long']:.2f}" for each in systems)
    single = [each["label"] for each in systems if each["long_runs"] == 1]
    caution = f" A single long run doesn't settle the position of: {', '.join(single)}." if single else ""
    if (reach := ranking["reach"]) is not None:
        caution += (
            f" Differences under {reach:.2f} points between two systems are within the 95% interval over long runs."
        )
    return f"{first} Mean pooled IoU, short to long: {changes}.{caution}"


def draw_curves(runs: list[dict[str, Any]], path: Path) -> None:
    """Validation IoU by epoch: a line for every run, a color for every system, a dot at the selected epoch."""
    from matplotlib.figure import Figure

    from skinlesion.files import replacing

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    colors = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442", "#777777")
    cells = list(dict.fromkeys(run["cell"] for run in runs))
    labeled = set()
    for run in runs:
        color = colors[cells.index(run["cell"]) % len(colors)]
        by_epoch = {each["epoch"]: 100 * each["val_iou"] for each in run["curve"]}
        if not by_epoch:
            continue
        label = None if run["cell"] in labeled else run["label"]
        labeled.add(run["cell"])
        axes.plot(list(by_epoch), list(by_epoch.values()), color=color, lw=1, alpha=0.8, label=label)
        if run["selected"] in by_epoch:
            axes.plot(run["selected"], by_epoch[run["selected"]], "o", color=color, ms=4)
    axes.set(xlabel="epoch", ylabel="pooled IoU on the validation set, percent")
    axes.grid(alpha=0.3)
    if labeled:
        axes.legend(loc="lower right", fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
