"""`skinlesion demo`."""

import sys
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from skinlesion.checkpoint import DEFAULT_WEIGHTS
from skinlesion.demo import NEXT, Demonstration, run_demo
from skinlesion.segmenter import CLEAN, Segmenter


def demo(
    *,
    out: Path = Path("demo"),
    weights: str = DEFAULT_WEIGHTS,
    tta: Literal["none", "flips", "dihedral"] = "none",
    clean: Literal["auto", "on", "off"] = "auto",
    device: str = "auto",
    engine: str = "auto",
) -> None:
    """Segment the images that come with the package; print IoU and DSC, and write an HTML page of the results.

    Args:
        out: Folder for skinlesion-demo.html; an existing page is replaced.
        weights: A name (see `skinlesion doctor`), a .safetensors file or a run folder.
        tta: Test-time augmentation: the mean over the four flips, or the eight flips and quarter turns, of the image.
        clean: Keep only the largest region of each mask and fill its holes; auto: as the weights' card says.
        device: auto (a CUDA GPU if the scan engine runs on one, else the CPU), cpu, cuda, cuda:N or mps.
        engine: Scan engine, see `skinlesion doctor`.
    """
    segmenter = Segmenter.from_pretrained(weights, device=device, engine=engine)
    progress_console = Console(file=sys.stderr)
    with Progress(console=progress_console, transient=True, disable=not progress_console.is_terminal) as bar:
        task = bar.add_task("segmenting")
        found = run_demo(
            segmenter,
            out,
            tta=tta,
            clean=CLEAN[clean],
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    console = Console(highlight=False)
    console.print(_table(found, segmenter.name))
    # Paths and commands are printed as they are, to be copied: no wrapping.
    print(f"Images: {found.page.resolve()}\n\nNext:")
    for command in NEXT:
        print(f"  {command}")


def _table(found: Demonstration, name: str) -> Table:
    table = Table("image", "IoU", "DSC", "confidence", "seconds", title=f"Segmented with {name}", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in found.rows:
        scores = [f"{value:.3f}" for value in row.scores.values()]
        table.add_row(Text(row.name), *scores, f"{row.found.confidence:.3f}", f"{row.found.seconds:.2f}")
    table.add_section()
    for label, totals in found.totals.items():
        table.add_row(label, *(f"{value:.3f}" for value in totals.values()), style="bold")
    return table
