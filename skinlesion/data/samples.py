"""The images that come with the package: for the demo, the dashboard and the lessons, without a download.

Twelve synthetic ones by chosen seeds, and eight real ones of ISIC 2017, taken from the test set of the packaged split
by a rule that looks at no model's results. Regenerate the folder (ROOT holds the unzipped official data and
``metadata.csv`` with the columns id, melanoma and seborrheic_keratosis):
``python -m skinlesion.data.samples --root ROOT``
"""

import argparse
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from skinlesion.data.groups import read_diagnoses
from skinlesion.data.images import read_image, read_mask, resize_image, resize_mask
from skinlesion.data.layouts import Sample, find_samples
from skinlesion.data.splits import packaged_manifest
from skinlesion.data.synthetic import synthesize
from skinlesion.data.synthetic.dataset import encode_jpeg, encode_mask
from skinlesion.errors import SkinlesionError
from skinlesion.files import make_folder, replacing, write_text

FOLDER = Path(__file__).parent / "samples"
SIDE = 256
_QUALITY = 92
# Titles say what to look at; the seeds were picked by eye for variety.
_SYNTHETIC = {
    3: "Three tones, beside a color chart and pen marks",
    4: "Globules on freckled skin, a few dark hairs",
    7: "Dark globules, uneven and ragged",
    9: "Pale cysts and dark pits, sharp border",
    11: "Pigment network under gel bubbles",
    16: "Pink, with branching vessels",
    17: "Small lesion under many hairs, with a scale",
    21: "Blue-white veil, dark corners and glints",
    28: "Brown skin, a lesion that leaves the frame",
    30: "Faint: hard to see and hard to delimit",
    135: "Dark skin under light hair, with a scale",
    190: "White regression inside a coarse network",
}
# For each quarter of the test set by lesion area, from small to large: which two diagnoses are taken.
_REAL = (("melanoma", "nevus"), ("seborrheic keratosis", "nevus")) * 2
_SALT = "skinlesion samples"
RULE = (
    "The test set of the packaged split isic2017-paper is cut into quarters by lesion area (mask share of the frame). "
    "From the quarters, small to large, one image is taken of each of: melanoma and nevus; seborrheic keratosis and "
    "nevus; melanoma and nevus; seborrheic keratosis and nevus. Of the images that fit, the one whose SHA-256 of "
    f"'{_SALT}/<id>' is smallest. (Nevus: neither melanoma nor seborrheic keratosis.) No model's result was looked at."
)
_SOURCE = {
    "real": {
        "dataset": "ISIC 2017 (Skin lesion analysis toward melanoma detection), Part 1, reduced to 256 x 256",
        "citation": "Codella et al., Skin lesion analysis toward melanoma detection, https://arxiv.org/abs/1710.05006",
        "license": "CC-0, as stated by the challenge",
        "rule": RULE,
    },
    "synthetic": {
        "program": "skinlesion.data.synthetic.synthesize(seed, 256)",
        "license": "MIT, as this package",
    },
}
_NOTICE = f"""Sample images of skinlesion
===========================

synthetic-*.jpg, synthetic-*_mask.png
    Drawn by skinlesion.data.synthetic; under this package's license. They are drawings: what resembles a
    nevus or a melanoma is neither.

ISIC_*.jpg, ISIC_*_mask.png
    Eight images of the ISIC 2017 challenge (Part 1, lesion segmentation) with their official masks, reduced to
    256 x 256. CC-0, as stated by the challenge. Please cite:
    N. C. F. Codella et al., "Skin lesion analysis toward melanoma detection", https://arxiv.org/abs/1710.05006.

How the real ones were chosen
    {RULE}

samples.json describes every image. Nothing here is for diagnosis.
"""


@dataclass(frozen=True)
class BundledSample:
    """One image that comes with the package.

    Attributes:
        id: unique, also the files' stem.
        title: a short line for a menu.
        image_path: JPEG, 256 x 256.
        mask_path: 1-bit PNG of the same size.
        kind: synthetic or real.
        note: a sentence on where it comes from and what it shows.
        diagnosis: melanoma, nevus or seborrheic keratosis; "" for synthetic ones.
    """

    id: str
    title: str
    image_path: Path
    mask_path: Path
    kind: Literal["synthetic", "real"]
    note: str
    diagnosis: str


def bundled_samples() -> list[BundledSample]:
    """Return the images that come with the package, synthetic ones first, in a fixed order."""
    entries = json.loads((FOLDER / "samples.json").read_text("utf-8"))["samples"]
    return [
        BundledSample(
            id=entry["id"],
            title=entry["title"],
            image_path=FOLDER / entry["image"],
            mask_path=FOLDER / entry["mask"],
            kind=entry["kind"],
            note=entry["note"],
            diagnosis=entry.get("diagnosis", ""),
        )
        for entry in entries
    ]


def regenerate(root: Path, folder: Path = FOLDER) -> None:
    """Write the images, masks, ``samples.json`` and ``NOTICE`` anew.

    Args:
        root: the unzipped official ISIC 2017 data, with ``metadata.csv``.
        folder: where to write; files of the same names are replaced.

    Raises:
        SkinlesionError: data are missing or cannot be read, or the folder cannot be written.
    """
    make_folder(folder)
    entries = [_write_synthetic(folder, seed, title) for seed, title in _SYNTHETIC.items()]
    entries += [_write_real(folder, *chosen) for chosen in choose_real(root)]
    text = json.dumps({"sources": _SOURCE, "samples": entries}, indent=1, ensure_ascii=False)
    write_text(folder / "samples.json", text + "\n")
    write_text(folder / "NOTICE", _NOTICE)


def choose_real(root: Path) -> list[tuple[Sample, str, float]]:
    """Choose by ``RULE``; return (sample, diagnosis, lesion share of the frame) from small to large."""
    samples = {sample.id: sample for sample in find_samples(root, "isic2017")}
    manifest = packaged_manifest("isic2017-paper")
    manifest.check(samples.values())
    diagnosis = read_diagnoses(root / "metadata.csv")
    area = {id: _area(samples[id]) for id in manifest.parts["test"]}
    by_area = sorted(area, key=lambda id: (area[id], id))
    chosen = []
    for quarter, wanted in zip(np.array_split(by_area, 4), _REAL, strict=True):
        for name in wanted:
            id = min((str(id) for id in quarter if diagnosis[str(id)] == name), key=_lot)
            chosen.append((samples[id], name, area[id]))
    return chosen


def _lot(id: str) -> str:
    return hashlib.sha256(f"{_SALT}/{id}".encode()).hexdigest()


def _area(sample: Sample) -> float:
    if sample.mask is None:
        raise SkinlesionError(f"{sample.image} has no mask; its lesion area is needed.")
    return float(read_mask(sample.mask).mean())


def _write_synthetic(folder: Path, seed: int, title: str) -> dict[str, Any]:
    lesion = synthesize(seed, SIDE)
    attributes = {
        name: round(value, 4) if isinstance(value, float) else value for name, value in lesion.attributes.items()
    }
    note = f"Synthetic (seed {seed}): {lesion.attributes['style']}, {lesion.attributes['pattern']}; a drawing."
    entry = _entry(f"synthetic-{seed:03d}", title, "synthetic", note)
    _write(folder / entry["image"], encode_jpeg(lesion.image, _QUALITY))
    _write(folder / entry["mask"], encode_mask(lesion.mask))
    return {**entry, "seed": seed, "attributes": attributes}


def _write_real(folder: Path, sample: Sample, diagnosis: str, area: float) -> dict[str, Any]:
    assert sample.mask is not None  # checked when its area was measured
    image, mask = read_image(sample.image), read_mask(sample.mask)
    is_small = image.shape[:2] == (SIDE, SIDE) and sample.image.suffix == ".jpg"
    # A copy that has the size already is not compressed a second time.
    data = sample.image.read_bytes() if is_small else encode_jpeg(resize_image(image, (SIDE, SIDE)), _QUALITY)
    note = f"Real: ISIC 2017 {sample.id}, test set of our split; lesion {100 * area:.0f}% of the frame."
    entry = _entry(sample.id, f"{diagnosis.capitalize()} ({sample.id})", "real", note)
    _write(folder / entry["image"], data)
    _write(folder / entry["mask"], encode_mask(resize_mask(mask, (SIDE, SIDE))))
    return {**entry, "diagnosis": diagnosis, "lesion_fraction": round(area, 4)}


def _entry(id: str, title: str, kind: str, note: str) -> dict[str, Any]:
    return {"id": id, "title": title, "kind": kind, "image": f"{id}.jpg", "mask": f"{id}_mask.png", "note": note}


def _write(path: Path, data: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def main() -> None:
    """Regenerate the folder from the command line."""
    parser = argparse.ArgumentParser(description="Regenerate the sample images that come with the package.")
    parser.add_argument("--root", type=Path, required=True, help="the unzipped ISIC 2017 data")
    parser.add_argument("--out", type=Path, default=FOLDER, help="where to write (default: the package's folder)")
    arguments = parser.parse_args()
    regenerate(arguments.root, arguments.out)
    print(f"{len(bundled_samples())} samples in {arguments.out}")


if __name__ == "__main__":
    main()
