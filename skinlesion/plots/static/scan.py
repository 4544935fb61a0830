"""The routes of the scan, what a token reads and writes, and how much is written."""

from collections.abc import Sequence

import numpy as np

from skinlesion.plots import captions
from skinlesion.plots.captions import ROUTES
from skinlesion.plots.colors import BLUE, DIVERGING, HEAT, VERMILION, hexadecimal
from skinlesion.plots.rasters import Array, as_raster, gray, largest_elsewhere
from skinlesion.plots.static.picture import Picture, bare, show_image, show_map


def routes(coordinates: np.ndarray, *, image: np.ndarray | None = None, names: Sequence[str] = ROUTES) -> Picture:
    """The four routes as paths; a grid of about 6 x 6 can be followed by eye.

    Args:
        coordinates: (4, L, 2), the (row, column) of each step.
        image: laid under the paths if given.
        names: of the routes.
    """
    height, width = coordinates[0].max(0) + 1
    picture = Picture(10, 2.8, captions.routes(height, width))
    for axes, path, name in zip(picture.subplots(1, len(names)), coordinates, names, strict=True):
        if image is not None:
            axes.imshow(gray(image), extent=(-0.5, width - 0.5, height - 0.5, -0.5))
        (rows, columns), steps = path.T, np.diff(path, axis=0)
        order = np.arange(len(steps))
        axes.quiver(
            *(columns[:-1], rows[:-1], steps[:, 1], steps[:, 0], order),
            cmap="plasma",
            angles="xy",
            scale_units="xy",
            scale=1,
            width=0.012,
        )
        axes.plot(columns[0], rows[0], "o", color=hexadecimal(VERMILION), markersize=6)
        axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), aspect="equal")
        bare(axes, name)
    return picture


def implicit_attention(
    image: np.ndarray,
    per_route: Array,
    merged: Array,
    token: tuple[int, int],
    *,
    direction: str = "reads",
    reduction: str = "norm",
    names: Sequence[str] = ROUTES,
) -> Picture:
    """The tokens that one token depends on or influences, merged and in each direction.

    Args:
        image: uint8 (H, W, 3), or float in [0, 1].
        per_route: (K, h, w).
        merged: (h, w).
        token: (row, column) in the grid.
        direction: "reads" or "writes".
        reduction: "norm", "sum" or "contribution".
        names: of the routes.
    """
    size = image.shape[:2]
    picture = Picture(12, 2.25, captions.implicit_attention(merged, token, direction, reduction))
    axes = picture.subplots(1, 2 + len(names))
    show_image(axes[0], as_raster(image), "image")
    signed = reduction == "sum"
    for at, values, name in zip(axes[1:], [merged, *per_route], ["merged", *names], strict=True):
        root = np.sign(values) * np.sqrt(np.abs(values))
        limit = largest_elsewhere(values, token) ** 0.5
        show_image(at, gray(image))
        color = {"cmap": DIVERGING, "vmin": -limit} if signed else {"cmap": HEAT, "vmin": 0}
        show_map(at, root, size, name, vmax=limit, alpha=0.85, **color)
    cell = size[0] / merged.shape[0], size[1] / merged.shape[1]
    for at in axes:
        x, y = (token[1] + 0.5) * cell[1] - 0.5, (token[0] + 0.5) * cell[0] - 0.5
        at.plot(x, y, "+", color=hexadecimal(BLUE), markersize=11, markeredgewidth=2)
    return picture


def step_maps(image: np.ndarray, maps: Array, *, names: Sequence[str] = ROUTES) -> Picture:
    """The step size of each token, in each direction and on average.

    Args:
        image: uint8 (H, W, 3), or float in [0, 1].
        maps: Delta, (K, h, w), positive.
        names: of the routes.
    """
    picture = Picture(12, 2.25, captions.step_maps(maps))
    axes = picture.subplots(1, 2 + len(names))
    show_image(axes[0], as_raster(image), "image")
    scale = {"cmap": HEAT, "vmin": maps.min(), "vmax": maps.max()}
    for at, values, name in zip(axes[1:], [maps.mean(0), *maps], ["mean", *names], strict=True):
        shown = show_map(at, values, image.shape[:2], name, **scale)
    picture.colorbar(shown, ax=axes, shrink=0.8)
    return picture
