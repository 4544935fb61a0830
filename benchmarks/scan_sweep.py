"""The selective scan against its peers over sequence length, channels, states and batch: one process, one run.

    python benchmarks/scan_sweep.py [--quick] [--out benchmarks/results]

Writes scan.json, scan.png and scan.md. A case is left out once the one before it took longer than the limit, which
the page shows as a gap: the slicing loop's gradient is quadratic in the length.
"""

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from skinlesion.benchmark.scan import benchmark_scan, contestants, make_inputs, measure
from skinlesion.benchmark.timing import peak_bytes, threads
from skinlesion.files import make_folder, replacing, write_text

LIMIT = 20.0  # seconds a call may take before longer cases of the same kind are left out
SIDES = (8, 16, 32, 64, 128, 256)  # grids of 64 to 65,536 tokens
COLORS = {"cpu": "#0072B2", "reference": "#D55E00", "loop, slicing": "#CC79A7", "mambapy": "#009E73"}

LABELS = {
    "cpu": "**cpu**: this package's kernels",
    "reference": "reference: this package's loop, `unbind`",
    "loop, slicing": "the common loop, slicing",
    "mambapy": "mambapy's parallel scan",
    "torch associative scan": "torch's associative scan",
    "triton": "triton (interpreted: no GPU)",
}

_PEAK_SETUP = """
import torch
from skinlesion.benchmark.scan import contestants, make_inputs
scan = contestants()[{name!r}]
inputs = [t.detach().requires_grad_() for t in make_inputs(height={side}, width={side}, channels=48)]
small = [t.detach().requires_grad_() for t in make_inputs(height=4, width=4, channels=48)]
scan(*small).sum().backward()
"""


def sweep_length(scan: Callable[..., Tensor], sides: tuple[int, ...], budget: float) -> list[dict[str, float]]:
    """Forward and forward + backward over the length, at D = 48, N = 16."""
    rows: list[dict[str, float]] = []
    too_long = {"forward": False, "backward": False}
    for side in sides:
        inputs = make_inputs(height=side, width=side, channels=48)
        row: dict[str, float] = {"tokens": side * side}
        if too_long["forward"]:
            break
        row |= measure(scan, inputs, gradients=not too_long["backward"], budget=budget)
        # a case is four times the last one's tokens, and the worst peer's gradient is quadratic
        too_long["forward"] = row["forward_seconds"] * 4 > LIMIT
        too_long["backward"] = row.get("backward_seconds", math.inf) * 16 > LIMIT
        rows.append(row)
    return rows


def exponent(rows: list[dict[str, float]], field: str) -> float | None:
    """Slope of log time over log tokens, from the longer half of the cases."""
    found = [(row["tokens"], row[field]) for row in rows if field in row]
    found = found[len(found) // 2 - 1 :] if len(found) > 3 else found
    if len(found) < 2:
        return None
    tokens, seconds = np.log(np.array(found)).T
    return float(np.polyfit(tokens, seconds, 1)[0])


def sweep_shapes(budget: float) -> list[dict[str, Any]]:
    """The CPU engine where networks use it: narrow and long, wide and short, batches, few states."""
    shapes = [
        {"height": 64, "width": 64, "channels": 192, "states": 16, "batch": 1},
        {"height": 32, "width": 32, "channels": 64, "states": 16, "batch": 16},
        {"height": 32, "width": 32, "channels": 48, "states": 16, "batch": 16},
        {"height": 16, "width": 16, "channels": 32, "states": 16, "batch": 16},
        {"height": 8, "width": 8, "channels": 768, "states": 16, "batch": 1},
        {"height": 8, "width": 8, "channels": 768, "states": 16, "batch": 16},
        {"height": 64, "width": 64, "channels": 192, "states": 4, "batch": 1},
        {"height": 64, "width": 64, "channels": 192, "states": 1, "batch": 1},
    ]
    scan = contestants()["cpu"]
    return [{**shape, **measure(scan, make_inputs(**shape), budget=budget)} for shape in shapes]


def peaks(side: int) -> dict[str, int | None]:
    """By how much forward + backward at one length raises a process's peak memory, D = 48, N = 16."""
    call = "scan(*inputs).sum().backward()"
    names = [name for name in contestants() if name != "loop, slicing"]
    return {name: peak_bytes(_PEAK_SETUP.format(name=name, side=side), call) for name in names}


def draw(lengths: dict[str, list[dict[str, float]]], path: Path) -> None:
    """Seconds over tokens, forward and backward side by side."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, field, title in zip(
        figure.subplots(1, 2, sharey=True),
        ("forward_seconds", "backward_seconds"),
        ("forward", "backward"),
        strict=True,
    ):
        for name, rows in lengths.items():
            found = [(row["tokens"], row[field]) for row in rows if field in row]
            if found:
                axes.loglog(*zip(*found, strict=True), "o-", label=name, color=COLORS.get(name, "#666666"), ms=4)
        axes.set(title=title, xlabel="tokens")
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("seconds")
    figure.axes[0].legend(fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def page(result: dict[str, Any]) -> str:
    """The results as Markdown."""
    one = result["one_size"]
    machine = one["machine"]
    lines = [
        "# The selective scan, measured",
        "",
        f"{machine['processor']}, {machine['system']}, torch {machine['torch']}; one thread; medians. Written by "
        "`python benchmarks/scan_sweep.py`.",
        "",
        f"The kernels' own float32 exponential runs at **{one['exp_per_second'] / 1e9:.2f} G/s**: no scan can make "
        "more state updates than that, since each needs one.",
        "",
        "## 64 x 64 tokens, 192 channels, 16 states, four routes",
        "",
        "| engine | forward (ms) | G updates/s | share of exp | backward (ms) | G updates/s | share of exp |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, figures in one["engines"].items():
        if "error" in figures:
            lines.append(f"| {LABELS.get(name, name)} | does not run: {figures['error']} | | | | | |")
            continue
        cells = [LABELS.get(name, name)]
        for direction in ("forward", "backward"):
            if f"{direction}_seconds" not in figures:
                cells += ["", "", ""]
                continue
            rate = figures[f"{direction}_updates_per_second"]
            seconds = figures[f"{direction}_seconds"]
            cells += [f"{1000 * seconds:.1f}", f"{rate / 1e9:.3f}", f"{rate / one['exp_per_second']:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    two, cpu = one["engines"]["cpu"]["two_threads"], one["engines"]["cpu"]
    lines += [
        "",
        f"Two threads: forward {cpu['forward_seconds'] / two['forward_seconds']:.2f} times one thread, backward "
        f"{cpu['backward_seconds'] / two['backward_seconds']:.2f} times.",
        "",
        "## Growth with the number of tokens (48 channels, 16 states)",
        "",
        "![Seconds over tokens, forward and backward](scan.png)",
        "",
        "| scan | forward exponent | backward exponent | longest measured | peak memory of forward + backward |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, rows in result["lengths"].items():
        slopes = [exponent(rows, field) for field in ("forward_seconds", "backward_seconds")]
        texts = ["" if slope is None else f"{slope:.2f}" for slope in slopes]
        memory = result["peaks"].get(name)
        peak = f"{memory / 1e6:.0f} MB" if memory else ""
        longest = f"{rows[-1]['tokens']:,.0f}" if rows else ""
        lines.append(f"| {' | '.join([LABELS.get(name, name), *texts, longest, peak])} |")
    lines += [
        "",
        f"Peak memory at {result['peak_tokens']:,} tokens, above what the process held before.",
        "",
        "## The CPU engine at the shapes that networks use",
        "",
        "| tokens | channels | states | batch | forward G updates/s | backward G updates/s |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row['height']} x {row['width']} | {row['channels']} | {row['states']} | {row['batch']} "
        f"| {row['forward_updates_per_second'] / 1e9:.2f} | {row['backward_updates_per_second'] / 1e9:.2f} |"
        for row in result["shapes"]
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run everything and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short lengths and few repeats, to try the program")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    budget, sides = (0.02, SIDES[:2]) if options.quick else (1.0, SIDES)
    side = 16 if options.quick else 64
    lengths: dict[str, list[dict[str, float]]] = {}
    with threads(1):
        for name, scan in contestants().items():
            try:
                lengths[name] = sweep_length(scan, sides, budget)
            except (RuntimeError, NotImplementedError, ImportError) as error:
                print(f"{name} does not run: {error}")
                lengths[name] = []
        shapes = sweep_shapes(budget)
    result = {
        "one_size": benchmark_scan(side=8, budget=budget) if options.quick else benchmark_scan(),
        "lengths": lengths,
        "shapes": shapes,
        "peaks": peaks(side),
        "peak_tokens": side * side,
    }
    make_folder(options.out)
    write_text(options.out / "scan.json", json.dumps(result, indent=1) + "\n")
    draw(lengths, options.out / "scan.png")
    write_text(options.out / "scan.md", page(result))
    print(f"Wrote {options.out / 'scan.md'}")


if __name__ == "__main__":
    main()
