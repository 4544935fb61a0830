"""Reading run folders, including those of runs in progress."""

import csv
import io
import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

from skinlesion.errors import SkinlesionError
from skinlesion.plots.curves import present

Status = Literal["finished", "running", "stopped"]
_QUIET = 3.0  # epochs without a sign of life after which a run counts as stopped
_LEAST = 120.0  # seconds, for runs whose epochs are short or not known yet


@dataclass(frozen=True)
class Run:
    """The contents of a run folder.

    Attributes:
        name: of the folder.
        config: the options of `skinlesion train`.
        history: column of metrics.csv -> value of each epoch.
        status: "finished" with its result written; "running" if something was written within three epochs; else
            "stopped".
        best_epoch: the epoch that was kept, counted from 1; None before the first.
        seconds_left: estimate for a running one, from the median epoch; None if it can't be estimated.
        files: checkpoint -> bytes.
    """

    name: str
    config: dict[str, Any]
    history: dict[str, list[float]]
    status: Status
    best_epoch: int | None
    seconds_left: float | None
    files: dict[str, int]

    @property
    def epochs(self) -> int:
        """Epochs that are done."""
        return len(self.history.get("epoch", ()))

    @property
    def planned(self) -> int:
        """Epochs that were asked for."""
        return self.config["epochs"]


def find_runs(root: str | Path) -> list[Path]:
    """Run folders directly below a folder, most recently written first.

    Raises:
        SkinlesionError: there is no such folder, or it cannot be listed.
    """
    root = Path(root)
    if not root.is_dir():
        raise SkinlesionError(f"There is no folder {root.name}.")
    try:
        return sorted((path.parent for path in root.glob("*/config.json")), key=_touched, reverse=True)
    except OSError as error:
        raise SkinlesionError(f"Cannot list {root.name}: {error.strerror}.") from error


def other_folders(root: str | Path) -> list[str]:
    """Names of the folders directly below a folder that aren't runs: they have no config.json and aren't hidden."""
    try:
        below = [path for path in Path(root).iterdir() if path.is_dir() and not path.name.startswith(".")]
        return sorted(path.name for path in below if not (path / "config.json").exists())
    except OSError:  # `find_runs` says what is wrong with such a root
        return []


def read_run(folder: str | Path, *, now: float | None = None) -> Run:
    """Read a run folder. A run may be writing into it: each of its files is replaced as a whole.

    Args:
        folder: the output folder of a finished or running `skinlesion train --out`.
        now: seconds since 1970, as `time.time`.

    Raises:
        SkinlesionError: it isn't a run folder, or a file in it is damaged; the message names the file.
    """
    folder = Path(folder)
    config = _json(folder / "config.json")
    epochs = config.get("epochs")
    if not isinstance(epochs, int) or isinstance(epochs, bool) or epochs < 1:
        raise SkinlesionError(f"{folder.name}/config.json is not from a training run: it has no epochs.")
    history = _history(folder / "metrics.csv")
    lengths = [b - a for a, b in zip([0.0, *history["seconds"]], history["seconds"], strict=False)] if history else []
    epoch = median(seconds for seconds in lengths if seconds > 0) if any(s > 0 for s in lengths) else None
    status: Status = "stopped"
    if (folder / "result.json").exists():
        status = "finished"
    elif (time.time() if now is None else now) - _touched(folder) < max(_LEAST, _QUIET * (epoch or 0)):
        status = "running"
    left = None
    if status == "running" and epoch is not None:
        left = epoch * max(0, config["epochs"] - len(history["epoch"]))
    files = {}
    for name in ("best.safetensors", "checkpoints/last.ckpt"):
        if (found := _stat(folder / name)) is not None:
            files[name] = found.st_size
    return Run(folder.name, config, history, status, _best(config, history), left, files)


def differences(runs: list[Run]) -> dict[str, list[Any]]:
    """Options that differ between runs: option -> its value in each; None if a run doesn't have it."""
    names = dict.fromkeys(name for run in runs for name in run.config)
    values = {name: [run.config.get(name) for run in runs] for name in names}
    return {name: row for name, row in values.items() if any(value != row[0] for value in row)}


def _touched(folder: Path) -> float:
    """When something in the folder was last written."""
    paths = (folder / name for name in ("config.json", "metrics.csv", "checkpoints/last.ckpt"))
    return max((found.st_mtime for path in paths if (found := _stat(path)) is not None), default=0.0)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:  # not there, or no longer: someone may be deleting the run
        return None


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SkinlesionError(f"{path.parent.name}/{path.name} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise SkinlesionError(f"{path.parent.name}/{path.name} is damaged: it is not JSON.") from error
    if not isinstance(value, dict):
        raise SkinlesionError(f"{path.parent.name}/{path.name} is not from a training run.")
    return value


def _history(path: Path) -> dict[str, list[float]]:
    if not path.exists():
        return {}  # its first epoch is not over
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))
        history = {name: [float(row[name]) for row in rows] for name in rows[0]} if rows else {}
    except (OSError, ValueError, TypeError, KeyError, csv.Error) as error:
        raise SkinlesionError(f"{path.parent.name}/metrics.csv is damaged.") from error
    if history and not {"epoch", "seconds"} <= history.keys():
        raise SkinlesionError(f"{path.parent.name}/metrics.csv is not from a training run: it has no epochs.")
    if history:
        if not all(value.is_integer() and value >= 1 for value in history["epoch"]):
            raise SkinlesionError(
                f"{path.parent.name}/metrics.csv is damaged: an epoch number is not a positive integer."
            )
        if not all(math.isfinite(value) and value >= 0 for value in history["seconds"]):
            raise SkinlesionError(
                f"{path.parent.name}/metrics.csv is damaged: a value in the seconds column is negative or not finite."
            )
        try:
            present(history)
        except ValueError as error:
            raise SkinlesionError(f"{path.parent.name}/metrics.csv has no curve to draw.") from error
    return history


def _best(config: dict[str, Any], history: dict[str, list[float]]) -> int | None:
    """As the run itself chooses: see `TrainConfig.select_by`."""
    scores = history.get("val_loss" if config.get("select_by") == "test_loss" else "val_iou", [])
    if not history or (config.get("select_by") != "last" and not any(map(math.isfinite, scores))):
        return None
    epochs = [int(epoch) for epoch in history["epoch"]]
    if config.get("select_by") == "last":
        return epochs[-1]
    pick = min if config.get("select_by") == "test_loss" else max
    return epochs[scores.index(pick(score for score in scores if math.isfinite(score)))]
