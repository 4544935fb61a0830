"""A run's progress: one line per epoch and, on a terminal, a bar with the time left."""

import sys
import time
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from skinlesion.training.duration import duration
from skinlesion.training.history import RunRecord


class ProgressReport(pl.callbacks.ProgressBar):
    """One bar over the steps of all epochs, and one line per epoch that stays on the screen.

    Args:
        record: the run's history.
        console: where to write; default the standard output.
    """

    def __init__(self, record: RunRecord, console: Console | None = None) -> None:
        super().__init__()
        self.record = record
        self.console = console or Console(file=sys.stdout, highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._enabled = True
        self._started, self._first_epoch = 0.0, 0

    def disable(self) -> None:
        """Show nothing: Lightning asks for it on every process but the first."""
        self._enabled = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the bar; files and pipes get lines only."""
        self._started, self._first_epoch = time.monotonic(), trainer.current_epoch
        if self._enabled and self.console.is_terminal:
            steps = int(trainer.num_training_batches)
            assert trainer.max_epochs is not None
            self._bar = Progress(
                TextColumn("step"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("loss {task.fields[loss]:.3f}"),
                TimeRemainingColumn(elapsed_when_finished=True),
                console=self.console,
                transient=True,
                speed_estimate_period=600,
            )
            self._bar.add_task(
                "train", total=trainer.max_epochs * steps, completed=trainer.current_epoch * steps, loss=float("nan")
            )
            self._bar.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], advance=1, loss=float(outputs["loss"]))

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the line of the previous epoch, whose record is complete by now."""
        if trainer.current_epoch > self._first_epoch:
            self._print_line(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the last epoch's line and close the bar."""
        self._print_line(trainer)
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Leave the terminal as it was."""
        self._close()

    def _print_line(self, trainer: pl.Trainer) -> None:
        if not (self._enabled and self.record.history and self.record.best):
            return
        row, best = self.record.history[-1], self.record.best
        assert trainer.max_epochs is not None
        done = row["epoch"] - self._first_epoch
        left = (time.monotonic() - self._started) / max(1, done) * (trainer.max_epochs - row["epoch"])
        self.console.print(
            f"epoch {row['epoch']:.0f}/{trainer.max_epochs}  loss {row['train_loss']:.4f}  "
            f"val loss {row['val_loss']:.4f}  IoU {row['val_iou']:.4f}  DSC {row['val_dsc']:.4f}  "
            f"(best IoU {best['val_iou']:.4f}, epoch {best['epoch']:.0f})  lr {row['lr']:.2g}  {duration(left)} left"
        )

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
