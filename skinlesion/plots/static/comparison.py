"""One system at all thresholds, and two systems image by image."""

import numpy as np

from skinlesion.plots import captions
from skinlesion.plots.colors import BLUE, GRAY, ORANGE, hexadecimal
from skinlesion.plots.rasters import Array
from skinlesion.plots.static.picture import Picture


def threshold_curve(thresholds: Array, scores: dict[str, Array], threshold: float) -> Picture:
    """How the pooled scores of a set follow the threshold.

    Args:
        thresholds: (n,), in (0, 1).
        scores: name -> (n,), in [0, 1]; the first is the one whose best threshold is named.
        threshold: the one in use.
    """
    picture = Picture(6, 3, captions.threshold_curve(thresholds, scores, threshold))
    axes = picture.subplots()
    for (name, values), color in zip(scores.items(), (BLUE, ORANGE, GRAY), strict=False):
        axes.plot(thresholds, values, color=hexadecimal(color), label=name)
    axes.axvline(threshold, color="0.4", linestyle=":")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="threshold", ylabel="score")
    axes.legend(fontsize=8)
    return picture


def paired_scores(a: Array, b: Array, *, names: tuple[str, str] = ("A", "B"), label: str = "IoU") -> Picture:
    """Two systems on the same images, one dot per image.

    Args:
        a: scores of the first, (n,), in [0, 1].
        b: of the second, (n,).
        names: of the systems.
        label: the score's name.
    """
    picture = Picture(4.2, 4, captions.paired_scores(a, b, names, label))
    axes = picture.subplots()
    axes.plot([0, 1], [0, 1], ":", color="0.4")
    for where, color in ((a >= b, BLUE), (a < b, ORANGE)):
        axes.plot(a[where], b[where], "o", color=hexadecimal(color), alpha=0.75, markersize=5)
    low = max(0.0, float(np.min([a, b])) - 0.05)
    axes.set(xlim=(low, 1), ylim=(low, 1), xlabel=f"{label}, {names[0]}", ylabel=f"{label}, {names[1]}", aspect="equal")
    return picture
