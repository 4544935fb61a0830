"""curves.png: how a run went."""

import io
from pathlib import Path

from matplotlib.figure import Figure

from skinlesion.files import replacing
from skinlesion.training.history import Row


def save_curves(path: Path, history: list[Row], best_epoch: int) -> None:
    """Draw losses, scores and learning rate over the epochs, with the shipped epoch marked.

    Args:
        path: of the PNG.
        history: one row per epoch, see `skinlesion.training.history`.
        best_epoch: counted from 1.
    """
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    epochs = [row["epoch"] for row in history]
    panels = {
        "Loss": {"train_loss": "training", "val_loss": "validation"},
        "Validation score": {"val_iou": "IoU", "val_dsc": "DSC"},
        "Learning rate": {"lr": "at the start of the epoch"},
    }
    marker = "o" if len(history) == 1 else None
    for axes, (title, lines) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        for column, label in lines.items():
            axes.plot(epochs, [row[column] for row in history], label=label, marker=marker)
        axes.axvline(best_epoch, color="gray", linestyle=":", label=f"shipped: epoch {best_epoch}")
        axes.set(title=title, xlabel="Epoch")
        axes.legend()
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=120)
    with replacing(path) as temporary:
        temporary.write_bytes(image.getvalue())
