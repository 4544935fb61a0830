"""The lesion's colors and structures: tones, pigment network, globules, cysts, veil, regression, vessels."""

import math

import numpy as np

from skinlesion.data.synthetic.canvas import Canvas
from skinlesion.data.synthetic.fields import Grid, cells, fractal, noise, sigmoid, stream, thin
from skinlesion.data.synthetic.recipe import Recipe
from skinlesion.data.synthetic.shape import Shape
from skinlesion.data.synthetic.tissue import TONES, Tissue


def add_lesion(tissue: Tissue, recipe: Recipe, seed: int, shape: Shape, grid: Grid) -> None:
    """Lay the lesion's pigments over the skin, in place."""
    rng = stream(seed, "edge")
    soft = recipe.soft * shape.radius
    structure = _structure(recipe, seed, shape, grid)
    # Pigment does not end along a line: it breaks up, and the pattern's lines reach farthest out.
    crumble = rng.uniform(0.05, 0.3)
    broken = soft * (crumble * fractal(rng, grid, 4.0 / shape.radius, 3, 0.6) + 0.4 * (structure - 1))
    # The border is where about a quarter of the pigment is reached: annotators include the faint rim.
    profile = sigmoid((shape.depth + broken - 0.35 * soft) * (3.0 / soft))
    melanin, deep, blood = _tones(recipe, seed, shape, grid)
    amount = recipe.contrast * profile
    if recipe.regression:
        scarred = _patch(seed, "regression", shape, grid, share=0.3)
        pepper = _pepper(seed, shape, grid)
        tissue.scar += 0.42 * scarred * profile
        amount = amount * (1 - 0.85 * scarred)
        tissue.deep += 0.6 * scarred * profile * pepper
    tissue.melanin += amount * melanin * structure
    tissue.deep += amount * deep * (0.5 + 0.5 * structure)
    tissue.blood += amount * blood
    if recipe.vessels:
        tissue.blood += 0.9 * profile * _vessels(seed, shape, grid)


def veil(seed: int, shape: Shape, grid: Grid) -> np.ndarray:
    """Return how opaque the blue-white film is, float32 (H, W) in [0, 1]."""
    inner = sigmoid((shape.depth / shape.radius - 0.18) * 14)
    thickness = np.clip(0.55 + 0.16 * fractal(stream(seed, "film"), grid, 2.0 / shape.radius, 3), 0.1, 0.85)
    return thickness * inner * _patch(seed, "veil", shape, grid, share=0.4)


def _tones(recipe: Recipe, seed: int, shape: Shape, grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return melanin, deep melanin and blood, where soft-edged patches of the recipe's tones meet.

    The first tone is the commonest.
    """
    rng = stream(seed, "tones")
    names = recipe.tones.split("+")
    inner = np.clip(shape.depth / shape.radius, -0.2, 1)
    sharpness = rng.uniform(1.5, 5.0)
    central = rng.normal(0.6, 1.2)  # the second tone sits in the center, or, negative, near the rim
    melanin, deep, blood, total = (np.zeros(grid.size, np.float32) for _ in range(4))
    for rank, name in enumerate(names):
        field = fractal(rng, grid, 0.8 / shape.radius, 4, 0.55)
        bias = 0.5 if rank == 0 else central * (inner - 0.35) * (1 if rank == 1 else -0.5) - 0.2 * (rank > 1)
        weight = np.exp(sharpness * np.clip(field + bias, -3, 3))
        total += weight
        for sum_, share in zip((melanin, deep, blood), TONES[name], strict=True):
            sum_ += share * weight
    blotches = fractal(rng, grid, 2.5 / shape.radius, 5, rng.uniform(0.4, 0.7))
    unevenness = np.maximum(1 + rng.uniform(0.1, 0.28) * blotches, 0.1)
    return melanin / total * unevenness, deep / total, blood / total


def _structure(recipe: Recipe, seed: int, shape: Shape, grid: Grid) -> np.ndarray:
    """Return the factor on melanin that draws the pattern, float32 (H, W), about 1 on average, not negative."""
    rng = stream(seed, "structure")
    grain = rng.uniform(0.03, 0.12) * (noise(rng, grid, 38) + noise(rng, grid, 80))
    if recipe.pattern == "structureless":
        return np.maximum(1 + 1.5 * grain + 0.12 * fractal(rng, grid, 6.0 / math.sqrt(shape.radius), 3), 0)
    wander = 0.007 * fractal(rng, grid, 12, 3, 0.6)
    x, y = grid.x + wander, grid.y[:, None] + 0.007 * fractal(rng, grid, 12, 3, 0.6)
    patchy = sigmoid(2.2 * fractal(rng, grid, 1.5 / shape.radius, 3, 0.6) + 0.8)
    draw = {"network": _network, "globules": _globules, "cysts": _cysts}[recipe.pattern]
    return np.maximum(draw(rng, x, y, patchy, shape, grid) + grain, 0)


def _mesh(rng: np.random.Generator, shape: Shape, low: float, high: float) -> float:
    """Return cells per scene unit. Small lesions are seen from farther away, so their structures are finer."""
    return rng.uniform(low, high) / (0.5 + 1.6 * min(shape.radius, 0.4))


def _network(
    rng: np.random.Generator, x: np.ndarray, y: np.ndarray, patchy: np.ndarray, shape: Shape, grid: Grid
) -> np.ndarray:
    """Honeycomb: brown lines, thicker here and thinner there and most where they join, around paler round holes."""
    density = _mesh(rng, shape, 38, 60)
    near, second, _ = cells(rng, x, y, density, rng.uniform(0.6, 0.95))
    width, strength = thin(rng.uniform(0.2, 0.34) / density, grid)
    thickness = width * density * (1 + 0.35 * np.clip(noise(rng, grid, 0.5 * density), -2, 2))
    lines = np.exp(-(((second - near) / thickness) ** 2))
    joints = sigmoid((near - 0.45) / 0.09)
    depth = rng.uniform(0.45, 0.95) * strength
    return 1 + depth * patchy * (0.9 * lines + 0.8 * joints - 0.6)


def _globules(
    rng: np.random.Generator, x: np.ndarray, y: np.ndarray, patchy: np.ndarray, shape: Shape, grid: Grid
) -> np.ndarray:
    """Round, dark clods of varying size and darkness."""
    density = _mesh(rng, shape, 26, 46)
    near, _, owner = cells(rng, x, y, density, 0.85)
    size = 0.12 + 0.3 * owner
    edge = max(0.07, 0.5 * grid.pixel * density)
    clods = sigmoid((size - near) / edge) * np.clip(2 * ((owner * 7) % 1) - 0.2, 0, 1.3)
    depth = rng.uniform(0.5, 1.0)
    return 1 + depth * patchy * (1.3 * clods - 0.35)


def _cysts(
    rng: np.random.Generator, x: np.ndarray, y: np.ndarray, patchy: np.ndarray, shape: Shape, grid: Grid
) -> np.ndarray:
    """Pale round dots, dark pits and shallow furrows, as on a wart-like surface."""
    density = _mesh(rng, shape, 9, 15)
    near, second, owner = cells(rng, x, y, density, 0.9)
    edge = max(0.04, 0.5 * grid.pixel * density)
    pale = sigmoid((0.1 + 0.1 * owner - near) / edge) * (owner < 0.35)
    dark = sigmoid((0.06 + 0.14 * owner - near) / edge) * (owner > 0.6)
    furrows = np.exp(-(((second - near) / 0.22) ** 2))
    return 1 - 1.0 * pale + 1.6 * dark + 0.35 * patchy * (furrows - 0.3)


def _patch(seed: int, name: str, shape: Shape, grid: Grid, share: float) -> np.ndarray:
    """Return a soft-edged part of the lesion, float32 (H, W) in [0, 1], covering about ``share`` of it."""
    rng = stream(seed, name)
    angle, away = rng.uniform(0, 2 * math.pi), rng.uniform(0.0, 0.4) * shape.radius
    x = (grid.x - shape.center[0] - away * math.cos(angle)) / shape.radius
    y = (grid.y[:, None] - shape.center[1] - away * math.sin(angle)) / shape.radius
    field = 0.35 * fractal(rng, grid, 1.2 / shape.radius, 4, 0.6)
    return sigmoid((math.sqrt(share) - np.hypot(x, y) + field) * 6)


def _pepper(seed: int, shape: Shape, grid: Grid) -> np.ndarray:
    rng = stream(seed, "pepper")
    near, _, owner = cells(rng, grid.x + np.zeros(grid.size, np.float32), grid.y[:, None], 60, 0.95)
    return np.maximum(owner - 0.5, 0) * 2 * sigmoid((0.22 - near) / max(0.1, 30 * grid.pixel))


def _vessels(seed: int, shape: Shape, grid: Grid) -> np.ndarray:
    """Return thin, branching lines inside the lesion, float32 (H, W) in [0, 1]."""
    rng = stream(seed, "vessels")
    canvas = Canvas(grid)
    for _ in range(int(rng.integers(3, 7))):
        angle, away = rng.uniform(0, 2 * math.pi), shape.radius * rng.uniform(0.2, 0.8)
        start = (shape.center[0] + away * math.cos(angle), shape.center[1] + away * math.sin(angle))
        _branch(rng, canvas, start, angle + math.pi + rng.normal(0, 0.8), 0.005, shape.radius, 2)
    return canvas.coverage()


def _branch(
    rng: np.random.Generator,
    canvas: Canvas,
    start: tuple[float, float],
    heading: float,
    width: float,
    length: float,
    generations: int,
) -> None:
    points, step = [start], length * 0.06
    for _ in range(8):
        heading += rng.normal(0, 0.35)
        points.append((points[-1][0] + step * math.cos(heading), points[-1][1] + step * math.sin(heading)))
    canvas.strand(np.array(points), width, 0.4 * width)
    if generations:
        for _ in range(2):
            side = heading + rng.choice((-1, 1)) * rng.uniform(0.4, 0.9)
            _branch(rng, canvas, points[int(rng.integers(3, 9))], side, 0.6 * width, 0.7 * length, generations - 1)
