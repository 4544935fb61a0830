"""The images that can be looked at: those that come with the package, and a visitor's own."""

import functools
import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import PurePath

import numpy as np
import streamlit as st

from dashboard import visits
from dashboard.text import file_name
from skinlesion.data.decoding import IMAGE_SUFFIXES
from skinlesion.data.images import read_image, read_mask, read_size, resize_image, resize_mask
from skinlesion.data.sample import Sample, size_mismatch
from skinlesion.data.samples import bundled_samples
from skinlesion.errors import SkinlesionError
from skinlesion.overlay import thumbnail

SHOWN = 1024  # pixels along the longer side of what is shown; files are segmented as they are
MAX_BYTES = 10_000_000
MAX_PIXELS = 25_000_000
MAX_FILES = 16
MAX_TOTAL = 60_000_000  # bytes of one visitor's files in memory
KINDS = tuple(sorted(suffix.removeprefix(".") for suffix in IMAGE_SUFFIXES))
LIMITS = (
    f"{', '.join(kind.upper() for kind in ('jpeg', 'png', 'tiff', 'webp', 'bmp', 'gif', 'avif', 'heic'))}; at most "
    f"{MAX_BYTES // 1_000_000} MB and {MAX_PIXELS // 1_000_000} million pixels each, {MAX_FILES} files. They stay in "
    "memory, are shown only to you, and are deleted an hour after you last used them. To add an image's true mask, "
    "upload it together with the image, as IMAGE_mask.png or IMAGE_segmentation.png."
)


_OPENED = "_opened"


@dataclass(frozen=True, eq=False)
class Picture:
    """One image.

    Attributes:
        id: unique for this visitor.
        title: a line for a menu.
        note: a sentence on where it comes from.
        key: SHA-256 of the file, by which caches know it.
        data: the file.
        image: as it is shown, uint8 (H, W, 3), at most `SHOWN` pixels long.
        size: (height, width) of the file's image.
        truth: the true mask as it is shown, bool (H, W), if it is known.
        tiny: 96 pixels long, for galleries.
        mine: whether the visitor uploaded it.
    """

    id: str
    title: str
    note: str
    key: str
    data: bytes
    image: np.ndarray
    size: tuple[int, int]
    truth: np.ndarray | None
    tiny: np.ndarray
    mine: bool

    def full(self) -> np.ndarray:
        """The file's image at its own size, uint8 (H, W, 3)."""
        return read_image(self.data, name=self.title)


@functools.lru_cache(maxsize=1)
def samples() -> dict[str, Picture]:
    """The images that come with the package, by id: real ones first, since they are what it is about."""
    found = sorted(bundled_samples(), key=lambda sample: sample.kind)
    pictures = {}
    for sample in found:
        data = sample.image_path.read_bytes()
        picture = _picture(sample.id, sample.title, sample.note, data, mine=False)
        pictures[sample.id] = _with_truth(picture, read_mask(sample.mask_path))
    return pictures


def local_picture(sample: Sample) -> Picture:
    """One image of a set on this machine, with its true mask.

    Raises:
        SkinlesionError: a file cannot be read, or they do not belong together.
    """
    try:
        data = sample.image.read_bytes()
    except OSError as error:
        raise SkinlesionError(f"{sample.image.name} cannot be read ({error.strerror}).") from error
    picture = _picture(sample.id, sample.id, "An image of the local set.", data, mine=False)
    truth = read_mask(sample.mask) if sample.mask is not None else None
    if truth is None:
        return picture
    if wrong := size_mismatch(sample, picture.size, truth.shape):
        raise SkinlesionError(wrong)
    return _with_truth(picture, resize_mask(truth, picture.image.shape[:2]))


def _with_truth(picture: Picture, truth: np.ndarray) -> Picture:
    return Picture(**{**vars(picture), "truth": truth})


def _picture(id: str, title: str, note: str, data: bytes, *, mine: bool) -> Picture:
    image = read_image(data, name=title)
    size = (image.shape[0], image.shape[1])
    scale = min(1.0, SHOWN / max(size))
    shown = resize_image(image, (max(1, round(size[0] * scale)), max(1, round(size[1] * scale))))
    tiny = thumbnail(shown, 96)
    return Picture(id, title, note, hashlib.sha256(data).hexdigest(), data, shown, size, None, tiny, mine)


def read_upload(name: str, data: bytes) -> Picture:
    """A visitor's file, after checks of its bytes and of the pixels that its header promises.

    Raises:
        SkinlesionError: it is too large, or can't be read as an image.
    """
    title = file_name(name)
    if len(data) > MAX_BYTES:
        raise SkinlesionError(
            f"{title} is {len(data) / 1e6:.0f} MB; the limit is {MAX_BYTES // 1_000_000} MB. Upload a smaller file."
        )
    height, width = read_size(data, name=title, most=MAX_PIXELS)
    digest = hashlib.sha256(data).hexdigest()
    note = f"Your image, {width} x {height} pixels."
    return _picture(f"mine-{digest[:12]}", title, note, data, mine=True)


def uploads() -> dict[str, Picture]:
    """This visitor's images, by id."""
    return visits.pictures()


def add_uploads(files: list[tuple[str, bytes]]) -> tuple[list[Picture], list[str]]:
    """Add a visitor's files; if there are too many, the oldest are removed.

    Returns:
        The new images, and a sentence for each file that cannot be used.
    """
    mine, problems, added = uploads(), [], []
    taken = files[:MAX_FILES]
    stems = {PurePath(file_name(name)).stem.casefold() for name, _ in taken}
    masks = [(name, data) for name, data in taken if _of_image(name) in stems]
    for name, data in (file for file in taken if file not in masks):
        try:
            picture = read_upload(name, data)
        except SkinlesionError as error:
            problems.append(str(error))
            continue
        mine.pop(picture.id, None)
        mine[picture.id] = picture
        added.append(picture)
    for name, data in masks:
        try:
            _add_truth(mine, added, name, data)
        except SkinlesionError as error:
            problems.append(str(error))
    if len(files) > MAX_FILES:
        problems.append(
            f"Only the first {MAX_FILES} of {len(files)} files were added. If you upload the others, the oldest images "
            "are removed."
        )
    while len(mine) > MAX_FILES or sum(len(picture.data) for picture in mine.values()) > MAX_TOTAL:
        mine.pop(next(iter(mine)))
    return added, problems


_MASK = re.compile(r"(.+)_(?:mask|segmentation)", re.IGNORECASE)


def _of_image(name: str) -> str | None:
    """The image that a file is the true mask of, by its name; None if it is an image itself."""
    found = _MASK.fullmatch(PurePath(file_name(name)).stem)
    return found.group(1).casefold() if found else None


def _add_truth(mine: dict[str, Picture], added: list[Picture], name: str, data: bytes) -> None:
    """Give an image that was just uploaded its true mask.

    Raises:
        SkinlesionError: it isn't a mask, or it has another size.
    """
    title = file_name(name)
    if len(data) > MAX_BYTES:
        raise SkinlesionError(f"{title} is larger than {MAX_BYTES // 1_000_000} MB. Reduce it and try again.")
    height, width = read_size(data, name=title)
    if height * width > MAX_PIXELS:
        raise SkinlesionError(
            f"{title} is too large ({width} x {height} pixels). Reduce it to at most {MAX_PIXELS // 1_000_000} million "
            "pixels."
        )
    truth = read_mask(data, name=title)
    for i, picture in enumerate(added):
        if PurePath(picture.title).stem.casefold() != _of_image(name):
            continue
        if truth.shape != picture.size:
            height, width = picture.size
            raise SkinlesionError(
                f"{title} is {truth.shape[1]} x {truth.shape[0]} pixels, but its image is {width} x {height}: the "
                "sizes must match."
            )
        added[i] = mine[picture.id] = _with_truth(picture, resize_mask(truth, picture.image.shape[:2]))


def all_pictures() -> dict[str, Picture]:
    """Everything this visitor can look at: uploads, then images opened from local sets, then the package's own."""
    return {**uploads(), **opened(), **samples()}


def opened() -> dict[str, Picture]:
    """Images of local sets that this visitor has opened, by id."""
    return st.session_state.setdefault(_OPENED, {})


def keep_open(id: str, picture: Picture) -> None:
    """Put an image of a local set among those that can be chosen; the oldest give way."""
    opened()[id] = replace(picture, id=id)
    while len(opened()) > MAX_FILES:
        opened().pop(next(iter(opened())))
