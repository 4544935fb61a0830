"""Decode and resize once, then read from a memory map, so that training never waits for the loader.

A cache entry is one ``.npy`` file of 8-bit values. Its name holds a hash of all that its content depends on (files,
their sizes and times, target size, this file's version): a changed file makes a new entry, and no entry goes stale.
Entries are written under a temporary name and renamed, so several processes may build the same one at once. The
folder may be deleted at any time.
"""

import hashlib
import json
import os
import sys
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from skinlesion.data.images import read_image, read_mask, read_size, resize_image, resize_mask
from skinlesion.data.mask_values import DEFAULT_RULES
from skinlesion.data.sample import Sample, size_mismatch
from skinlesion.errors import SkinlesionError

_VERSION = 1  # raise it when reading or resizing changes

Loader = Callable[[Sample, tuple[int, ...]], np.ndarray]


def cached_arrays(
    samples: Sequence[Sample], size: int, cache_dir: str | Path | None = None, *, mask_size: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return all images and masks of the samples, resized, from the cache, which is filled first if necessary.

    Images are resized by :func:`~skinlesion.data.images.resize_image`, masks with nearest-neighbor interpolation (A33).

    Args:
        samples: at least one, each with a mask.
        size: side of the square images, in pixels.
        cache_dir: folder for the entries; default :func:`default_cache_dir`.
        mask_size: side of the square masks; default ``size``.

    Returns:
        images uint8 (n, size, size, 3) and masks bool (n, mask_size, mask_size), read-only memory maps; in plain
        memory, after a warning that says so, where the folder cannot be written.

    Raises:
        SkinlesionError: a file cannot be used, or an image and its mask differ in size.
    """
    if not samples:
        raise SkinlesionError("There are no images to load: this part of the split is empty.")
    folder = Path(cache_dir) if cache_dir is not None else default_cache_dir()
    mask_size = size if mask_size is None else mask_size
    images = _entry("images", samples, (size, size, 3), np.dtype(np.uint8), _load_image, folder)
    masks = _entry("masks", samples, (mask_size, mask_size), np.dtype(bool), _load_mask, folder)
    return images, masks


def default_cache_dir() -> Path:
    """Return ``SKINLESION_CACHE`` if it is set, otherwise the platform's usual folder for caches."""
    if chosen := os.environ.get("SKINLESION_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return base / "skinlesion"


def _load_image(sample: Sample, shape: tuple[int, ...]) -> np.ndarray:
    image = read_image(sample.image)
    if sample.mask is not None and (text := size_mismatch(sample, image.shape[:2], read_size(sample.mask))):
        raise SkinlesionError(text)
    return resize_image(image, (shape[0], shape[1]))


def _load_mask(sample: Sample, shape: tuple[int, ...]) -> np.ndarray:
    if sample.mask is None:
        raise SkinlesionError(f"{sample.image}: there is no mask for this image.")
    return resize_mask(read_mask(sample.mask, rules=sample.rules), (shape[0], shape[1]))


def _entry(
    kind: str,
    samples: Sequence[Sample],
    shape: tuple[int, ...],
    dtype: np.dtype,
    load: Loader,
    folder: Path,
) -> np.ndarray:
    path = folder / f"{kind}-{shape[0]}-{_key(samples, kind)}.npy"
    full_shape = (len(samples), *shape)
    try:
        entry = _open_entry(path, full_shape, dtype)
        if entry is None:
            _write_entry(path, full_shape, dtype, _load_all(kind, samples, shape, load))
            entry = _open_entry(path, full_shape, dtype)
    except OSError as error:
        warnings.warn(
            f"The cache folder {folder} cannot be used ({error.strerror}): the {kind} are kept in memory and decoded "
            "again at each start. Set SKINLESION_CACHE to a folder with free space.",
            RuntimeWarning,
            stacklevel=3,
        )
        entry = np.stack(list(_load_all(kind, samples, shape, load)))
    if entry is None:
        raise SkinlesionError(f"{path}: the cache entry disappeared while it was being read. Run the command again.")
    return entry


def _key(samples: Sequence[Sample], kind: str) -> str:
    """Hash images and masks both, for either kind: their sizes were compared with each other."""
    files: list[object] = [str(rules) for rules in sorted({s.rules for s in samples} - {DEFAULT_RULES}, key=str)]
    for sample in samples:
        for path in (sample.image, sample.mask):
            if path is not None:
                try:
                    status = path.stat()
                except OSError as error:
                    raise SkinlesionError(f"{path} cannot be read ({error.strerror}).") from error
                files.append([str(path.absolute()), status.st_size, status.st_mtime_ns])
    return hashlib.sha256(json.dumps([_VERSION, kind, files]).encode()).hexdigest()[:24]


def _load_all(kind: str, samples: Sequence[Sample], shape: tuple[int, ...], load: Loader) -> Iterator[np.ndarray]:
    """Decode with a thread pool (Pillow releases the lock), in order, a bounded number ahead."""
    workers = os.cpu_count() or 1
    chunk = 8 * workers
    starts = track(
        range(0, len(samples), chunk),
        description=f"Decoding {len(samples)} {kind} once",
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with ThreadPoolExecutor(workers) as pool:
        for start in starts:
            yield from pool.map(lambda sample: load(sample, shape), samples[start : start + chunk])


def _write_entry(path: Path, shape: tuple[int, ...], dtype: np.dtype, arrays: Iterator[np.ndarray]) -> None:
    """Write array by array, so that a full disk is an error here and not a crash in a memory map later."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for array in arrays:
                file.write(np.ascontiguousarray(array, dtype).tobytes())
        try:
            os.replace(temporary, path)
        except PermissionError:
            # Windows does not replace a file that another process has mapped: then that process has just built it.
            if not path.exists():
                raise
    finally:
        temporary.unlink(missing_ok=True)


def _open_entry(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray | None:
    """Map an entry; None if it is not there. One that is damaged is rebuilt."""
    try:
        entry = np.load(path, mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return entry if entry.shape == shape and entry.dtype == dtype else None
