"""What an output depends on: receptive fields, attributions, and how faithful they are."""

from collections.abc import Mapping

import numpy as np
from matplotlib.patches import Rectangle

from skinlesion.plots import captions
from skinlesion.plots.colors import BLUE, DIVERGING, HEAT, ORANGE, hexadecimal
from skinlesion.plots.rasters import Array, as_raster, gray
from skinlesion.plots.static.picture import Picture, show_image, show_map


def receptive_fields(
    shares: Mapping[str, Array], centers: Mapping[str, tuple[int, int]], half_sides: Mapping[str, int]
) -> Picture:
    """Effective receptive fields side by side, with the square that holds half of each.

    Args:
        shares: name -> (H, W), non-negative.
        centers: name -> (row, column) of the middle of what was asked about.
        half_sides: name -> side of the square around the center that holds half.
    """
    picture = Picture(3.4 * len(shares), 3.2, captions.receptive_fields(half_sides))
    grid = picture.subplots(1, len(shares), squeeze=False)
    for axes, (name, share) in zip(grid.flat, shares.items(), strict=True):
        row, column = centers[name]
        relative = (share / share.max()) ** 0.25
        show_map(axes, relative, share.shape, name, cmap=HEAT, vmin=0, vmax=1)
        axes.plot(column, row, "+", color=hexadecimal(BLUE), markersize=10, markeredgewidth=2)
        side = half_sides[name]
        corner = column - side / 2, row - side / 2
        axes.add_patch(Rectangle(corner, side, side, fill=False, edgecolor="white", linewidth=1.5))
        axes.set(xlim=(-0.5, share.shape[1] - 0.5), ylim=(share.shape[0] - 0.5, -0.5))
    return picture


def attribution(
    image: np.ndarray,
    values: Array,
    region: np.ndarray,
    *,
    method: str = "attribution",
    layer: str | None = None,
    faithfulness: float | None = None,
) -> Picture:
    """An attribution over the image, with the region that was asked about.

    Args:
        image: uint8 (H, W, 3), or float in [0, 1].
        values: (H, W), signed.
        region: bool (H, W).
        method: its name.
        layer: of Grad-CAM.
        faithfulness: its score, if it was measured.
    """
    picture = Picture(8, 3.8, captions.attribution(values, method, layer, faithfulness))
    left, right = picture.subplots(1, 2)
    show_image(left, as_raster(image), "image")
    limit = float(np.quantile(np.abs(values), 0.99)) or float(np.abs(values).max()) or 1.0
    show_image(right, gray(image))
    shown = show_map(right, values, image.shape[:2], "attribution", cmap=DIVERGING, vmin=-limit, vmax=limit, alpha=0.75)
    if region.any() and not region.all():
        for axes in (left, right):
            axes.contour(region, levels=[0.5], colors=hexadecimal(BLUE), linewidths=1.2)
    picture.colorbar(shown, ax=right, shrink=0.8)
    return picture


def faithfulness(
    fraction: Array, deletion: Array, insertion: Array, control_deletion: Array, control_insertion: Array, score: float
) -> Picture:
    """Deletion and insertion curves with their random control.

    Args:
        fraction: of the image taken or given, (P,), 0 to 1.
        deletion: mean probability over the region, (P,).
        insertion: the same, (P,).
        control_deletion: of random orders, (P,).
        control_insertion: of random orders, (P,).
        score: the gain over chance.
    """
    picture = Picture(8, 2.8, captions.faithfulness(score))
    curves = (("deletion", deletion, control_deletion), ("insertion", insertion, control_insertion))
    for axes, (name, curve, control) in zip(picture.subplots(1, 2, sharey=True), curves, strict=True):
        axes.plot(fraction, curve, color=hexadecimal(BLUE), label="by attribution")
        axes.plot(fraction, control, ":", color=hexadecimal(ORANGE), label="random order")
        axes.set(title=name, xlabel="fraction of the image", ylim=(0, 1))
        axes.legend(fontsize=8)
    return picture
