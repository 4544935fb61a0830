"""Random synthetic images that aren't dermoscopy: what the out-of-distribution score learns to tell from lesions.

Photographs are not among them. Dead leaves (overlapping shapes of many sizes, https://doi.org/10.1023/A:1011131516003)
and noise with a power-law spectrum have the edges and the spectra of natural scenes, so a score that was fitted on them
can be tested on photographs, which it has never seen.
"""

from collections.abc import Callable

import cv2
import numpy as np

SIDE = 192  # pixels
Random = np.random.Generator


def outlier(seed: int) -> np.ndarray:
    """Draw one: overlapping shapes, colored noise, text, a drawing or pixel noise, in turn.

    Args:
        seed: at least 0; the same seed gives the same image.

    Returns:
        uint8 (192, 192, 3) RGB.
    """
    draws: list[Callable[[Random], np.ndarray]] = [_leaves, _leaves, _fractal, _text, _drawing, _noise]
    return draws[seed % len(draws)](np.random.default_rng((seed, 77)))


def plain_skin(image: np.ndarray, mask: np.ndarray) -> np.ndarray | None:
    """A corner of an image without lesion; None if all four contain lesion or are dark.

    Args:
        image: uint8 (H, W, 3).
        mask: bool (H, W).

    Returns:
        uint8, two fifths of the height and the width.
    """
    rows, columns = (2 * side // 5 for side in mask.shape)
    for row in (slice(None, rows), slice(-rows, None)):
        for column in (slice(None, columns), slice(-columns, None)):
            if not mask[row, column].any() and image[row, column].min() > 60:
                return image[row, column]
    return None


def _colors(rng: Random, n: int) -> np.ndarray:
    """(n, 3) colors: any, gray, or similar."""
    kind = rng.integers(3)
    if kind == 0:
        return rng.integers(0, 256, (n, 3))
    if kind == 1:
        return rng.integers(0, 256, (n, 1)).repeat(3, axis=1)
    return np.clip(rng.integers(0, 256, 3) + rng.normal(0, rng.choice([15, 40, 80]), (n, 3)), 0, 255).astype(int)


def _color(rng: Random) -> tuple[int, int, int]:
    return tuple(_colors(rng, 1)[0].tolist())


def _blank(rng: Random) -> np.ndarray:
    return np.full((SIDE, SIDE, 3), _color(rng), np.uint8)


def _point(rng: Random) -> tuple[int, int]:
    return tuple(rng.integers(0, SIDE, 2).tolist())


def _leaves(rng: Random) -> np.ndarray:
    """Shapes that cover each other, a few large and many small; then, at random, noise, blur or uneven light."""
    image, colors = _blank(rng), _colors(rng, int(rng.integers(5, 400))).tolist()
    shape = rng.integers(4)  # the fourth is all of them
    for color in colors:
        radius = float(np.clip(0.02 * SIDE / rng.random() ** 0.6, 2, SIDE / 2))
        center, kind = _point(rng), rng.integers(3) if shape == 3 else shape
        if kind == 0:
            cv2.circle(image, center, int(radius), color, -1)
        else:
            sides = (2 * radius, 2 * radius * rng.uniform(0.2, 1))
            box = cv2.boxPoints((center, sides, rng.uniform(0, 180)))
            corners = box if kind == 1 else np.array(center) + rng.normal(0, radius, (rng.integers(3, 6), 2))
            cv2.fillPoly(image, [corners.astype(np.int32)], color)
    if rng.random() < 0.5:
        image = np.clip(image + rng.normal(0, rng.choice([3, 10, 25]), image.shape), 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 3))
    if rng.random() < 0.5:
        image = np.clip(image * (0.5 + _fractal(rng) / 255), 0, 255).astype(np.uint8)
    return image


def _fractal(rng: Random) -> np.ndarray:
    """Noise whose amplitude falls as a power of the frequency, gray, in two colors, or with independent channels."""
    f = np.fft.fftfreq(SIDE)
    frequency = np.hypot(f[:, None], f)
    frequency[0, 0] = 1
    noise = rng.normal(size=(3, SIDE, SIDE))
    waves = np.fft.ifft2(np.fft.fft2(noise) / frequency ** rng.uniform(0, 2.2)).real
    low, high = waves.min((1, 2), keepdims=True), waves.max((1, 2), keepdims=True)
    field = np.moveaxis((waves - low) / (high - low), 0, -1)  # (SIDE, SIDE, 3)
    kind = rng.integers(3)
    if kind == 0:
        first, second = _colors(rng, 2)
        return (first * (1 - field[..., :1]) + second * field[..., :1]).astype(np.uint8)
    return (255 * (field if kind == 1 else field[..., :1].repeat(3, axis=2))).astype(np.uint8)


def _text(rng: Random) -> np.ndarray:
    """Lines of characters and of bars that look like words."""
    image, color = _blank(rng), _color(rng)
    height = int(rng.integers(4, 20))
    for y in range(int(rng.integers(0, 20)), SIDE, height + int(rng.integers(2, height + 3))):
        x, end = int(rng.integers(0, 20)), SIDE * rng.uniform(0.5, 1)
        while x < end:
            width = int(rng.integers(2, 3 * height))
            if rng.random() < 0.5:
                image[y : y + height * 2 // 3, x : x + width] = color
            else:
                letter, font = chr(rng.integers(33, 127)), int(rng.integers(0, 8))
                cv2.putText(image, letter, (x, y + height), font, height / 24, color, 1, cv2.LINE_AA)
            x += width + int(rng.integers(1, height))
    return image


def _drawing(rng: Random) -> np.ndarray:
    """A few outlines and filled shapes on one color."""
    image = _blank(rng)
    for _ in range(rng.integers(1, 12)):
        color, a, b = _color(rng), _point(rng), _point(rng)
        width = -1 if rng.random() < 0.5 else int(rng.integers(1, 5))
        kind = rng.integers(3)
        if kind == 0:
            cv2.rectangle(image, a, b, color, width)
        elif kind == 1:
            cv2.ellipse(image, a, tuple(rng.integers(5, SIDE // 2, 2).tolist()), 0, 0, 360, color, width)
        else:
            cv2.line(image, a, b, color, abs(width))
    return image


def _noise(rng: Random) -> np.ndarray:
    """Uniform, normal or sparse pixel noise, sometimes blurred or tinted."""
    shape = (SIDE, SIDE, 1 if rng.random() < 0.5 else 3)
    kind = rng.integers(3)
    if kind == 0:
        noise = rng.random(shape)
    elif kind == 1:
        noise = rng.normal(0.5, rng.uniform(0.02, 0.3), shape)
    else:
        noise = (rng.random(shape) < rng.uniform(0.02, 0.5)).astype(float)
    field = np.broadcast_to(noise, (SIDE, SIDE, 3)).astype(np.float32)
    if rng.random() < 0.4:
        field = np.asarray(cv2.GaussianBlur(field, (0, 0), rng.uniform(0.5, 40)), np.float32)
        field = (field - field.min()) / (np.ptp(field) + 1e-9)
    if rng.random() < 0.4:
        field = (field + _colors(rng, 1)[0] / 255) / 2
    return (255 * field.clip(0, 1)).astype(np.uint8)
