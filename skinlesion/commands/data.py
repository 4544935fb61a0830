"""`skinlesion data download`, `verify` and `synthesize`."""

import sys
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console
from rich.progress import Progress

from skinlesion.data import download as downloads
from skinlesion.data.source import DataSource
from skinlesion.data.synthetic import write_dataset
from skinlesion.data.verify import verify as check_dataset
from skinlesion.errors import SkinlesionError


def download(
    dataset: tyro.conf.Positional[str],
    *,
    root: Path,
    parts: tuple[str, ...] = (),
    base_url: str = downloads.BASE_URL,
    keep_archives: bool = False,
) -> None:
    """Fetch a dataset from its official address, check it and unpack it; a stopped download goes on.

    Args:
        dataset: isic2016, isic2017 or isic2018.
        root: Folder to unpack into; made if missing.
        parts: Some of train, val, test; by default those that the paper splits.
        base_url: Address of a mirror.
        keep_archives: Keep the zip files.
    """
    downloads.download(dataset, root, parts or None, base_url=base_url, keep_archives=keep_archives)
    print(f"Next: skinlesion data verify {dataset} --root {root}")


def verify(dataset: tyro.conf.Positional[str] = "folder", *, source: DataSource) -> None:
    """Open every image and mask, and report what is wrong, file by file.

    Says first which folder was taken for what, which files were left out, and how the data are split by default.

    Args:
        dataset: folder (any folders of images and masks), isic2016, isic2017, isic2018, vmunet or synthetic.
        source: Where the data are.
    """
    report, notes = check_dataset(source, dataset)
    print("\n".join([*notes, str(report)]))
    if not report.ok:
        raise SkinlesionError(f"The data have {len(report.problems)} problems, listed above.")


def synthesize(
    *,
    out: Path,
    n: int = 64,
    seed: int = 0,
    size: int = 256,
    layout: Literal["folder", "isic2017"] = "folder",
) -> None:
    """Draw a dataset of synthetic lesions with exact masks.

    Args:
        out: A new or empty folder.
        n: How many images.
        seed: Another seed draws other images.
        size: Side in pixels.
        layout: images/ and masks/, or the official folders of ISIC 2017.
    """
    console = Console(file=sys.stderr)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("drawing", total=n)
        write_dataset(out, n, seed, size, layout, progress=lambda done: bar.update(task, completed=done))
    print(f"{n} images and masks in {out}; use them with --data {layout} --root {out}")
