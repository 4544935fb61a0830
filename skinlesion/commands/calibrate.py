"""`skinlesion calibrate`."""

import sys
from pathlib import Path

import tyro

from skinlesion.calibration import calibrate as run_calibration
from skinlesion.checkpoint import save_checkpoint
from skinlesion.commands.outputs import require_new
from skinlesion.data.source import DataSource
from skinlesion.data.splits import load_split
from skinlesion.errors import SkinlesionError
from skinlesion.segmenter import Segmenter


def calibrate(
    weights: tyro.conf.Positional[str],
    *,
    data: str = "folder",
    source: DataSource,
    out: Path,
    split: str | None = None,
    split_seed: int | None = None,
    false_alarms: float = 0.02,
    device: str = "auto",
) -> None:
    """Calibrate trained weights: their confidence, an out-of-distribution score, and whether masks are cleaned up.

    The temperature is fitted on the validation set, which also decides whether masks are cleaned up by default. The
    out-of-distribution score is fitted on the training set; its threshold comes from the validation set.

    Args:
        weights: A run folder, a .safetensors file or a name (see `skinlesion doctor`).
        data: The layout of the weights' training data: folder, isic2016, isic2017, isic2018 or vmunet.
        source: Where the data are.
        out: The new .safetensors file.
        split: The split that the weights were trained on: paper, official, random, or a saved manifest (*.json).
        split_seed: Random seed of the split.
        false_alarms: False-positive rate: the share of the validation images, and of augmented views of them, that may
            be flagged as out of distribution.
        device: auto (a CUDA GPU if the scan engine runs on one, else the CPU), cpu, cuda, cuda:N or mps.
    """
    require_new([out])
    if not 0 < false_alarms < 0.5:
        raise SkinlesionError(f"--false-alarms must be between 0 and 0.5, not {false_alarms}.")
    segmenter = Segmenter.from_pretrained(weights, device=device)
    samples = {sample.id: sample for sample in source.find(data).samples}
    manifest = load_split(list(samples.values()), data, split, split_seed)
    trained_on = segmenter.card.get("data", {}).get("manifest", manifest.hash)
    if trained_on != manifest.hash:
        raise SkinlesionError(
            f"{weights} was trained on another split, so it may have been trained on these validation images: pass "
            "--split with the manifest.json of its run folder."
        )
    train, validation = ([samples[id] for id in manifest.parts[part]] for part in ("train", "val"))
    if len(train) < 2 or len(validation) < 2:
        raise SkinlesionError("Calibration needs at least two training and two validation images.")
    card = run_calibration(
        segmenter,
        train,
        validation,
        false_alarms=false_alarms,
        progress=lambda what: print(f"processing {what}", file=sys.stderr),
    )
    save_checkpoint(out, segmenter.model.cpu(), card, half=card.get("stored_bits") == 16)
    found = card["calibration"]
    print(
        f"{out}: temperature {card['temperature']:.2f}; mean confidence of the validation images "
        f"{found['confidence']:.3f} -> {found['calibrated']:.3f}, mean Dice {found['val_dice']:.3f}; "
        f"pooled IoU {found['val_iou']:.4f}, of cleaned masks {found['val_iou_cleaned']:.4f}; "
        f"out-of-distribution score with {card['domain']['false_alarms']:.1%} false alarms on the validation "
        "images and augmented views of them."
    )
