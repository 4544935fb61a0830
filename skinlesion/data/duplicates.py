"""Near-duplicate images of a dataset: the same photo with other colors, size or compression, flipped or rotated.

Each image becomes a small map of brightness gradients, with its large-scale shading removed and its local contrast
equalized; otherwise any two dark spots on bright skin would look alike. Two images are near-duplicates if their maps
correlate. On the 2150 images of ISIC 2017 (2.3 million pairs) all pairs above the default threshold are the same photo.
A crop at a different magnification, or another photo of the same lesion, isn't found; use ``groups.csv`` for those.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from skinlesion.data.images import read_image
from skinlesion.data.same_lesion import joined
from skinlesion.data.sample import Sample
from skinlesion.errors import SkinlesionError

THRESHOLD = 0.7
_SIDE = 32  # pixels of the map
_SHADING, _LOCAL = 3.0, 3.0  # standard deviations of the Gaussians, in pixels of the map
_BLOCK = 512  # images compared at once
_FLAT = 1e-3  # a norm below it: an image of one color matches no other


class Pair(NamedTuple):
    """Two near-duplicates: ids in order, and the correlation of their maps, at most 1."""

    a: str
    b: str
    correlation: float


class Duplicates(NamedTuple):
    """What `find_duplicates` found: pairs, most likely first, and (file, reason) of images that cannot be read."""

    pairs: list[Pair]
    failed: list[tuple[Path, str]]

    @property
    def groups(self) -> list[list[str]]:
        """Ids that are linked by pairs, directly or through others."""
        ids = {id for pair in self.pairs for id in pair[:2]}
        return joined(ids, [pair[:2] for pair in self.pairs])


def find_duplicates(
    samples: Sequence[Sample],
    threshold: float = THRESHOLD,
    *,
    progress: Callable[[int, int], object] | None = None,
) -> Duplicates:
    """Compare every image with every other one, in all eight flips and rotations.

    Args:
        samples: their masks are ignored.
        threshold: least correlation of a pair, in (0, 1].
        progress: called with (images read, images in all) after each block.

    Raises:
        SkinlesionError: the threshold is out of range.
    """
    if not 0 < threshold <= 1:
        raise SkinlesionError(f"--threshold must be above 0 and at most 1, such as {THRESHOLD}; got {threshold}.")
    maps: list[np.ndarray] = []
    ids: list[str] = []
    failed: list[tuple[Path, str]] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(samples), _BLOCK):
            block = samples[start : start + _BLOCK]
            for sample, found in zip(block, pool.map(_brightness, block), strict=True):
                if isinstance(found, str):
                    failed.append((sample.image, found))
                else:
                    ids.append(sample.id)
                    maps.append(found)
            if progress is not None:
                progress(start + len(block), len(samples))
    pairs = list(_compare(np.stack(maps), ids, threshold)) if maps else []
    return Duplicates(sorted(pairs, key=lambda pair: (-pair.correlation, pair[:2])), failed)


def _compare(maps: np.ndarray, ids: list[str], threshold: float) -> Iterator[Pair]:
    """Compare block by block, so that memory grows with the images and not with the pairs."""
    plain = features(maps)
    for start in range(0, len(maps), _BLOCK):
        block = maps[start : start + _BLOCK]
        best = np.full((len(block), len(maps) - start), -1.0, np.float32)
        for turned in symmetries(block):
            np.maximum(best, features(turned) @ plain[start:].T, out=best)
        for i, j in np.argwhere(best >= threshold):
            if i < j:
                a, b = sorted((ids[start + i], ids[start + j]))
                yield Pair(a, b, round(float(min(best[i, j], 1)), 4))


def symmetries(maps: np.ndarray) -> Iterator[np.ndarray]:
    """The eight flips and quarter turns of square maps (n, s, s)."""
    for flipped in (maps, maps[:, :, ::-1]):
        for turns in range(4):
            yield np.rot90(flipped, turns, axes=(1, 2))


def features(maps: np.ndarray) -> np.ndarray:
    """Unit vectors whose scalar product is the correlation of two images.

    Args:
        maps: brightness, float32 (n, s, s), in [0, 255].

    Returns:
        float32 (n, 2 (s - 1)^2); zeros for an image of one color.
    """
    light = np.log(maps + 8)
    light = light - gaussian_filter(light, (0, _SHADING, _SHADING))
    across, down = np.diff(light, axis=2)[:, 1:], np.diff(light, axis=1)[:, :, 1:]  # (n, s - 1, s - 1) each
    contrast = np.sqrt(gaussian_filter(across**2 + down**2, (0, _LOCAL, _LOCAL)) + 1e-4)
    flat = np.concatenate([(across / contrast).reshape(len(maps), -1), (down / contrast).reshape(len(maps), -1)], 1)
    flat -= flat.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.where(norm > _FLAT, flat / np.maximum(norm, _FLAT), 0).astype(np.float32)


def _brightness(sample: Sample) -> np.ndarray | str:
    """A square map of the image's brightness, float32 (s, s); or why it cannot be read."""
    try:
        image = Image.fromarray(read_image(sample.image)).convert("L")
    except SkinlesionError as error:
        return str(error)
    return np.asarray(image.resize((_SIDE, _SIDE), Image.Resampling.BOX), np.float32)
