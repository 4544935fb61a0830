"""What a run leaves behind after each epoch: metrics.csv, best.safetensors, checkpoints/last.ckpt."""

import csv
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from skinlesion.checkpoint import save_checkpoint
from skinlesion.errors import SkinlesionError
from skinlesion.files import write_text
from skinlesion.schema import Number, mismatch
from skinlesion.text import printable
from skinlesion.training.config import SelectBy
from skinlesion.training.module import SegmentationModule

Row = dict[str, float]
RECORD_ROW = dict[str, Number]  # as it is read: a loss may be NaN

# In the order of metrics.csv. Losses are unweighted but for *_loss.
COLUMNS = (
    "epoch",
    "lr",
    *(f"train_{part}" for part in ("loss", "bce", "dice", "cfd", "ifd")),
    *(f"val_{part}" for part in ("loss", "bce", "dice", "iou", "dsc", "accuracy")),
    "grad_norm",
    "seconds",
)


class RunRecord(pl.callbacks.Checkpoint):
    """Keeps the history of a run and its best and last states; Lightning calls it after all other callbacks.

    The history is part of the checkpoint, so that a resumed run's metrics.csv has every epoch once.

    Args:
        folder: the run folder.
        select_by: which epoch is the best, see `TrainConfig`.
        card: makes the card of best.safetensors from an epoch's row.
    """

    def __init__(self, folder: Path, select_by: SelectBy, card: Callable[[Row], dict[str, Any]]) -> None:
        self.folder = folder
        self.select_by = select_by
        self.card = card
        self.history: list[Row] = []
        self.best: Row | None = None
        self._before = 0.0  # seconds of the sessions before this one
        self._started = time.monotonic()
        self.started = False  # whether everything has been restored

    @property
    def last_path(self) -> Path:
        """Where the state to resume from is."""
        return self.folder / "checkpoints" / "last.ckpt"

    @property
    def best_path(self) -> Path:
        """Where the best epoch's network is."""
        return self.folder / "best.safetensors"

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self.started = True
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the epoch; the checkpoint is written last, so that everything it refers to is on disk."""
        assert isinstance(pl_module, SegmentationModule)
        # Lightning keeps float32: more digits than it has would be noise.
        found = {name: float(f"{float(value):.7g}") for name, value in trainer.callback_metrics.items()}
        seconds = self._before + time.monotonic() - self._started
        row = {**found, "epoch": trainer.current_epoch + 1, "seconds": round(seconds, 1)}
        self.history.append({name: row[name] for name in COLUMNS})
        best = self._is_best(self.history[-1])
        if best:
            self.best = self.history[-1]
        if trainer.is_global_zero:
            if best:
                save_checkpoint(self.best_path, pl_module.shipped, self.card(self.history[-1]))
            write_text(self.folder / "metrics.csv", _as_csv(self.history))
        trainer.save_checkpoint(self.last_path)  # on every process: it waits for all

    def state_dict(self) -> dict[str, Any]:
        """For last.ckpt."""
        return {"history": self.history, "best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From last.ckpt.

        Raises:
            SkinlesionError: it holds no history.
        """
        history, best = state_dict.get("history"), state_dict.get("best")
        wrong = mismatch(history, list[RECORD_ROW], "history") or mismatch(best, RECORD_ROW, "best")
        if not wrong and (not history or any(set(COLUMNS) - set(row) for row in (*history, best or {}))):
            wrong = "its history lacks columns"
        if wrong:
            raise SkinlesionError(f"{printable(self.last_path)} is damaged: {wrong}. Start again in another --out.")
        self.history, self.best = list(state_dict["history"]), state_dict["best"]
        self._before = self.history[-1]["seconds"]

    def _is_best(self, row: Row) -> bool:
        if self.best is None or self.select_by == "last":
            return True
        if self.select_by == "test_loss":
            return row["val_loss"] < self.best["val_loss"]
        return row["val_iou"] > self.best["val_iou"]


def _as_csv(history: list[Row]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()
