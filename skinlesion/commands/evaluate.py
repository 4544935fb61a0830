"""`skinlesion evaluate`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from skinlesion.checkpoint import DEFAULT_WEIGHTS
from skinlesion.commands.outputs import STDOUT, require_new, write_json
from skinlesion.data.groups import diagnoses_of
from skinlesion.data.source import DataSource
from skinlesion.data.splits import PARTS, load_split
from skinlesion.errors import SkinlesionError
from skinlesion.evaluation import evaluate as run_evaluation
from skinlesion.protocol import TRUTH_SIZE
from skinlesion.segmenter import CLEAN, Segmenter


def evaluate(
    *,
    data: str = "folder",
    source: DataSource,
    weights: str = DEFAULT_WEIGHTS,
    part: Literal["train", "val", "test", "all"] = "test",
    split: str | None = None,
    split_seed: int | None = None,
    truth_size: int = TRUTH_SIZE,
    threshold: float | None = None,
    tta: Literal["none", "flips", "dihedral"] = "none",
    clean: Literal["auto", "on", "off"] = "auto",
    by: str | None = None,
    json: Path | None = None,
    csv: Path | None = None,
    device: str = "auto",
    engine: str = "auto",
) -> None:
    """Evaluate weights on images with masks: pooled and per-image scores with bootstrap intervals over images.

    Args:
        data: The layout: folder (any folders of images and masks), isic2016, isic2017, isic2018, vmunet or synthetic.
        source: Where the data are.
        weights: A name (see `skinlesion doctor`), a .safetensors file or a run folder.
        part: Which part of the split; all uses every image.
        split: paper, official, random, or a saved manifest (*.json); by default paper for the ISIC datasets.
        split_seed: Random seed of the split.
        truth_size: Side in pixels at which prediction and ground truth are compared.
        threshold: Lowest probability that counts as lesion; by default the one stored with the weights.
        tta: Test-time augmentation: the mean over the four flips, or the eight flips and quarter turns, of the image.
        clean: Keep only the largest region of each mask and fill its holes; auto: as the weights' card says.
        by: Also report scores by group: any of tone, size, border and diagnosis, separated by commas. Tone is based on
            the individual typology angle of the image's background; diagnoses come from ROOT/metadata.csv.
        json: File for the results and the evaluation protocol; - for standard output, instead of the tables.
        csv: File for the scores, one row per image.
        device: auto (a CUDA GPU if the scan engine runs on one, else the CPU), cpu, cuda, cuda:N or mps.
        engine: Scan engine, see `skinlesion doctor`.
    """
    require_new([json, csv])
    kinds = [each.strip() for each in by.split(",")] if by else []
    if part == "all" and (split is not None or split_seed is not None):
        raise SkinlesionError("--part all uses every image: leave out --split and --split-seed, or choose a part.")
    segmenter = Segmenter.from_pretrained(weights, device=device, engine=engine)
    found = source.find(data)
    samples = found.samples
    diagnoses = diagnoses_of(samples, source.folder / "metadata.csv") if "diagnosis" in kinds else None
    for note in found.left_out:
        print(note, file=sys.stderr)
    protocol: dict[str, Any] = {"dataset": data, "part": part, "split": None, "manifest": None}
    if part != "all":
        manifest = load_split(samples, data, split, split_seed)
        wanted = set(manifest.parts[part])
        if not wanted:
            there = ", ".join(name for name in PARTS if manifest.parts[name])
            raise SkinlesionError(f"This split has no {part} part, only {there}: choose another --part, or --part all.")
        samples = [sample for sample in samples if sample.id in wanted]
        protocol |= {"split": manifest.name, "split_seed": manifest.seed, "manifest": manifest.hash}
        seen = list(_trained_on(segmenter.card))
        protocol["same_split_as_training"] = all(each.get("manifest") == manifest.hash for each in seen)
        if any(each.get("dataset") == data and each.get("manifest") != manifest.hash for each in seen):
            print(
                f"Note: {weights} was trained on another split of {data}; it may have seen these images.",
                file=sys.stderr,
            )
    console = Console(file=sys.stderr)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("evaluating", total=len(samples))
        result = run_evaluation(
            segmenter,
            samples,
            truth_size=truth_size,
            threshold=threshold,
            tta=tta,
            clean=CLEAN[clean],
            by=kinds,
            diagnoses=diagnoses,
            protocol=protocol,
            progress=lambda done: bar.update(task, completed=done),
        )
    if csv is not None:
        result.save_csv(csv)
    if json is not None:
        try:
            write_json(result.report, json)
        except SkinlesionError:  # both or neither
            if csv is not None:
                csv.unlink(missing_ok=True)
            raise
    if json == STDOUT:
        return
    _print(result.report, f"{segmenter.name} on {data}, part {part}")
    for each, groups in result.report.get("groups", {}).items():
        _print_groups(each, groups)


def _print(report: dict[str, Any], title: str) -> None:
    intervals, level = report["intervals"], report["intervals"]["level"]
    table = Table(
        *("score", f"pooled ({level:.0%} interval)", f"mean over images ({level:.0%} interval)", "median"),
        title=f"{title}: {report['n']} images",
        title_justify="left",
    )
    for name, values in report["per_image"].items():
        pooled = report["pooled"].get(name)
        table.add_row(
            name,
            "" if pooled is None else _with_interval(pooled, intervals["pooled"][name]),
            _with_interval(values["mean"], intervals["per_image"][name]),
            f"{values['median']:.4f}",
        )
    Console(highlight=False).print(table)


def _print_groups(by: str, groups: dict[str, Any]) -> None:
    table = Table(
        *(by, "images", "IoU, pooled", "IoU, mean", "sensitivity, pooled"), title=f"By {by}", title_justify="left"
    )
    for name, group in groups.items():
        values = [group[key] for key in ("pooled_iou", "mean_iou", "sensitivity")]
        table.add_row(name, str(group["n"]), *(_with_interval(each["value"], each["interval"]) for each in values))
    Console(highlight=False).print(table)
    if by == "tone":
        print(
            "Tone is measured on the image: lighting and exposure affect it as much as skin does. It says nothing "
            "about a person."
        )


def _with_interval(value: float, interval: list[float]) -> str:
    return f"{value:.4f} ({interval[0]:.4f} to {interval[1]:.4f})"


def _trained_on(card: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The data of a checkpoint's run, and of the runs whose weights it started from."""
    yield card.get("data", {})
    if "origin" in card:
        yield from _trained_on(card["origin"])
