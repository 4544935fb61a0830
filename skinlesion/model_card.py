"""Exports a checkpoint for sharing: results in its header, and a generated model card beside it."""

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from skinlesion.checkpoint import find_weights, load_checkpoint, read_card, save_checkpoint, tensors_hash
from skinlesion.errors import SkinlesionError
from skinlesion.files import replacing, write_text
from skinlesion.segmenter import check_threshold

_SCORES = {
    "iou": "IoU of the lesion",
    "dsc": "DSC",
    "accuracy": "accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "boundary_f1": "boundary F1",
}


def export(
    weights: str | Path,
    out: str | Path,
    *,
    half: bool = False,
    threshold: float | None = None,
    results: Sequence[str | Path] = (),
) -> tuple[Path, Path]:
    """Write a checkpoint with results in its header, and its model card.

    Args:
        weights: as `find_weights`; may be `out` itself, to add results to it.
        out: the .safetensors file; the card goes beside it, with the ending .md. Both are replaced if they exist.
        half: store the weights in 16 bits. In that case, results must be measured on the 16-bit file: export first,
            evaluate that file, and export once more with the results.
        threshold: lowest probability that counts as lesion, in (0, 1); by default the checkpoint's own.
        results: files of `skinlesion evaluate --json`.

    Returns:
        The checkpoint's path and the card's.

    Raises:
        SkinlesionError: a file cannot be used, or results were measured on different weights.
    """
    out = Path(out)
    if out.suffix != ".safetensors":
        raise SkinlesionError(f"{out} must end in .safetensors.")
    source = find_weights(weights)
    model, card = load_checkpoint(source)
    reports = [_read_report(Path(path)) for path in results]
    was_half = card.get("stored_bits") == 16
    if reports and half and not was_half:
        raise SkinlesionError(
            f"The results are for {source}, not for its 16-bit copy: export with --half first, evaluate that file, and "
            "export it with the results."
        )
    for path, report in zip(results, reports, strict=True):
        if report["protocol"].get("weights_sha256") != tensors_hash(source):
            raise SkinlesionError(f"{path} has results of other weights than {source}; evaluate the latter first.")
    card["evaluations"] = reports or card.get("evaluations", [])
    if threshold is not None:
        card["threshold"] = check_threshold(threshold)
    path = out.with_suffix(".md")
    with replacing(path) as page, replacing(out) as file:  # both or neither
        save_checkpoint(file, model, card, half=half or was_half)
        write_text(page, model_card(read_card(file), name=out.stem, digest=tensors_hash(file)))
    return out, path


def model_card(card: dict[str, Any], *, name: str, digest: str) -> str:
    """The Markdown page of a checkpoint from its card.

    Args:
        card: as in `skinlesion.checkpoint`, with "evaluations" from `skinlesion evaluate` where there are some.
        name: what the checkpoint is called.
        digest: SHA-256 of its tensors.
    """
    parts = [
        f"# Model card: {name}",
        "Written by `skinlesion export` from the checkpoint's own header.",
        "Finds the border of a single skin lesion in a dermoscopy image. For teaching and research only: it is not a "
        "medical device, it gives no diagnosis, and it hasn't been tested on ordinary photographs or all skin tones.",
        "## Results",
        *(_results(report) for report in card.get("evaluations", [])),
        _selection(card),
        "## What it is",
        _table(("", ""), _facts(card, digest)),
        "## How it was trained",
        *_training(card),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(card: dict[str, Any], digest: str) -> list[tuple[str, Any]]:
    model, preprocessing, data = card["model"], card["preprocessing"], card.get("data", {})
    height, width = preprocessing["size"]
    return [
        ("network", model["name"]),
        *((f"network, {key}", value) for key, value in model["config"].items()),
        ("image size", f"{height} x {width}"),
        ("normalization", preprocessing["normalize"]),
        ("threshold", card.get("threshold", 0.5)),
        ("weights stored as", f"float{card.get('stored_bits', 32)}, used as float32"),
        ("trained on", f"{data.get('dataset', 'unknown')}, split {data.get('split', 'unknown')}"),
        ("split manifest, SHA-256", data.get("manifest", "unknown")),
        ("seed", card.get("seed", "unknown")),
        ("written by skinlesion", card.get("version", "unknown")),
        ("tensors, SHA-256", digest),
    ]


def _training(card: dict[str, Any]) -> list[str]:
    """The command and the options of a run, and of those whose weights it started from, the first one first."""
    parts = [*_training(card["origin"]), "Then:"] if "origin" in card else []
    parts.append(_code_block(card.get("command", "unknown")))
    if options := card.get("training", {}).get("options"):
        parts.append(_table(("option", "value"), [(key, value) for key, value in options.items()]))
    return parts


def _results(report: dict[str, Any]) -> str:
    protocol, pooled, means = report["protocol"], report["pooled"], report["per_image"]
    intervals = report["intervals"]
    rows = []
    for key, label in _SCORES.items():
        pool = _score(pooled.get(key), intervals["pooled"].get(key))
        mean = _score(means.get(key, {}).get("mean"), intervals["per_image"].get(key))
        rows.append((label, pool, mean))
    level = f"{100 * intervals['level']:.0f}%"
    size = protocol.get("truth_size")
    where = f"{protocol.get('dataset', 'unknown data')}, split {protocol.get('split')}, part {protocol.get('part')}"
    threshold, tta = _span(protocol.get("threshold", "unknown")), protocol.get("tta")
    views = "without" if tta in (None, False, "none") else f"with {_span('flips' if tta is True else tta)} as"
    cleaned = ", masks cleaned up" if protocol.get("clean") else ""
    head = (
        f"{_span(where)}: {report['n']} images, ground truth at {size} x {size}, threshold {threshold}, {views} "
        f"test-time augmentation{cleaned}; {level} bootstrap intervals over images."
    )
    table = _table(("score", "pooled over all pixels", "mean over images"), rows)
    command = str(protocol.get("environment", {}).get("command", "unknown"))
    command = re.sub(r"--tta(?= --|$)", "--tta flips", command)  # version 0.1 had no other views
    groups = "".join(_groups(by, found) for by, found in report.get("groups", {}).items())
    return f"{head}\n\n{table}\n\n{groups}{_code_block(command)}"


def _groups(by: str, groups: dict[str, Any]) -> str:
    columns = {"pooled_iou": "IoU, pooled", "mean_iou": "IoU, mean", "sensitivity": "sensitivity, pooled"}
    rows = [
        (name.replace(" %", "%"), found["n"], *(_score(found[key]["value"], found[key]["interval"]) for key in columns))
        for name, found in groups.items()
    ]
    return _table((by, "images", *columns.values()), rows) + "\n\n"


def _selection(card: dict[str, Any]) -> str:
    validation = card.get("metrics", {}).get("val")
    if not validation:
        return ""
    epoch = card.get("training", {}).get("epoch", "unknown")
    scores = ", ".join(f"{key} {value:.4f}" for key, value in validation.items() if isinstance(value, float))
    return f"Epoch {_span(epoch)} was selected on the validation set, which was held out of training: {scores}."


def _score(value: float | None, interval: list[float] | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" + (f" ({interval[0]:.4f} to {interval[1]:.4f})" if interval else "")


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *(list(map(_span, row)) for row in rows)]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _span(value: Any) -> str:
    """Text that Markdown takes literally: a header comes from a file that may be anyone's."""
    text = " ".join(str(value).split()).replace("`", "'").replace("|", "/")
    return f"`{text}`" if any(c in text for c in "<>[]*_&#\\!") else text


def _code_block(text: str) -> str:
    return "    " + " ".join(str(text).split())


def _read_report(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SkinlesionError(f"Cannot read {path}: {error.strerror}.") from error
    except ValueError as error:
        raise SkinlesionError(f"{path} is not JSON; give a file of `skinlesion evaluate --json`.") from error
    keys = {"n", "pooled", "per_image", "intervals", "protocol"}
    if not isinstance(report, dict) or not keys <= report.keys() or not _finite(report["pooled"]):
        raise SkinlesionError(f"{path} is not a result of `skinlesion evaluate --json`.")
    return report


def _finite(scores: Any) -> bool:
    return isinstance(scores, dict) and all(isinstance(v, float) and math.isfinite(v) for v in scores.values())
