"""One training run from its config to its folder: `train`."""

import dataclasses
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed
from pytorch_lightning.loggers import Logger, TensorBoardLogger
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import nn

from skinlesion.checkpoint import find_weights, load_checkpoint, tensors_hash
from skinlesion.data.datamodule import SegmentationData
from skinlesion.data.splits import Manifest
from skinlesion.errors import SkinlesionError, is_out_of_memory
from skinlesion.files import make_folder, write_text
from skinlesion.model import set_engine
from skinlesion.reserved import reserved
from skinlesion.schema import mismatch, read_json
from skinlesion.text import printable
from skinlesion.training.checkpoint_io import SafeCheckpointIO, damaged_checkpoint
from skinlesion.training.config import NOT_COMPARED, TrainConfig
from skinlesion.training.device import engine_for, explained, find_device
from skinlesion.training.duration import duration
from skinlesion.training.environment import command, describe_environment
from skinlesion.training.estimate import measure
from skinlesion.training.figures import save_curves
from skinlesion.training.history import RECORD_ROW, Row, RunRecord
from skinlesion.training.lightning import interruptible, quiet
from skinlesion.training.memory import build_model, check_memory
from skinlesion.training.module import SegmentationModule
from skinlesion.training.progress import ProgressReport
from skinlesion.training.trial import try_user_code


@dataclass(frozen=True)
class RunResult:
    """A finished run.

    Attributes:
        folder: the run folder.
        best: the network of the selected epoch, best.safetensors.
        last: the state after the last epoch, checkpoints/last.ckpt.
        selected: the row of metrics.csv of the selected epoch.
        history: all rows.
    """

    folder: Path
    best: Path
    last: Path
    selected: Row
    history: list[Row]


# What the machine does to a run, whatever its checkpoint holds.
_OF_THE_MACHINE = (torch.AcceleratorError, *([torch.distributed.DistError] if torch.distributed.is_available() else []))


def train(config: TrainConfig, *, callbacks: Sequence[pl.Callback] = (), loggers: Sequence[Logger] = ()) -> RunResult:
    """Train a network and leave a run folder.

    The folder holds config.json, manifest.json, environment.json, metrics.csv, tensorboard/, checkpoints/last.ckpt,
    best.safetensors and, when it is finished, curves.png and result.json. With `resume`, a
    run that was killed continues from its last complete epoch, and on the same CPU ends with the same weights, bit for
    bit, as if nothing had happened. The split's test set isn't used, except with `select_by="test_loss"`.

    Args:
        config: the run.
        callbacks: Lightning callbacks, in addition to those that write the run folder.
        loggers: Lightning loggers, such as `WandbLogger` or `MLFlowLogger`, besides TensorBoard.

    Raises:
        SkinlesionError: the data, the split or the folder cannot be used, or another process uses it; a run to resume
            differs from `config`; or a loss or gradient became infinite or NaN.
        KeyboardInterrupt: Ctrl-C stopped it; `resume` continues from the last complete epoch.
    """
    check_memory(config)
    if getattr(rank_zero_only, "rank", 0) != 0:  # set by Lightning from what started this process
        return _train(config, callbacks, loggers, first=False)
    _check_folder(config)
    with reserved(config.folder):
        return _train(config, callbacks, loggers, first=True)


def _train(
    config: TrainConfig, callbacks: Sequence[pl.Callback], loggers: Sequence[Logger], *, first: bool
) -> RunResult:
    """The work of a process, the first one or another; see `train`."""
    data = _make_data(config)
    if first and config.resume:
        _check_manifest(config.folder, data.manifest)
        if (config.folder / "result.json").exists() and config.epochs == TrainConfig.load(_config_path(config)).epochs:
            print(
                f"{config.folder} is already finished; to train it further, pass --epochs with a number above "
                f"{config.epochs}."
            )
            return _finished(config.folder)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    model, origin = _make_model(config)
    device = find_device(config, model)
    engine = engine_for(model, config.engine, device)
    if engine != "none":
        set_engine(model, engine, device)
    module = SegmentationModule(model, config)
    record = RunRecord(config.folder, config.select_by, lambda row: _card(config, data.manifest, row, origin))
    if first:
        with explained(config, device):
            try_user_code(module, device)
        data.prepare_data()  # a damaged image shows before anything is written
    with quiet():
        trainer = _make_trainer(config, device, record, module, callbacks, loggers)
    if trainer.world_size != config.processes:
        raise SkinlesionError(
            f"--devices {config.devices} and --num-nodes {config.num_nodes} need {config.processes} processes, but "
            f"{trainer.world_size} would run. Under SLURM, start a task for each device: srun --ntasks-per-node "
            f"{config.devices}."
        )
    if first:
        _fill_folder(config, data.manifest, describe_environment(engine, device))
        _announce(config, model, engine, device, data)
    with quiet(), explained(config, device):
        last = str(record.last_path) if record.last_path.exists() else None
        if config.estimate and last is None and config.processes == 1:
            _print_estimate(config, module, data, device)
        with interruptible(trainer, f"Interrupted. To continue: skinlesion train --resume --out {config.folder}"):
            _fit(trainer, module, data, record, last)
    assert record.best is not None
    if trainer.is_global_zero:
        save_curves(config.folder / "curves.png", record.history, int(record.best["epoch"]))
        _write_json(config.folder / "result.json", {"selected": record.best, "history": record.history})
    return RunResult(config.folder, record.best_path, record.last_path, record.best, record.history)


def _fit(
    trainer: pl.Trainer, module: SegmentationModule, data: SegmentationData, record: RunRecord, last: str | None
) -> None:
    """Train; an error before the first step of a resumed run is blamed on the checkpoint."""
    try:
        trainer.fit(module, datamodule=data, ckpt_path=last)
    except SkinlesionError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        if last is None or record.started or is_out_of_memory(error) or isinstance(error, _OF_THE_MACHINE):
            raise
        raise damaged_checkpoint(last, f" ({type(error).__name__}: {error})") from error


def _check_folder(config: TrainConfig) -> None:
    """Refuse a folder in use, and a resumption that would be another run."""
    folder = config.folder
    if not config.resume:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise SkinlesionError(f"{folder} exists already: choose another --out, or continue that run with --resume.")
        existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK):
            raise SkinlesionError(f"{folder} cannot be created: {existing} isn't a writable folder. Change --out.")
        return
    before = TrainConfig.load(_config_path(config))
    for field in dataclasses.fields(TrainConfig):
        old, new = getattr(before, field.name), getattr(config, field.name)
        if field.name == "epochs" and new > old:
            continue  # longer: the learning rate follows the schedule of the new length from here
        if field.name not in NOT_COMPARED and old != new:
            flag = "--" + field.name.replace("_", "-")
            raise SkinlesionError(
                f"{folder} cannot be resumed with {flag} {new}: it was started with {flag} {old}. "
                "Leave the option as it was, or start a new run in another --out."
            )


def _config_path(config: TrainConfig) -> Path:
    return config.folder / "config.json"


def _check_manifest(folder: Path, manifest: Manifest) -> None:
    path = folder / "manifest.json"
    if path.exists() and Manifest.load(path).hash != manifest.hash:
        raise SkinlesionError(
            f"{folder} cannot be resumed: --split now selects different images from those in its manifest.json. "
            f"Pass --split {path} with the same data."
        )


def _fill_folder(config: TrainConfig, manifest: Manifest, environment: dict[str, Any]) -> None:
    """Write what is known before the first step; environment.json has an entry for each time the run was started."""
    folder = make_folder(config.folder)
    path = folder / "environment.json"
    sessions = read_json(path, list[dict[str, Any]]) if path.exists() else []
    if not config.resume or config.epochs > TrainConfig.load(_config_path(config)).epochs:
        (folder / "result.json").unlink(missing_ok=True)  # of the shorter run
        _write_json(_config_path(config), config.to_json())
    manifest.save(folder / "manifest.json")
    _write_json(path, [*sessions, environment])


def _make_data(config: TrainConfig) -> SegmentationData:
    in_memory = config.data == "synthetic" and config.root is None and config.images is None
    found = None if in_memory else config.source.find(config.data)
    data = SegmentationData(
        config.data,
        samples=None if found is None else found.samples,
        notes=() if found is None else found.left_out,
        split=config.split,
        split_seed=config.split_seed,
        size=config.size,
        truth_size=config.truth_size,
        batch_size=config.part_size,
        recipe=config.augmentation,
        balance=config.balance,
        normalization=config.normalize,
        seed=config.seed,
        num_workers=config.num_workers,
        cache_dir=config.cache_dir,
        synthetic_count=config.synthetic_count,
    )
    if config.select_by == "test_loss":
        data.manifest = _test_as_validation(data.manifest)
    for part in ("train", "val"):
        if not data.manifest.parts[part]:
            raise SkinlesionError(
                f"The part {part!r} of the split {config.split} is empty: choose another --split, or --select-by."
            )
    return data


def _test_as_validation(manifest: Manifest) -> Manifest:
    """The harness that VM-UNet uses: train on all but the test set, select on the test set (A34)."""
    train, val, test = (manifest.parts[part] for part in ("train", "val", "test"))
    parts = {"train": tuple(sorted(train + val)), "val": test, "test": ()}
    return dataclasses.replace(manifest, name=f"{manifest.name}, selected on test", parts=parts)


def _make_trainer(
    config: TrainConfig,
    device: torch.device,
    record: RunRecord,
    module: SegmentationModule,
    callbacks: Sequence[pl.Callback],
    loggers: Sequence[Logger],
) -> pl.Trainer:
    tensorboard = TensorBoardLogger(config.folder, name="", version="tensorboard", default_hp_metric=False)
    several = config.processes > 1
    gpu = device.type == "cuda"
    return pl.Trainer(
        accelerator="gpu" if gpu else device.type,
        devices=config.devices if device.index is None else [device.index],
        accumulate_grad_batches=config.accumulate,
        num_nodes=config.num_nodes,
        # Running statistics are averaged by the module; broadcasting would keep those of the first process only.
        strategy=DDPStrategy(broadcast_buffers=False) if several else "auto",
        sync_batchnorm=several and gpu,
        precision=config.precision,
        max_epochs=config.epochs,
        logger=[tensorboard, *loggers],
        callbacks=[record, ProgressReport(record), *callbacks],
        plugins=[SafeCheckpointIO(module.state_dict())],
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_model_summary=False,
        default_root_dir=config.folder,
    )


def _announce(config: TrainConfig, model: nn.Module, engine: str, device: torch.device, data: SegmentationData) -> None:
    count = sum(weight.numel() for weight in model.parameters())
    parts = data.manifest.parts
    print(
        f"{config.preset}: {count:,} parameters, scan engine {engine!r} on {device.type}; "
        f"{len(parts['train'])} training and {len(parts['val'])} validation images of {config.data}; run folder "
        f"{printable(config.folder)}"
    )
    for line in data.notes():
        print(line)


def _print_estimate(
    config: TrainConfig, module: SegmentationModule, data: SegmentationData, device: torch.device
) -> None:
    found = measure(module, data, device)
    print(
        f"Estimated time: {duration(found.epoch * config.epochs)} for {config.epochs} epochs, {duration(found.epoch)} "
        f"each ({found.steps} steps of {found.step:.2f} s, validation {found.validation:.1f} s).",
        flush=True,
    )


def _make_model(config: TrainConfig) -> tuple[nn.Module, dict[str, Any] | None]:
    """The network before its first step and, where it starts from weights, what their card says of their training."""
    model = build_model(config)
    if config.start_from is None:
        return model, None
    given, card = load_checkpoint(config.start_from)
    if (given.name, given.config) != (model.name, model.config):
        raise SkinlesionError(
            f"--start-from {config.start_from} holds a different network from the one that --preset and --model "
            f"describe: {card['model']['name']} with {card['model']['config']}."
        )
    model.load_state_dict(given.state_dict())
    origin = {name: card[name] for name in ("data", "seed", "command", "training", "origin") if name in card}
    return model, origin | {"tensors": tensors_hash(find_weights(config.start_from))}


def _card(config: TrainConfig, manifest: Manifest, row: Row, origin: dict[str, Any] | None = None) -> dict[str, Any]:
    """The card of best.safetensors."""
    options = {name: value for name, value in config.to_json().items() if name not in NOT_COMPARED}
    scores = {name.removeprefix("val_"): row[name] for name in row if name.startswith("val_")}
    return {
        "preprocessing": {"size": [config.size, config.size], "normalize": config.normalize},
        "threshold": 0.5,
        "data": {"dataset": config.data, "split": manifest.name, "manifest": manifest.hash},
        "seed": config.seed,
        "command": command(),
        "training": {"options": options, "epoch": row["epoch"], "seconds": row["seconds"]},
        "metrics": {"test" if config.select_by == "test_loss" else "val": scores},
        **({} if origin is None else {"origin": origin}),
    }


def _finished(folder: Path) -> RunResult:
    if not (folder / "best.safetensors").is_file():
        raise SkinlesionError(
            f"{printable(folder)} is finished, but its best.safetensors is missing: continue with a larger "
            "--epochs, or train again in another --out."
        )
    result = read_json(folder / "result.json", dict[str, Any])
    if wrong := mismatch(result.get("selected"), RECORD_ROW, "selected") or mismatch(
        result.get("history"), list[RECORD_ROW], "history"
    ):
        raise SkinlesionError(f"{printable(folder / 'result.json')} is damaged: {wrong}. Delete it and resume again.")
    last = folder / "checkpoints" / "last.ckpt"
    return RunResult(folder, folder / "best.safetensors", last, result["selected"], result["history"])


def _write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1) + "\n")
