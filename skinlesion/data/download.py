"""The ISIC archives from their official addresses, checked and unpacked; and a check of what is on disk.

The archives' addresses, checksums and licenses are listed below. For 2016 and 2017 no public source
states a checksum: it is recorded in ``checksums.json`` at the first download and must be the same at any
later one.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from skinlesion.data.fetch import OnProgress, disk_error, fetch, file_sha256, megabytes, remote_size
from skinlesion.data.layouts import OFFICIAL, OfficialPart
from skinlesion.data.unzip import unzip
from skinlesion.errors import SkinlesionError

BASE_URL = "https://isic-challenge-data.s3.amazonaws.com"
DATA_PAGE = "https://challenge.isic-archive.com/data/"

LICENSES = {"isic2016": "CC-0", "isic2017": "CC-0", "isic2018": "CC-BY-NC 4.0"}
# The parts whose images the paper splits; 2017 and 2018 also have a test set, which it leaves alone.
PAPER_PARTS = {"isic2016": ("train", "test"), "isic2017": ("train", "val"), "isic2018": ("train", "val")}

SHA256 = {
    "ISIC2018_Task1-2_Training_Input.zip": "80f98572347a2d7a376227fa9eb2e4f7459d317cb619865b8b9910c81446675f",
    "ISIC2018_Task1_Training_GroundTruth.zip": "99f8b2bb3c4d6af483362010715f7e7d5d122d9f6c02cac0e0d15bef77c7604c",
    "ISIC2018_Task1-2_Validation_Input.zip": "0ea920fcfe512d12a6e620b50b50233c059f67b10146e1479c82be58ff15a797",
    "ISIC2018_Task1_Validation_GroundTruth.zip": "f6911e9c0a64e6d687dd3ca466ca927dd5e82145cb2163b7a1e5b37d7a716285",
    "ISIC2018_Task1-2_Test_Input.zip": "e59ae1f69f4ed16f09db2cb1d76c2a828487b63d28f6ab85997f5616869b127d",
    "ISIC2018_Task1_Test_GroundTruth.zip": "2e8f6edce454a5bdee52485e39f92bd6eddf357e81f39018d05512175238ef82",
}
_RECORD = "checksums.json"


def download(
    dataset: str,
    root: str | Path,
    parts: Sequence[str] | None = None,
    *,
    base_url: str = BASE_URL,
    keep_archives: bool = False,
    progress: bool | None = None,
    say: Callable[[str], None] = print,
) -> list[Path]:
    """Download, check and unpack a dataset's archives; what is there already is left alone.

    If it is interrupted, the same call resumes: a folder is either complete or absent, and a partly downloaded
    archive is kept as ``<archive>.zip.part``. An archive that the user put into ``root`` is used.

    Args:
        dataset: ``isic2016``, ``isic2017`` or ``isic2018``.
        root: Folder to unpack into; made if needed.
        parts: Some of ``train``, ``val``, ``test``; by default the parts that the paper splits.
        base_url: Address of a mirror that has the same ``<year>/<archive>.zip``.
        keep_archives: Keep the zip files after unpacking.
        progress: Whether to draw a progress bar on stderr; by default, if that is a terminal.
        say: Called with each line for the user: the license first.

    Returns:
        The folders of images and masks, in the order of the parts.

    Raises:
        SkinlesionError: Unknown dataset or part, too little space, or any error of
            :func:`~skinlesion.data.fetch.fetch` and :func:`~skinlesion.data.unzip.unzip`.
    """
    chosen = _chosen(dataset, parts)
    root = Path(root)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(root, error) from error
    say(f"{dataset} is generally said to be licensed under {LICENSES[dataset]}; see the terms on {DATA_PAGE}")
    folders = [root / name for part in chosen for name in (part.images, part.masks)]
    missing = [folder for folder in folders if not folder.is_dir()]
    for folder in folders:
        if folder not in missing:
            say(f"{folder.name}: already there")
    address = f"{base_url.rstrip('/')}/{dataset.removeprefix('isic')}"
    _check_space(root, missing, address)
    show = sys.stderr.isatty() if progress is None else progress
    for folder in missing:
        _get(folder, address, show=show, keep_archive=keep_archives, say=say)
    return folders


def _chosen(dataset: str, parts: Sequence[str] | None) -> list[OfficialPart]:
    if dataset not in OFFICIAL:
        raise SkinlesionError(f"{dataset!r} cannot be downloaded: choose one of {', '.join(OFFICIAL)}.")
    wanted = PAPER_PARTS[dataset] if parts is None else tuple(parts)
    known = {part.part: part for part in OFFICIAL[dataset]}
    if unknown := [name for name in wanted if name not in known]:
        raise SkinlesionError(f"{dataset} has no part {unknown[0]!r}: choose from {', '.join(known)}.")
    return [known[name] for name in dict.fromkeys(wanted)]


def _check_space(root: Path, folders: Sequence[Path], address: str) -> None:
    """Check that all unpacked files and the largest archive fit on the disk, before downloading anything.

    Images don't shrink in a zip, so an archive's size is the space that its files need.
    """
    sizes = [remote_size(f"{address}/{folder.name}.zip") or 0 for folder in folders]
    here = [folder.with_name(f"{folder.name}.zip{end}") for folder in folders for end in ("", ".part")]
    needed = sum(sizes) + max(sizes, default=0) - sum(path.stat().st_size for path in here if path.exists())
    free = shutil.disk_usage(root).free
    if needed > free:
        raise SkinlesionError(
            f"The download needs {megabytes(needed)} and {root} has {megabytes(free)} free: free some space, choose "
            "another folder, or fewer parts."
        )


def _get(folder: Path, address: str, *, show: bool, keep_archive: bool, say: Callable[[str], None]) -> None:
    """Fetch one archive, unless it is there, check it and unpack it to ``folder``."""
    archive = folder.with_name(f"{folder.name}.zip")
    record = archive.with_name(_RECORD)
    recorded = _read_record(record)
    expected = SHA256.get(archive.name, recorded.get(archive.name))
    if archive.exists():
        digest = file_sha256(archive)
        if expected not in (None, digest):
            raise SkinlesionError(f"{archive} doesn't have the expected checksum: delete it and download it again.")
    else:
        say(f"{folder.name}: downloading")
        with _progress_bar(archive.name, show) as on_progress:
            digest = fetch(f"{address}/{archive.name}", archive, sha256=expected, on_progress=on_progress)
    say(f"{folder.name}: unpacking")
    unzip(archive, folder)
    # Recorded only now: every file's CRC was right, so the archive is whole.
    _write_record(record, {**recorded, archive.name: digest})
    if not keep_archive:
        archive.unlink()


@contextmanager
def _progress_bar(name: str, show: bool) -> Iterator[OnProgress | None]:
    if not show:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _read_record(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SkinlesionError(f"{path} is not readable JSON: delete it to record the checksums anew.") from error
    if not isinstance(record, dict) or not all(isinstance(value, str) for value in record.values()):
        raise SkinlesionError(f"{path} does not hold checksums by file name: delete it to record them anew.")
    return record


def _write_record(path: Path, record: dict[str, str]) -> None:
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise disk_error(path, error) from error
