"""Scores over a set of images, calibration, and how a run went."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np

from skinlesion.plots import captions
from skinlesion.plots.colors import BLUE, CYCLE, GRAY, ORANGE, hexadecimal
from skinlesion.plots.curves import COMPARED, PANELS, present
from skinlesion.plots.rasters import Array
from skinlesion.plots.static.picture import Picture


def reliability(edges: Array, pixels: Array, confidence: Array, frequency: Array, ece: float) -> Picture:
    """Whether a probability means what it says; arguments as `skinlesion.metrics.CalibrationCurve`.

    Args:
        edges: of the bins, (n + 1,), from 0 to 1.
        pixels: in each bin, (n,).
        confidence: mean predicted probability, (n,); NaN in an empty bin.
        frequency: share of lesion pixels, (n,); NaN in an empty bin.
        ece: expected calibration error.
    """
    picture = Picture(4.6, 4, captions.reliability(ece))
    axes = picture.subplots()
    axes.bar(edges[:-1], pixels / pixels.sum(), np.diff(edges), align="edge", color=hexadecimal(GRAY), alpha=0.35)
    axes.plot([0, 1], [0, 1], ":", color="0.4")
    filled = pixels > 0
    axes.plot(confidence[filled], frequency[filled], "o-", color=hexadecimal(BLUE))
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="predicted probability", ylabel="share that is lesion", aspect="equal")
    return picture


def histogram(values: Array, *, label: str = "IoU", mark: float | None = None) -> Picture:
    """How a score spreads over the images of a set.

    Args:
        values: (n,), in [0, 1].
        label: the score's name.
        mark: one image's score to point out.
    """
    picture = Picture(6, 2.8, captions.histogram(values, label))
    axes = picture.subplots()
    axes.hist(values, bins=20, range=(0, 1), color=hexadecimal(BLUE))
    axes.axvline(float(np.median(values)), color="0.3")
    if mark is not None:
        axes.axvline(mark, color=hexadecimal(ORANGE), linestyle="--", label="this image")
        axes.legend(fontsize=8)
    axes.set(xlim=(0, 1), xlabel=label, ylabel="images")
    return picture


def training_curves(history: Mapping[str, Sequence[float]], *, best_epoch: int | None = None) -> Picture:
    """Losses by part, scores and learning rate over the epochs.

    Args:
        history: the columns of a run's metrics.csv; "epoch" is needed, others are drawn where they are.
        best_epoch: the epoch whose weights were kept.
    """
    panels = present(history)
    picture = Picture(3.4 * len(panels), 3, captions.training_curves(history["epoch"], best_epoch))
    marker = "o" if len(history["epoch"]) == 1 else None
    for axes, title in zip(picture.subplots(1, len(panels), squeeze=False).flat, panels, strict=True):
        for color, (column, name) in zip(CYCLE, panels[title].items(), strict=False):
            axes.plot(history["epoch"], history[column], label=name, color=hexadecimal(color), marker=marker)
        if best_epoch is not None:
            axes.axvline(best_epoch, color="0.5", linestyle=":")
        axes.set(title=title, xlabel="epoch", yscale=PANELS[title].scale)
        axes.legend(fontsize=8)
    return picture


def compared_runs(histories: Mapping[str, Mapping[str, Sequence[float]]]) -> Picture:
    """Several runs over one another: validation IoU, losses and learning rate.

    Args:
        histories: name of a run -> the columns of its metrics.csv; "epoch" is needed, others are drawn where they are.
    """
    picture = Picture(3.4 * len(COMPARED), 3, captions.compared_runs([*histories]))
    for axes, (column, title) in zip(picture.subplots(1, len(COMPARED)).flat, COMPARED.items(), strict=True):
        for color, (name, history) in zip(cycle(CYCLE), histories.items(), strict=False):
            if column in history:
                marker = "o" if len(history["epoch"]) == 1 else None
                axes.plot(history["epoch"], history[column], label=name, color=hexadecimal(color), marker=marker)
        axes.set(title=title, xlabel="epoch")
    picture.axes[0].legend(fontsize=8)
    return picture
