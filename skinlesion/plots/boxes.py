"""Where the parts of the network lie in the picture of the U."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

from skinlesion.plots.colors import BLUE, GRAY, GREEN, ORANGE, PURPLE, RGB

COLORS: dict[str, RGB] = {"embedding": GRAY, "encoder": BLUE, "skip": GREEN, "decoder": ORANGE, "head": PURPLE}
WIDTH, HEIGHT = 1.9, 0.62
Point = tuple[float, float]


class Part(Protocol):
    """What the diagram needs to know about a part; `skinlesion.explain.Part` is one."""

    @property
    def name(self) -> str:
        """Such as E1."""

    @property
    def kind(self) -> str:
        """A key of COLORS."""

    @property
    def level(self) -> int:
        """1 for the finest grid."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""

    @property
    def blocks(self) -> int:
        """CM-SSM blocks in it."""

    @property
    def parameters(self) -> int:
        """Trainable numbers in it."""


class Box(NamedTuple):
    """A part with its place: the middle of its box, y downward, and two lines of text."""

    part: Part
    x: float
    y: float
    title: str
    text: str


def place(parts: Sequence[Part]) -> list[Box]:
    """A box for each part: encoder down the left, decoder up the right, skips between, half a level higher.

    A skip is what goes into an encoder stage, and it joins what comes out of the decoder stage of the same level.
    """
    column = {"embedding": 0.0, "encoder": 0.0, "skip": 2.2, "decoder": 4.4, "head": 4.4}
    boxes = []
    for part in parts:
        y = {"embedding": 0.0, "head": 0.0, "skip": part.level - 0.5}.get(part.kind, float(part.level))
        height, width, channels = part.shape
        title = part.name + (f" ({part.blocks} blocks)" if part.blocks > 1 else "")
        boxes.append(Box(part, column[part.kind], y, title, f"{height} x {width} x {channels}, {part.parameters:,}"))
    return boxes


def arrows(boxes: Sequence[Box]) -> list[tuple[Point, Point]]:
    """From point to point, along the way of the data."""
    at = {box.part.name: box for box in boxes}
    levels = max(box.part.level for box in boxes)

    def vertical(a: str, b: str) -> tuple[Point, Point]:
        start, end = at[a], at[b]
        half = HEIGHT / 2 if end.y > start.y else -HEIGHT / 2
        return (start.x, start.y + half), (end.x, end.y - half)

    down = ["embedding", *(f"E{level}" for level in range(1, levels + 1))]
    up = [*(f"D{level}" for level in range(levels, 0, -1)), "head"]
    found = [vertical(a, b) for way in (down, up) for a, b in pairwise(way)]
    left, right = at["E1"].x, at["D1"].x
    found.append(((left + WIDTH / 2, float(levels)), (right - WIDTH / 2, float(levels))))
    for level in range(2, levels + 1):
        y, skip = level - 0.5, at.get(f"S{level}")
        if skip is None:
            found.append(((left, y), (right, y)))
        else:
            found += [((left, y), (skip.x - WIDTH / 2, y)), ((skip.x + WIDTH / 2, y), (right, y))]
    return found
