"""Which images are for training and which for testing: seeded splits, saved with a hash.

The paper splits 70/30 without listing the ids (A35), so the ids here are ours: drawn with a fixed seed, saved, and
verified by a hash. Images of the same lesion stay on one side. The validation set, on which checkpoints are
selected, is cut from the training set (A34): the test set is never looked at before the end.

Regenerate a manifest that comes with the package (ROOT is the unzipped official data):
``python -m skinlesion.data.splits isic2017 ROOT skinlesion/data/manifests/isic2017-paper.json``
"""

import csv
import hashlib
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from skinlesion.data.layouts import DATASETS, OFFICIAL, Sample, check_dataset_name, find_samples
from skinlesion.data.same_lesion import group_pairs, joined
from skinlesion.errors import SkinlesionError
from skinlesion.files import write_text
from skinlesion.schema import read_json
from skinlesion.text import counted, printable

PARTS = ("train", "val", "test")
FORMAT = "skinlesion-manifest-1"
# The paper's training and test sizes; 2016 is the official division, the others pool train and validation.
PAPER_SIZES = {"isic2016": (900, 379), "isic2017": (1500, 650), "isic2018": (1886, 808)}
# 70/30 of the 2594 pairs of the ISIC 2018 training set, for when the 100 of the validation set are not at hand.
TRAINING_PART_SIZES = {"isic2018": (1816, 778)}
_PAPER_SEEDS = {"isic2016": 2016, "isic2017": 2017, "isic2018": 2018}
_TEST_FRACTION = 0.3


@dataclass(frozen=True)
class Manifest:
    """A split, id by id.

    Attributes:
        dataset: the dataset's name, one of :data:`skinlesion.data.layouts.DATASETS` or a registered one.
        name: ``paper``, ``official`` or ``random``.
        seed: what the split was drawn with.
        parts: ids of ``train``, ``val`` and ``test``, each sorted, none in two parts.
    """

    dataset: str
    name: str
    seed: int
    parts: dict[str, tuple[str, ...]]

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of the canonical JSON: the same split gives the same hash on every machine."""
        text = json.dumps(self._content(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def save(self, path: str | Path) -> None:
        """Write as JSON, whole or not at all.

        Raises:
            SkinlesionError: the folder is missing or cannot be written.
        """
        write_text(path, json.dumps({**self._content(), "sha256": self.hash}, indent=1) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> "Manifest":
        """Read a saved manifest and check its hash.

        Raises:
            SkinlesionError: the file is missing, isn't a manifest, or was changed after it was saved.
        """
        return cls._from_content(read_json(Path(path), Any), printable(path))

    def check(self, samples: Iterable[Sample]) -> None:
        """Raise SkinlesionError, naming ids, if the data lack some that this manifest needs."""
        present = {sample.id for sample in samples}
        missing = sorted(id for ids in self.parts.values() for id in ids if id not in present)
        if missing:
            some = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
            raise SkinlesionError(
                f"The data lack {counted(len(missing), 'image')} that the split {self.dataset}/{self.name} needs: "
                f"{some}. Add them, or use another split."
            )

    def _content(self) -> dict[str, Any]:
        parts = {part: list(ids) for part, ids in self.parts.items()}
        return {"format": FORMAT, "dataset": self.dataset, "name": self.name, "seed": self.seed, "parts": parts}

    @classmethod
    def _from_content(cls, content: Any, label: str) -> "Manifest":
        wrong = SkinlesionError(f"{label} is not a skinlesion manifest ({FORMAT}).")
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise wrong
        parts = content.get("parts")
        if not isinstance(parts, dict) or set(parts) != set(PARTS):
            raise wrong
        ids = [id for part in PARTS for id in (parts[part] if isinstance(parts[part], list) else [None])]
        if not all(isinstance(id, str) for id in ids) or not isinstance(content.get("seed"), int):
            raise wrong
        manifest = cls(
            dataset=str(content.get("dataset")),
            name=str(content.get("name")),
            seed=content["seed"],
            parts={part: tuple(parts[part]) for part in PARTS},
        )
        if content.get("sha256") != manifest.hash:
            raise SkinlesionError(f"{label} was changed after it was saved: its hash does not match. Create it again.")
        if len(set(ids)) != len(ids):
            raise SkinlesionError(f"{label} lists an id in two parts, or twice in one: create it again.")
        return manifest


def make_manifest(
    samples: Sequence[Sample | str],
    dataset: str,
    name: str = "random",
    seed: int = 0,
    val_fraction: float = 0.1,
    near_duplicates: Iterable[tuple[str, str]] = (),
) -> Manifest:
    """Split a dataset with a seed. The order in which ids are given does not matter.

    The groups (an image, or the images of one lesion) are ordered by the SHA-256 hash of the seed and the group's
    first id, so the split doesn't depend on any library's random number generator and can be checked by hand.

    Args:
        samples: samples, or bare ids where no official part is needed.
        dataset: one of ``DATASETS``, or a registered one.
        name: ``random``: 70/30 of all but the publisher's test set.
            ``paper``: 70/30 of train and validation in the paper's exact sizes (2017: 1500/650, 2018: 1886/808;
            2016: the official 900/379). ISIC 2018 without its 100 validation pairs: 1816/778 of the other 2594.
            ``official``: the publisher's parts, those that the folders are named after, or those that a registered
            data set gives its samples. ``vmunet`` without a ``test`` folder tests on ``val``, as that harness does.
        seed: determines the split, including the validation set.
        val_fraction: share of the training set cut off for validation, in [0, 1). An official validation set is
            used instead where there is one and the split is ``official``.
        near_duplicates: pairs of ids that show one lesion; kept on one side, as is each ``Sample.group``. Pairs of
            absent ids are ignored.

    Raises:
        SkinlesionError: an unknown name, a split that this dataset lacks, or the wrong number of images for it.
    """
    if not 0 <= val_fraction < 1:
        raise SkinlesionError(f"The validation fraction must lie in [0, 1), not {val_fraction}.")
    pairs = [*near_duplicates, *group_pairs(sample for sample in samples if isinstance(sample, Sample))]
    by_part: dict[str | None, list[str]] = {}
    for sample in samples:
        id, part = (sample.id, sample.part) if isinstance(sample, Sample) else (sample, None)
        by_part.setdefault(part, []).append(id)
    train, val, test = _divide(by_part, dataset, name, seed, pairs)
    if not val:
        count = max(1, round(val_fraction * len(train))) if val_fraction else 0
        train, val = _cut(train, count, f"{seed}/val", pairs) if count else (train, [])
    if not train:
        raise SkinlesionError(f"{dataset} has too few images to split ({len(samples)}); at least 3 are needed.")
    parts = {"train": tuple(sorted(train)), "val": tuple(sorted(val)), "test": tuple(sorted(test))}
    return Manifest(dataset, name, seed, parts)


def load_split(
    samples: Sequence[Sample], dataset: str, split: str | Path | None = None, seed: int | None = None
) -> Manifest:
    """Return the manifest that a run asks for, checked against the data at hand.

    Args:
        samples: what :func:`~skinlesion.data.layouts.find_samples` found.
        dataset: its name.
        split: ``paper``, ``official``, ``random``, or the path of a saved manifest (``*.json``). Default: paper for the
            ISIC datasets, official where folders are named after the parts, random for the others.
        seed: the seed of a split that is drawn here; defaults to the dataset's fixed seed. For isic2017, and for
            isic2018 if only the 2594 training pairs are available, ``paper`` with the default seed is a manifest that
            comes with the package.

    Raises:
        SkinlesionError: as for :func:`make_manifest` and :meth:`Manifest.load`; also if ids are missing.
    """
    if split is None:
        parts = {sample.part for sample in samples}
        named = "train" in parts and len(parts) > 1
        split = "paper" if dataset in PAPER_SIZES else "official" if named else "random"
    if str(split).endswith(".json"):
        manifest = Manifest.load(split)
    elif split == "paper" and seed is None and _has_packaged_split(samples, dataset):
        manifest = packaged_manifest(f"{dataset}-paper")
    else:
        seed = _PAPER_SEEDS.get(dataset, 0) if seed is None else seed
        manifest = make_manifest(samples, dataset, str(split), seed, near_duplicates=near_duplicates(dataset))
    manifest.check(samples)
    return manifest


def packaged_manifest(name: str) -> Manifest:
    """Load a manifest that comes with the package, such as ``isic2017-paper``."""
    with resources.as_file(_packaged(f"{name}.json")) as path:
        return Manifest.load(path)


def near_duplicates(dataset: str) -> list[tuple[str, str]]:
    """Return the known pairs of images of one lesion; [] for datasets outside ISIC.

    The years share one archive and its ids. ISIC 2017 has a list of its own, which its split was drawn with. A second
    search, over the center squares of ISIC 2018, found 62 more pairs: the same image in other colors, from other
    archives, or at another magnification. 13 of them have one image in the training set and the other in the test set
    of our ISIC 2017 split, which stays as it is because published results use it. The other years use both lists.
    """
    if dataset not in OFFICIAL:
        return []
    pairs = []
    for year in ("isic2017",) if dataset == "isic2017" else ("isic2017", "isic2018"):
        with _packaged(f"{year}-near-duplicates.csv").open(encoding="utf-8") as file:
            pairs += [(row["id_a"], row["id_b"]) for row in csv.DictReader(file)]
    return list(dict.fromkeys(pairs))


def _has_packaged_split(samples: Sequence[Sample], dataset: str) -> bool:
    """Whether the package has the split ``paper`` for the parts at hand."""
    return dataset == "isic2017" or (dataset == "isic2018" and not any(sample.part == "val" for sample in samples))


def _packaged(name: str) -> Any:
    return resources.files("skinlesion.data") / "manifests" / name


def _divide(
    by_part: dict[str | None, list[str]], dataset: str, name: str, seed: int, pairs: list[tuple[str, str]]
) -> tuple[list[str], list[str], list[str]]:
    """Return train, val and test; val is empty where it is still to be cut from train."""
    check_dataset_name(dataset)
    pool = [id for part, ids in by_part.items() if part != "test" for id in ids]
    official_test = by_part.get("test", [])
    if name == "random":
        train, test = _cut(pool, round(_TEST_FRACTION * len(pool)), f"{seed}/test", pairs)
        return train, [], test
    if name == "paper" and dataset in PAPER_SIZES:
        n_train, n_test = PAPER_SIZES[dataset]
        if dataset == "isic2016":
            _expect(len(pool), n_train, dataset, "training set")
            _expect(len(official_test), n_test, dataset, "test set")
            return pool, [], official_test
        if dataset in TRAINING_PART_SIZES and not by_part.get("val"):
            n_train, n_test = TRAINING_PART_SIZES[dataset]
        _expect(len(pool), n_train + n_test, dataset, "training and validation sets")
        train, test = _cut(pool, n_test, f"{seed}/test", pairs, exact=True)
        return train, [], test
    if name == "official":
        val, train = by_part.get("val", []), by_part.get("train", [])
        if dataset == "vmunet" and not official_test:
            val, official_test = [], val
        if not train or (not official_test and dataset in OFFICIAL):
            needed = "folders for the training and test sets" if dataset in DATASETS else "Samples with part='train'"
            raise SkinlesionError(
                f"The split 'official' of {dataset} needs {needed}, which are not there: use the split 'random', or a "
                "saved manifest (*.json)."
            )
        return train, val, official_test
    valid = ["random", "official"] + ["paper"] * (dataset in OFFICIAL)
    raise SkinlesionError(
        f"Unknown split {name!r} for {dataset}: choose {', '.join(valid)} or a saved manifest (*.json)."
    )


def _expect(found: int, wanted: int, dataset: str, what: str) -> None:
    if found != wanted:
        raise SkinlesionError(
            f"The paper's split of {dataset} needs the {wanted} images of the official {what}; {found} were found. "
            "Complete the data, or use the split 'random'."
        )


def _cut(
    ids: list[str], count: int, key: str, pairs: Iterable[tuple[str, str]], *, exact: bool = False
) -> tuple[list[str], list[str]]:
    """Cut ``count`` ids off, whole groups at a time; returns (rest, cut). Large groups may leave fewer than ``count``.

    Raises:
        SkinlesionError: not exactly ``count`` can be cut off where that is asked for, or none at all.
    """

    def place(group: list[str]) -> str:
        return hashlib.sha256(f"{key}/{group[0]}".encode("utf-8", "surrogatepass")).hexdigest()

    cut: list[str] = []
    groups = sorted(joined(ids, pairs), key=place)
    for group in groups:
        if len(cut) + len(group) <= count:
            cut += group
    if exact and len(cut) != count:
        raise SkinlesionError(
            f"The groups of near-duplicates cannot be divided so that one part has exactly {count} images."
        )
    if count and not cut:
        largest = max(map(len, groups))
        raise SkinlesionError(
            f"A part of about {count} of {len(ids)} images can't be drawn without dividing a group (the largest has "
            f"{largest}): check groups.csv, or use a saved manifest (*.json)."
        )
    chosen = set(cut)
    return [id for id in ids if id not in chosen], cut


if __name__ == "__main__":
    _dataset, _root, _out = sys.argv[1:]
    make_manifest(
        find_samples(_root, _dataset),
        _dataset,
        "paper",
        _PAPER_SEEDS[_dataset],
        near_duplicates=near_duplicates(_dataset),
    ).save(_out)
