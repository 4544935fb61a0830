"""Cross-region attention over the image, and how it follows a change."""

from collections.abc import Mapping

import numpy as np

from skinlesion.plots import captions
from skinlesion.plots.colors import CYCLE, SEQUENTIAL, hexadecimal
from skinlesion.plots.rasters import Array, as_raster, gray
from skinlesion.plots.static.picture import Picture, bare, show_image, show_map


def cra_gates(image: np.ndarray, gate_h: Array, gate_w: Array, product: Array, *, what: str = "mean gates") -> Picture:
    """The height gate at the image's left, the width gate above it, and their product over it.

    Args:
        image: uint8 (H, W, 3), or float in [0, 1].
        gate_h: (h,), in (0, 1), one channel's or a mean.
        gate_w: (w,), in (0, 1).
        product: (h, w), in (0, 1).
        what: whose gates these are: "S2, channel 7".
    """
    height, width = size = image.shape[:2]
    picture = Picture(9, 4, captions.cra_gates(gate_h, gate_w, product, what))
    center, right = picture.subplots(1, 2)
    show_image(center, as_raster(image))
    lowest, highest = min(gate_h.min(), gate_w.min()), max(gate_h.max(), gate_w.max())
    scale = {"cmap": SEQUENTIAL, "vmin": lowest, "vmax": highest, "aspect": "auto"}
    left = center.inset_axes((-0.08, 0, 0.07, 1))
    left.imshow(gate_h[:, None], extent=(0, 1, height - 0.5, -0.5), **scale)
    left.set_ylabel("gate of each row", fontsize=9)
    top = center.inset_axes((0, 1.01, 1, 0.07))
    strip = top.imshow(gate_w[None], extent=(-0.5, width - 0.5, 1, 0), **scale)
    bare(left)
    bare(top, "gate of each column")
    show_image(right, gray(image))
    shown = show_map(right, product, size, "product", cmap=SEQUENTIAL, alpha=0.7)
    picture.colorbar(strip, ax=center, label="gate", shrink=0.8)
    picture.colorbar(shown, ax=right, label="product", shrink=0.8)
    return picture


def gate_profiles(profiles: Mapping[str, tuple[Array, Array]]) -> Picture:
    """Gates along the rows and along the columns, several states in one picture.

    Args:
        profiles: name ("before", "expected", "after") -> row gates (h,) and column gates (w,), one channel's or means.
    """
    picture = Picture(9, 2.8, captions.gate_profiles([*profiles]))
    for i, (axes, title) in enumerate(zip(picture.subplots(1, 2), ("rows", "columns"), strict=True)):
        for color, (name, pair) in zip(CYCLE, profiles.items(), strict=False):
            axes.plot(pair[i], label=name, color=hexadecimal(color), linestyle="--" if name == "expected" else "-")
        axes.set(title=title, xlabel="cell of the skip's grid", ylabel="gate")
        axes.legend(fontsize=8)
    return picture
