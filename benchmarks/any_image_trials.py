"""Ways to train on other people's images, one at a time, each from the same start and for as long as its control.

    python benchmarks/any_image_trials.py --isic2017 DIR --runs DIR --out any_image_trials.json

Every trial continues the training of `accurate` (or of --start-from) for the same number of epochs on the training
set of ISIC 2017 and is measured on the validation set: whole images, and two seeded crops of each. `strong` is the
control without magnification; `zoom` is the control of all the others. A finished run isn't repeated, and a stopped
one resumes. Other settings (--epochs, --start-from, --lr) need another --out and --runs.
"""

import argparse
import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from any_image import validation
from PIL import Image

import skinlesion
from skinlesion import Segmenter
from skinlesion.data.layouts import find_samples
from skinlesion.data.sample import Sample
from skinlesion.data.splits import Manifest, load_split
from skinlesion.data.synthetic import synthesize
from skinlesion.files import write_text
from skinlesion.training.config import TrainConfig
from skinlesion.training.recipes import RECIPES
from skinlesion.training.trainer import train

SEEDS = (0, 1)
DEFAULTS = {"epochs": 2, "start_from": "accurate", "lr": 1e-3}  # settings that all runs of a file of results share
SIDE = 160
SIDES = (128, 160, 192)
SOFT = 1.5  # pixels of 160: the standard deviation of the blurred border
DRAWN = 270  # synthetic images: a fifth of the training set
DRAWN_SIDE = 320


class Change(pl.Callback):
    """Changes every training batch before it's used."""

    def __init__(self, change: Callable[[dict[str, Any], int], None]) -> None:
        self.change = change

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        """Called by Lightning."""
        self.change(batch, trainer.global_step)


def soft_labels(batch: dict[str, Any], step: int) -> None:
    """Blur the masks, so that a pixel at the border isn't all or nothing."""
    blurred = [cv2.GaussianBlur(mask[0].numpy(), (0, 0), SOFT) for mask in batch["mask"]]
    batch["mask"] = torch.from_numpy(np.stack(blurred))[:, None]  # (B, 1, H, W)


def mixed_sizes(batch: dict[str, Any], step: int) -> None:
    """Resize image and mask to one of three sides, drawn for the batch."""
    side = SIDES[int(np.random.default_rng(step).integers(len(SIDES)))]
    batch["image"] = F.interpolate(batch["image"], (side, side), mode="bilinear", antialias=True)
    batch["mask"] = F.interpolate(batch["mask"], (side, side), mode="area")


def ensemble_of(teachers: list[str]) -> Callable[[dict[str, Any], int], None]:
    """Half of the target is the mean probability of networks of the same size."""
    networks = [Segmenter.from_pretrained(name).model.eval() for name in teachers]

    def change(batch: dict[str, Any], step: int) -> None:
        with torch.no_grad():
            probability = torch.stack([network(batch["image"]).sigmoid() for network in networks]).mean(0)
        batch["mask"] = (batch["mask"] + probability) / 2

    return change


def draw(folder: Path) -> list[Sample]:
    """Synthetic lesions on brown and dark skin with stickers, ink, rulers and hair; drawn once."""
    samples = []
    for number in range(DRAWN):
        knobs: dict[str, Any] = {"skin_tone": 3 + number % 4}
        if number % 3 == 0:
            knobs["sticker"] = "disc"
        if number % 5 == 0:
            knobs["ink"] = True
        if number % 7 == 0:
            knobs["ruler"] = "bar"
        paths = folder / f"drawn_{number:04d}.png", folder / f"drawn_{number:04d}_mask.png"
        if not all(path.is_file() for path in paths):
            folder.mkdir(parents=True, exist_ok=True)
            lesion = synthesize(70_000 + number, DRAWN_SIDE, **knobs)
            Image.fromarray(lesion.image).save(paths[0])
            Image.fromarray(lesion.mask).save(paths[1])
        samples.append(Sample(paths[0].stem, *paths))
    return samples


def with_drawn(manifest: Manifest, drawn: list[Sample], path: Path) -> Path:
    """The same split with the synthetic images in its training set."""
    parts = manifest.parts | {"train": tuple(sorted([*manifest.parts["train"], *(each.id for each in drawn)]))}
    dataclasses.replace(manifest, dataset="isic2017-and-drawn", parts=parts).save(path)
    return path


def mixed_in(runs: Path, manifest: Manifest) -> dict[str, Any]:
    """Options that mix the synthetic images into the training set."""
    drawn = draw(runs / "drawn")
    skinlesion.register_dataset("isic2017-and-drawn", lambda folder: [*find_samples(folder, "isic2017"), *drawn])
    return {"data": "isic2017-and-drawn", "split": str(with_drawn(manifest, drawn, runs / "drawn.json"))}


def ensemble(runs: Path) -> Change:
    """Soft targets from the runs of `zoom` and from `accurate`."""
    return Change(ensemble_of([*(str(runs / f"zoom-{seed}") for seed in SEEDS), "accurate"]))


ZOOM = {"augmentation": "zoom"}
# Options and callbacks of each trial, made when its turn comes: some need the runs of an earlier one.
TRIALS: dict[str, Callable[[Path, Manifest], tuple[dict[str, Any], list[pl.Callback]]]] = {
    "zoom": lambda runs, manifest: (ZOOM, []),
    "strong": lambda runs, manifest: ({"augmentation": "strong"}, []),
    "zoom-soft-labels": lambda runs, manifest: (ZOOM, [Change(soft_labels)]),
    "zoom-synthetic": lambda runs, manifest: (ZOOM | mixed_in(runs, manifest), []),
    "zoom-mixed-sizes": lambda runs, manifest: (ZOOM, [Change(mixed_sizes)]),
    "zoom-ensemble": lambda runs, manifest: (ZOOM, [ensemble(runs)]),
}


def results_so_far(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """The file of results with its settings, which must be the given ones; without runs if there is no file yet.

    Raises:
        SystemExit: its runs were trained with other settings, so new ones couldn't be compared with them.
    """
    if not path.is_file():
        return settings | {"runs": {}}
    found = DEFAULTS | json.loads(path.read_text())  # the published file lists no setting but the epochs
    for name, value in settings.items():
        if found[name] != value:
            flag = "--" + name.replace("_", "-")
            raise SystemExit(f"{path} was measured with {flag} {found[name]}, not {value}: give another --out.")
    return found


def is_started(folder: Path, epochs: int) -> bool:
    """Whether there is a run to resume.

    Raises:
        SystemExit: it was meant to have another number of epochs, so it followed another schedule.
    """
    path = folder / "config.json"
    if path.is_file() and (before := TrainConfig.load(path).epochs) != epochs:
        raise SystemExit(f"{folder} was started with --epochs {before}, not {epochs}: give another --runs.")
    return path.is_file()


def options(root: Path, out: Path, seed: int, epochs: int, start_from: str, lr: float) -> dict[str, Any]:
    """What all trials share: the settings that the default weights were trained with."""
    return RECIPES["cpu"] | {
        "model": ("d_state=4",),
        "data": "isic2017",
        "root": root,
        "split": "paper",
        "optimizer": "muon",
        "start_from": start_from,
        "size": SIDE,
        "schedule": "cosine",
        "lr": lr,
        "warmup_epochs": 0.5,
        "epochs": epochs,
        "seed": seed,
        "threads": 1,
        "estimate": False,
        "out": out,
    }


def arguments_from(words: Sequence[str] | None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--isic2017", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--start-from")
    parser.add_argument("--lr", type=float)
    parser.add_argument("--only", nargs="+", choices=TRIALS, help="all of them by default")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--out", type=Path, required=True)
    parser.set_defaults(**DEFAULTS)
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Train and measure; write after each run."""
    arguments = arguments_from(words)
    settings = {name: getattr(arguments, name) for name in DEFAULTS}
    found = results_so_far(arguments.out, settings)
    samples = {sample.id: sample for sample in find_samples(arguments.isic2017, "isic2017")}
    manifest = load_split(list(samples.values()), "isic2017", "paper", None)
    held_out = [samples[id] for id in manifest.parts["val"]]
    start = arguments.start_from
    if start not in found["runs"]:
        found["runs"][start] = validation(Segmenter.from_pretrained(start), held_out)
        write(arguments.out, found)
    for name in (each for each in TRIALS if each in (arguments.only or TRIALS)):  # in this order, whatever was typed
        for seed in arguments.seeds:
            folder = arguments.runs / f"{name}-{seed}"
            if folder.name in found["runs"]:
                continue
            special, callbacks = TRIALS[name](arguments.runs, manifest)
            shared = options(arguments.isic2017, folder, seed, **settings)
            train(TrainConfig(**(shared | special), resume=is_started(folder, arguments.epochs)), callbacks=callbacks)
            found["runs"][folder.name] = validation(Segmenter.from_pretrained(folder), held_out)
            write(arguments.out, found)


def write(path: Path, found: dict[str, Any]) -> None:
    """Write the results whole."""
    write_text(path, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
