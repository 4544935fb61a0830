"""Which columns of a run's metrics.csv are drawn together."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Panel(NamedTuple):
    """One set of axes: column -> name in the legend, and the scale of its y axis."""

    lines: dict[str, str]
    scale: str = "linear"


PANELS: dict[str, Panel] = {
    "loss": Panel({"train_loss": "training", "val_loss": "validation"}),
    "parts of the loss": Panel(
        {
            "train_bce": "BCE",
            "train_dice": "Dice",
            "train_cfd": "CFD",
            "train_ifd": "IFD",
            "val_bce": "BCE, validation",
            "val_dice": "Dice, validation",
        },
        "log",
    ),
    "validation scores": Panel({"val_iou": "IoU", "val_dsc": "DSC", "val_accuracy": "accuracy"}),
    "learning rate": Panel({"lr": "learning rate"}),
}

# What several runs are compared by: column -> title.
COMPARED = {
    "val_iou": "validation IoU",
    "val_loss": "validation loss",
    "train_loss": "training loss",
    "lr": "learning rate",
}


def present(history: Mapping[str, Sequence[float]]) -> dict[str, dict[str, str]]:
    """Panel -> column -> name, for the columns that a history has; a term that was switched off (all 0) is left out.

    Raises:
        ValueError: the history has no epoch, or nothing to draw.
    """
    panels = {
        title: {column: name for column, name in panel.lines.items() if any(history.get(column, ()))}
        for title, panel in PANELS.items()
    }
    panels = {title: lines for title, lines in panels.items() if lines}
    if "epoch" not in history or not len(history["epoch"]) or not panels:
        raise ValueError(f"a history needs the column 'epoch' and at least one curve; it has {', '.join(history)}")
    return panels
