"""`skinlesion benchmark`."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from skinlesion.benchmark.model import benchmark_model
from skinlesion.benchmark.scan import benchmark_scan
from skinlesion.commands.outputs import write_json


def scan(*, json: Path | None = None, slow: bool = False) -> None:
    """Time the scan engines and their peers on one thread: 64 x 64 tokens, 192 channels, 16 states, four directions.

    Args:
        json: File for the result as JSON; - for standard output. Replaces the table.
        slow: Also time the backward pass of the slow implementations, which takes minutes to an hour.
    """
    result = benchmark_scan(slow=slow)
    if json is not None:
        write_json(result, json)
        return
    table = Table(title=f"Selective scan, one thread; exp: {result['exp_per_second'] / 1e9:.2f} G/s")
    for heading in ("engine", "forward (ms)", "G updates/s", "backward (ms)", "G updates/s"):
        table.add_column(heading, justify="left" if heading == "engine" else "right")
    for name, figures in result["engines"].items():
        if "error" in figures:
            table.add_row(name, figures["error"])
            continue
        cells = [name]
        for direction in ("forward", "backward"):
            seconds = figures.get(f"{direction}_seconds")
            cells += (
                ["", ""]
                if seconds is None
                else [
                    f"{1000 * seconds:.1f}",
                    f"{figures[f'{direction}_updates_per_second'] / 1e9:.3f}",
                ]
            )
        table.add_row(*cells)
    Console().print(table)


def model(*, json: Path | None = None) -> None:
    """Time inference and a training step of each preset, and report FLOPs and peak memory.

    Args:
        json: File for the result as JSON; - for standard output. Replaces the table.
    """
    result = benchmark_model()
    if json is not None:
        write_json(result, json)
        return
    table = Table(title=f"Whole network, {result['threads']} threads, scan engine {result['engine']}")
    headings = ("model", "input", "GFLOPs", "inference (ms/image)", "step (ms/image)", "scan share", "step peak (MB)")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for name, figures in result["models"].items():
        size, peak = f"{figures['batch']} x {figures['size']}²", figures["step_peak_bytes"]
        table.add_row(
            name, size, f"{figures['flops'] / 1e9:.2f}", *_seconds(figures), "" if peak is None else f"{peak / 1e6:.0f}"
        )
        table.add_row(f"{name}, bf16", size, "", *_seconds(figures["bf16"]), "")
    Console().print(table)


def _seconds(figures: dict) -> list[str]:
    milliseconds = [f"{1000 * figures[f'{what}_seconds_per_image']:.1f}" for what in ("inference", "step")]
    return [*milliseconds, f"{100 * figures['scan_share_of_step']:.0f}%"]
