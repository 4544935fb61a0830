"""`skinlesion data download`, `verify`, `duplicates` and `synthesize`."""

import sys
from pathlib import Path
from typing import Literal

import tyro

from skinlesion.commands.progress import progress_bar
from skinlesion.data import download as downloads
from skinlesion.data.duplicates import THRESHOLD, find_duplicates
from skinlesion.data.same_lesion import group_pairs, joined, write_groups
from skinlesion.data.source import DataSource
from skinlesion.data.synthetic import write_dataset
from skinlesion.data.verify import verify as check_dataset
from skinlesion.errors import SkinlesionError
from skinlesion.text import counted, printable


def download(
    dataset: tyro.conf.Positional[str],
    *,
    root: Path,
    parts: tuple[str, ...] = (),
    base_url: str = downloads.BASE_URL,
    keep_archives: bool = False,
) -> None:
    """Download a dataset from its official address, verify it and unpack it; an interrupted download can be resumed.

    Args:
        dataset: isic2016, isic2017 or isic2018.
        root: Folder to unpack into; created if missing.
        parts: Any of train, val and test; by default those that the paper draws its split from.
        base_url: Address of a mirror.
        keep_archives: Keep the zip files after unpacking.
    """
    downloads.download(dataset, root, parts or None, base_url=base_url, keep_archives=keep_archives)
    print(f"Next: skinlesion data verify {dataset} --root {root}")


def verify(dataset: tyro.conf.Positional[str] = "folder", *, source: DataSource) -> None:
    """Open every image and mask, and report what is wrong, file by file.

    The report begins with how each folder was interpreted, which files were left out, and how the data are split by
    default.

    Args:
        dataset: folder (any folders of images and masks), isic2016, isic2017, isic2018, vmunet or synthetic.
        source: Where the data are.
    """
    report, notes = check_dataset(source, dataset)
    print("\n".join([*notes, str(report)]))
    if not report.ok:
        raise SkinlesionError(f"The data have {counted(len(report.problems), 'problem')}, listed above.")


def duplicates(
    dataset: tyro.conf.Positional[str] = "folder",
    *,
    source: DataSource,
    threshold: float = THRESHOLD,
    out: Path | None = None,
) -> None:
    """Find near-duplicates: the same photo under two names, perhaps recolored, resized, flipped or rotated.

    Look at the pairs before you trust them. --out writes them to a table of groups, merged with those of --groups. If
    the table is saved as groups.csv in --root, splits that are drawn from then on keep its groups together; official
    splits and saved manifests stay as they are.

    Args:
        dataset: folder (any folders of images and masks), isic2016, isic2017, isic2018, vmunet or synthetic.
        source: Where the data are; --images alone is enough.
        threshold: Lowest correlation that counts as a pair; a lower value finds more pairs, but more false ones too.
        out: Table of groups to write, such as groups.csv.
    """
    if out is not None and out.exists():
        raise SkinlesionError(f"{out} exists already: choose another --out, and pass the old one as --groups.")
    samples = source.find_images(dataset).samples
    with progress_bar("reading") as report:
        found = find_duplicates(samples, threshold, progress=report)
    for pair in found.pairs:
        print(f"{pair.correlation:.3f}  {printable(pair.a)}  {printable(pair.b)}")
    for _, reason in found.failed:
        print(f"Left out: {reason}", file=sys.stderr)
    count = len(samples) - len(found.failed)
    print(f"{counted(len(found.pairs), 'pair')} in {counted(len(found.groups), 'group')} among {count} images.")
    if out is not None:
        path_of = {sample.id: sample.image for sample in samples}
        pairs = [*(pair[:2] for pair in found.pairs), *group_pairs(samples)]
        together = [group for group in joined(path_of, pairs) if len(group) > 1]
        write_groups(out, [[path_of[id].stem for id in group] for group in together])
        print(
            f"Groups written to {out}. Save it as groups.csv in the data folder to keep groups together in new splits."
        )


def synthesize(
    *,
    out: Path,
    n: int = 64,
    seed: int = 0,
    size: int = 256,
    layout: Literal["folder", "isic2017"] = "folder",
) -> None:
    """Generate a dataset of synthetic lesions with exact masks.

    Args:
        out: A new or empty folder.
        n: Number of images.
        seed: Different seeds give different images.
        size: Side of the square images, in pixels.
        layout: images/ and masks/, or the official folders of ISIC 2017.
    """
    with progress_bar("drawing") as report:
        write_dataset(out, n, seed, size, layout, progress=lambda done: report(done, n))
    print(f"{n} images and masks in {out}; use them with --data {layout} --root {out}")
