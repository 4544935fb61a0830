"""`skinlesion reproduce`."""

from pathlib import Path
from typing import Literal

from skinlesion.errors import SkinlesionError
from skinlesion.files import make_folder
from skinlesion.flags import Words
from skinlesion.reproduce.costs import measure_costs
from skinlesion.reproduce.plan import SCALES, load_plan
from skinlesion.reproduce.report import write_report
from skinlesion.reproduce.results import Results
from skinlesion.reproduce.runner import Setting, usable_processors
from skinlesion.reproduce.runner import reproduce as run_missing


def reproduce(
    tables: Words,
    *,
    scale: str = "cpu",
    root: Path | None = None,
    split: str | None = None,
    seeds: int | None = None,
    budget: float | None = None,
    jobs: int = 1,
    devices: int = 1,
    executor: Literal["local", "slurm"] | None = None,
    partition: str | None = None,
    out: Path | None = None,
    runs: Path | None = None,
) -> int:
    """Run tables of the paper's comparison, skipping the runs that are already done.

    With costs instead of tables, measure the time and memory of every system in one session; with report, write the
    results page.

    A finished run is never repeated, and a stopped one resumes. `--scale paper` is the paper's own setting and needs
    GPUs; it has not been run yet.

    Args:
        tables: Tables of the plan, such as table1 to table5 or questions; or one of costs and report, alone.
        scale: cpu, paper, or a plan of your own (*.toml).
        root: The folder that holds the data; for several datasets, a folder with one named after each.
        split: Which split of the data; by default the plan's.
        seeds: Number of runs per row, each with its own seed; by default the plan's.
        budget: Stop after this many hours.
        jobs: Runs at once, which share the CPU's threads. With several GPUs, each run gets its own.
        devices: GPUs (or processes on the CPU) per run.
        executor: Run as submitit jobs, on SLURM or on this machine; by default as processes on this machine.
        partition: A SLURM partition with GPUs; by default SLURM's own default, without GPUs.
        out: Results folder; by default results/SCALE.
        runs: Where unfinished runs are kept; by default OUT/runs.
    """
    for name, value in (("seeds", seeds), ("jobs", jobs), ("devices", devices)):
        if value is not None and value < 1:
            raise SkinlesionError(f"--{name} must be at least 1, not {value}.")
    if budget is not None and budget <= 0:
        raise SkinlesionError(f"--budget must be more than 0 hours, not {budget}.")
    plan = load_plan(scale if scale in SCALES else Path(scale))
    out = out if out is not None else Path("results") / plan.name
    results = Results(out, plan)
    if tables == ("report",):
        print(f"Wrote {write_report(results, out)}")
        return 0
    if tables == ("costs",):
        make_folder(out)
        print(f"Measured {len(measure_costs(results, scale)['cells'])} systems.")
        return 0
    if not tables or {"report", "costs"} & set(tables):
        raise SkinlesionError(f"Name tables ({', '.join(plan.tables)}), or costs or report alone.")
    if root is None:
        raise SkinlesionError("--root is needed: the folder that holds the data.")
    setting = Setting(
        scale=scale,
        root=root,
        split=split,
        out=out,
        runs=runs if runs is not None else out / "runs",
        devices=devices,
        threads=max(1, usable_processors() // (devices if executor == "slurm" else jobs * devices)),
        accelerated=partition is not None,
    )
    outcomes = run_missing(
        plan, tables, setting, seeds=seeds, budget_hours=budget, jobs=jobs, executor=executor, partition=partition
    )
    print(", ".join(f"{count} {outcome}" for outcome, count in outcomes.items()))
    print(f"Next: skinlesion reproduce report --scale {scale} --out {out}")
    return 2 if outcomes["failed"] else 0
