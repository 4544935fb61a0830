"""The U of the network, with live shapes."""

from collections.abc import Sequence

from matplotlib.patches import FancyBboxPatch

from skinlesion.plots import captions
from skinlesion.plots.boxes import COLORS, HEIGHT, WIDTH, Part, arrows, place
from skinlesion.plots.colors import hexadecimal
from skinlesion.plots.static.picture import Picture


def architecture(parts: Sequence[Part]) -> Picture:
    """The parts of the network as a U.

    Args:
        parts: from `skinlesion.explain.architecture`.
    """
    boxes = place(parts)
    picture = Picture(8.5, 5, captions.architecture(sum(part.parameters for part in parts)))
    axes = picture.subplots()
    for start, end in arrows(boxes):
        axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": "0.4", "shrinkA": 0, "shrinkB": 0})
    for box in boxes:
        corner = box.x - WIDTH / 2, box.y - HEIGHT / 2
        color = hexadecimal(COLORS[box.part.kind])
        axes.add_patch(FancyBboxPatch(corner, WIDTH, HEIGHT, "round,pad=0,rounding_size=0.1", fc=color, ec="none"))
        axes.text(box.x, box.y - 0.12, box.title, ha="center", va="center", weight="bold", fontsize=9)
        axes.text(box.x, box.y + 0.14, box.text, ha="center", va="center", fontsize=8)
    axes.set(xlim=(-1.1, 5.5), ylim=(max(box.y for box in boxes) + 0.5, -0.5))
    axes.axis("off")
    return picture
