"""A Matplotlib figure that shows itself and carries its caption; nothing of pyplot, whose state threads would share."""

import io
import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from skinlesion.plots.rasters import Array

DOTS = 100  # an inch: a lesson with ten figures stays below a megabyte


class Picture(Figure):
    """A figure with a caption under it.

    Args:
        width: in inches.
        height: in inches, without the caption.
        caption: what is shown and its range.

    Attributes:
        caption: as given.
    """

    def __init__(self, width: float, height: float, caption: str) -> None:
        lines = textwrap.wrap(caption, int(13.5 * width))
        super().__init__(figsize=(width, height + 0.2 * len(lines)), dpi=DOTS, layout="constrained")
        self.caption = caption
        self.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=9, color="0.25", parse_math=False)

    def _repr_png_(self) -> bytes:
        """For Jupyter."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def show_image(axes: Axes, image: np.ndarray, title: str = "") -> None:
    """An image without ticks."""
    axes.imshow(image)
    bare(axes, title)


def show_map(axes: Axes, values: Array, size: tuple[int, int], title: str = "", **options):
    """A map (h, w) laid over the pixels of an image of `size`; returns what a colorbar wants."""
    height, width = size
    shown = axes.imshow(values, extent=(-0.5, width - 0.5, height - 0.5, -0.5), interpolation="nearest", **options)
    bare(axes, title)
    return shown


def bare(axes: Axes, title: str = "") -> None:
    """No ticks."""
    axes.set(xticks=[], yticks=[])
    if title:
        axes.set_title(title, fontsize=10)
