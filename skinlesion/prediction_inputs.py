"""Which files a prediction is made for, what its outputs are called, and which files they must not replace."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from skinlesion.data.decoding import IMAGE_SUFFIXES
from skinlesion.data.pairing import FOLDERS, left_out_line, no_image
from skinlesion.errors import SkinlesionError
from skinlesion.prediction_table import FILE
from skinlesion.text import cell, printable

_LONGEST = 180  # bytes of an output's name without its ending: file systems allow 255 for all of it
_FORBIDDEN = '<>:"/\\|?*'  # on Windows


class Inputs(NamedTuple):
    """The image files behind files and folders, and a line for each folder in which files were left out."""

    images: list[Path]
    left_out: list[str]


def collect_inputs(inputs: Iterable[str | Path]) -> Inputs:
    """The image files behind files and folders; a folder's are sorted, subfolders are not searched.

    Raises:
        SkinlesionError: there is no input at all, or a folder cannot be listed or contains no images.
    """
    paths = [Path(path) for path in inputs]
    if not paths:
        raise SkinlesionError("No image was given: name image files or folders.")
    found = Inputs([], [])
    for path in paths:
        if os.path.isdir(path):  # unlike Path.is_dir it takes any name
            _add_folder(path, found)
        else:
            found.images.append(path)  # a missing file is reported with the other files that cannot be read
    return found


def expand_inputs(inputs: Iterable[str | Path]) -> Iterator[Path]:
    """Like `collect_inputs`, but only the images."""
    yield from collect_inputs(inputs).images


def unique_names(images: Iterable[Path], taken: Iterable[str] = ()) -> list[str]:
    """A name for each image's outputs: its own without suffix, then with -2, -3, ...

    Case is ignored, since some file systems ignore it. Outputs of two images cannot have the same name, since
    "a" and "a_mask" would need "a_mask_mask.png".

    Args:
        images: in order.
        taken: names that are already taken.
    """
    used = {name.casefold() for name in taken}
    names = []
    for image in images:
        stem = name = output_name(image)
        number = 1
        while name.casefold() in used:
            number += 1
            name = f"{stem}-{number}"
        used.add(name.casefold())
        names.append(name)
    return names


def output_name(image: Path) -> str:
    """The image's name without suffix as every file system and terminal accepts it: plain characters, not too many."""
    plain = "".join("_" if c in _FORBIDDEN or printable(c) != c else c for c in image.stem) or "image"
    if cell(plain) != plain or plain.startswith("-"):
        plain = f"_{plain}"  # neither a formula in the table nor an option on a command line
    raw = plain.encode()
    if len(raw) <= _LONGEST:
        return plain
    digest = hashlib.sha256(os.fsencode(image.stem)).hexdigest()[:8]
    return f"{raw[: _LONGEST - 9].decode(errors='ignore')}-{digest}"


def output_paths(out: Path, name: str) -> tuple[Path, Path]:
    """Where an image's mask and overlay go."""
    return out / f"{name}_mask.png", out / f"{name}_overlay.png"


def refuse_inputs(out: Path, names: list[str], images: list[Path]) -> None:
    """An image must not be replaced by another one's mask, whatever the options are."""
    given = {_real(image) for image in images}
    for name in names:
        for path in output_paths(out, name):
            if _real(path) in given:
                raise SkinlesionError(
                    f"{printable(path)} is one of the images and would be overwritten: choose another --out."
                )


def refuse_existing(out: Path, names: list[str]) -> None:
    """Existing files are not replaced unless requested."""
    wanted = [out / FILE, *(path for name in names for path in output_paths(out, name))]
    present = [path for path in wanted if path.exists()]
    if present:
        more = f" and {len(present) - 1} more" if len(present) > 1 else ""
        raise SkinlesionError(
            f"{printable(present[0])} exists already{more}: choose another --out, continue an interrupted batch with "
            "--resume, or replace the files with --overwrite."
        )


def _real(path: Path) -> str:
    """The path with links resolved, without failing for a loop of links or a name that cannot exist."""
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):
        return str(path)


def _add_folder(folder: Path, found: Inputs) -> None:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise SkinlesionError(f"{printable(folder)} cannot be listed ({error.strerror}).") from error
    left_out: dict[str, list[str]] = {}
    images = []
    for entry in entries:
        if reason := no_image(entry):
            left_out.setdefault(reason, []).append(entry.name)
        else:
            images.append(entry)
    line = left_out_line(folder, left_out)
    if not images:
        empty = f"{printable(folder)} contains no images ({', '.join(sorted(IMAGE_SUFFIXES))})."
        hint = "Subfolders aren't searched: give them as inputs, too." if FOLDERS in left_out else ""
        raise SkinlesionError(" ".join(filter(None, (empty, line, hint))))
    found.images.extend(images)
    if line:
        found.left_out.append(line)
