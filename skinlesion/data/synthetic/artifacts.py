"""What lies between skin and lens, and is not lesion: hair, ruler, ink, sticker, bubbles, glints."""

import math
from itertools import pairwise

import numpy as np

from skinlesion.data.synthetic.canvas import Canvas
from skinlesion.data.synthetic.fields import ASPECT, Grid, fractal, noise, sigmoid, stream
from skinlesion.data.synthetic.recipe import Recipe
from skinlesion.data.synthetic.shape import Shape

_INK = np.array([1.05, 1.25, 0.35], dtype=np.float32)  # optical density of violet pen
_DISC_COLORS = ((0.03, 0.55, 0.8), (0.97, 0.6, 0.12), (0.35, 0.7, 0.3), (0.9, 0.85, 0.25), (0.85, 0.2, 0.2))
_CHART_COLORS = (
    (0.8, 0.15, 0.15),
    (0.2, 0.6, 0.25),
    (0.15, 0.3, 0.7),
    (0.9, 0.8, 0.2),
    (0.9, 0.9, 0.9),
    (0.1, 0.1, 0.1),
)


def add_ink(color: np.ndarray, recipe: Recipe, seed: int, shape: Shape, grid: Grid) -> np.ndarray:
    """Draw violet pen marks on the skin beside the lesion: scribbles that skip over the skin's relief."""
    if not recipe.ink:
        return color
    rng = stream(seed, "ink")
    canvas = Canvas(grid)
    for _ in range(int(rng.integers(1, 4))):
        x, y = _beside(rng, shape, 0.12)
        heading, length = rng.uniform(0, math.pi), rng.uniform(0.12, 0.3)
        turns = int(rng.integers(18, 45))
        along = np.linspace(-0.5, 0.5, turns) * length + rng.normal(0, 0.015, turns)
        across = rng.uniform(0.02, 0.05) * rng.uniform(0.2, 1.3, turns) * np.where(np.arange(turns) % 2, 1, -1)
        px = x + along * math.cos(heading) - across * math.sin(heading)
        py = y + along * math.sin(heading) + across * math.cos(heading)
        for i in range(turns - 1):
            canvas.strand(np.array([[px[i], py[i]], [px[i + 1], py[i + 1]]]), rng.uniform(0.004, 0.008))
    skipping = sigmoid(2.5 * noise(rng, grid, 55) + 1.0)
    return color * np.exp(-(rng.uniform(0.7, 1.2) * canvas.coverage() * skipping)[..., None] * _INK)


def add_hair(color: np.ndarray, recipe: Recipe, seed: int, grid: Grid) -> np.ndarray:
    """Lay curved, tapering hairs over everything, most of them in one direction."""
    if recipe.hair_count == 0:
        return color
    rng = stream(seed, "hair")
    canvas = Canvas(grid)
    heading, spread = rng.uniform(0, math.pi), rng.uniform(0.15, 0.9)
    long, thick = rng.uniform(0.15, 1.0), rng.uniform(0.0025, 0.0075)
    for _ in range(recipe.hair_count):
        angle = heading + rng.normal(0, spread)
        length = long * rng.uniform(0.6, 1.4)
        bend = rng.normal(0, 0.9)
        curl = rng.normal(0, 0.6)
        t = np.linspace(-0.5, 0.5, 24)
        direction = angle + bend * t + curl * 6 * t**2 * t
        steps = np.stack([np.cos(direction), np.sin(direction)], axis=1) * (length / 23)
        middle = np.array([rng.uniform(0, ASPECT), rng.uniform(0, 1)])
        points = middle + np.cumsum(steps, axis=0) - steps.sum(axis=0) / 2
        width = thick * rng.uniform(0.7, 1.3)
        canvas.strand(points, width, 0.35 * width, rng.uniform(0.65, 1.0))
    coverage = canvas.coverage()[..., None]
    if recipe.hair == "dark":
        shade = np.array([0.2, 0.13, 0.1], dtype=np.float32) * rng.uniform(0.4, 1.5)
        return color + coverage * 0.92 * (shade - color)
    shade = np.array([0.95, 0.88, 0.74], dtype=np.float32)
    return color + coverage * 0.6 * (shade - color)


def add_ruler(color: np.ndarray, recipe: Recipe, seed: int, shape: Shape, grid: Grid) -> np.ndarray:
    """Overlay a millimeter scale: a bar with MM under it, or tick marks along an edge."""
    if recipe.ruler == "none":
        return color
    rng = stream(seed, "ruler")
    canvas = Canvas(grid)
    (_bar if recipe.ruler == "bar" else _ticks)(rng, canvas, shape)
    black = np.array([0.1, 0.09, 0.09], dtype=np.float32)
    return color + (0.85 * canvas.coverage())[..., None] * (black - color)


def _bar(rng: np.random.Generator, canvas: Canvas, shape: Shape) -> None:
    angle, length = rng.normal(0, 0.12), rng.uniform(0.5, 0.62)
    below = shape.center[1] < 0.62
    left = np.array([rng.uniform(0.2, 0.6), rng.uniform(0.8, 0.88) if below else rng.uniform(0.08, 0.14)])
    along = np.array([math.cos(angle), math.sin(angle)])
    up = np.array([along[1], -along[0]])

    def line(a: tuple[float, float], b: tuple[float, float], width: float) -> None:
        ends = [left + p[0] * along + p[1] * up for p in (a, b)]
        canvas.strand(np.array(ends), width)

    line((0, 0), (length, 0), 0.0045)
    for mark in range(13):
        height = 0.045 if mark % 6 == 0 else 0.034 if mark % 3 == 0 else 0.024
        line((mark * length / 12, 0), (mark * length / 12, height), 0.0045)
    for start in (0.0, 0.032):  # the letters MM
        corners = [
            (start, -0.05),
            (start, -0.022),
            (start + 0.011, -0.04),
            (start + 0.022, -0.022),
            (start + 0.022, -0.05),
        ]
        for a, b in pairwise(corners):
            line(a, b, 0.005)


def _ticks(rng: np.random.Generator, canvas: Canvas, shape: Shape) -> None:
    """Marks along the left or right edge, or on an arc around the frame's center; every fifth is longer."""
    side = -1 if shape.center[0] > ASPECT / 2 else 1
    center = np.array([ASPECT / 2, 0.5])
    if rng.random() < 0.5:
        gap, first = rng.uniform(0.08, 0.12), rng.uniform(-0.75, 0.4)
        turns = first + gap * np.arange(rng.integers(5, 10))
        roots = center + 0.68 * np.stack([side * np.cos(turns), np.sin(turns)], axis=1)
        inward = (center - roots) / 0.68
    else:
        gap = rng.uniform(0.055, 0.09)
        y = np.arange(rng.uniform(0, gap), 1, gap)
        roots = np.stack([np.full_like(y, ASPECT / 2 + side * ASPECT / 2), y], axis=1)
        inward = np.tile([-float(side), 0.0], (len(y), 1))
    for mark, (root, toward) in enumerate(zip(roots, inward, strict=True)):
        canvas.strand(np.array([root, root + toward * (0.075 if mark % 5 == 2 else 0.05)]), 0.007)


def add_sticker(color: np.ndarray, recipe: Recipe, seed: int, shape: Shape, grid: Grid) -> np.ndarray:
    """Cover part of the frame's edge, away from the lesion, with a colored disc or a strip of color patches."""
    if recipe.sticker == "none":
        return color
    rng = stream(seed, "sticker")
    side = -1 if shape.center[0] > ASPECT / 2 else 1
    room = ASPECT / 2 - side * (shape.center[0] - ASPECT / 2) - 1.3 * shape.radius
    weave = 1 + 0.05 * noise(rng, grid, 110) + 0.03 * fractal(rng, grid, 3, 2)
    if recipe.sticker == "disc":
        radius = rng.uniform(0.28, 0.42)
        edge = ASPECT / 2 + side * (ASPECT / 2 - float(np.clip(room, 0.06, 0.33)))
        center = (edge + side * radius, rng.uniform(0.25, 0.75))
        canvas = Canvas(grid)
        canvas.disc(center, radius)
        coverage = canvas.coverage()[..., None]
        paint = np.array(_DISC_COLORS[rng.integers(len(_DISC_COLORS))], dtype=np.float32)
        return color + coverage * (paint * weave[..., None] - color)
    wide = float(np.clip(room, 0.05, 0.13))
    for patch, shade in enumerate(_CHART_COLORS):
        canvas = Canvas(grid)
        x = ASPECT / 2 + side * (ASPECT / 2 - wide / 2)
        y = (patch + 0.5) / len(_CHART_COLORS)
        tall = 0.45 / len(_CHART_COLORS)
        canvas.strand(np.array([[x, y - tall], [x, y + tall]]), wide)
        target = np.array(shade, dtype=np.float32) * weave[..., None]
        color = color + canvas.coverage()[..., None] * (target - color)
    return color


def add_bubbles(color: np.ndarray, recipe: Recipe, seed: int, grid: Grid) -> np.ndarray:
    """Draw gel bubbles: a dark rim, a pale inside, a bright spot toward the lamp and a fainter one opposite."""
    if recipe.bubbles == 0:
        return color
    rng = stream(seed, "bubbles")
    color = color.copy()
    lamp = rng.uniform(0, 2 * math.pi)
    cluster = np.array([rng.uniform(0.1, ASPECT - 0.1), rng.uniform(0.1, 0.9)])
    for _ in range(recipe.bubbles):
        near = rng.random() < 0.5
        spot = cluster + rng.normal(0, 0.1, 2) if near else np.array([rng.uniform(0, ASPECT), rng.uniform(0, 1)])
        radius = 0.008 + 0.012 * rng.exponential()
        _bubble(color, grid, spot, min(radius, 0.06), lamp, rng.uniform(0.5, 1.0))
    return color


def _bubble(color: np.ndarray, grid: Grid, spot: np.ndarray, radius: float, lamp: float, strength: float) -> None:
    rows = np.flatnonzero(np.abs(grid.y - spot[1]) < 1.4 * radius + grid.pixel)
    columns = np.flatnonzero(np.abs(grid.x - spot[0]) < 1.4 * radius + grid.pixel)
    if not (len(rows) and len(columns)):
        return
    window = color[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    x = (grid.x[columns] - spot[0]) / radius
    y = ((grid.y[rows] - spot[1]) / radius)[:, None]
    distance = np.hypot(x, y)
    rim_width = max(0.16, 0.7 * grid.pixel / radius)
    rim = np.exp(-(((distance - 1) / rim_width) ** 2)) * min(1.0, 0.16 / rim_width * 1.5)
    facing = (x * math.cos(lamp) + y * math.sin(lamp)) / (distance + 1e-3)
    inside = sigmoid((0.95 - distance) * 12)
    window *= (1 - 0.45 * strength * rim)[..., None]
    bright = np.exp(-(((distance - 0.72) / 0.2) ** 2)) * (
        np.maximum(facing, 0) ** 6 + 0.4 * np.maximum(-facing, 0) ** 4
    )
    window += (strength * (0.6 * bright + 0.06 * inside))[..., None]


def add_glints(color: np.ndarray, recipe: Recipe, seed: int, grid: Grid) -> np.ndarray:
    """Add reflections: specks where the relief faces the lamp, or the lamps themselves at both sides."""
    rng = stream(seed, "glints")
    if recipe.glints == "speckles":
        where = sigmoid(3 * (noise(rng, grid, 2.5) - 0.9))
        relief = 0.7 * noise(rng, grid, 60) + noise(rng, grid, 130)
        specks = sigmoid((relief - 2.1) * 5)
        return color + (rng.uniform(0.4, 0.9) * where * specks)[..., None]
    if recipe.glints == "lamps":
        y = grid.y[:, None]
        light = np.zeros(grid.size, np.float32)
        for side in (0.0, ASPECT):
            middle, apart = rng.uniform(0.42, 0.58), rng.uniform(0.06, 0.09)
            for lamp in (middle - apart, middle + apart):
                distance = np.hypot((grid.x - side) * 0.9, y - lamp)
                light += 0.9 * sigmoid((0.06 - distance) * 90) + 0.25 * np.exp(-((distance / 0.16) ** 2))
        return color + light[..., None]
    return color


def _beside(rng: np.random.Generator, shape: Shape, margin: float) -> tuple[float, float]:
    """Return the one of a few random places that is farthest from the lesion, kept inside the frame."""
    places = [(rng.uniform(margin, ASPECT - margin), rng.uniform(margin, 1 - margin)) for _ in range(4)]
    return max(places, key=lambda place: math.dist(place, shape.center))
