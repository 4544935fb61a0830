"""Storage of results: one JSON file per run, in a folder that records its plan, manifest and version."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skinlesion.data.layouts import OFFICIAL
from skinlesion.data.splits import PARTS, Manifest
from skinlesion.errors import SkinlesionError
from skinlesion.files import make_folder, write_text
from skinlesion.reproduce.plan import Plan

# The first version whose runs can be compared with this one's; raised when a change alters what a run computes.
COMPARABLE = "0.1.0"


class Key(NamedTuple):
    """One run."""

    dataset: str
    cell: str
    seed: int

    def __str__(self) -> str:
        return f"{self.dataset}/{self.cell}/seed-{self.seed}"


class Result(NamedTuple):
    """One finished run.

    Attributes:
        key: which.
        counts: int64 (images, 4), TP, FP, FN, TN of each test image, sorted by id.
        data: the rest of its JSON.
    """

    key: Key
    counts: NDArray[np.int64]
    data: dict[str, Any]


class Results:
    """The results folder of one plan.

    Args:
        folder: where.
        plan: what is run.
    """

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder = folder
        self.plan = plan

    def claim(self, dataset: str, manifest: str, images: dict[str, int], cells: Sequence[str]) -> None:
        """Register this plan as the folder's own, unless the folder belongs to another one.

        A plan may gain cells and tables, and a cell without a result may be changed; one that was run must stay.

        Args:
            dataset: the data of the cells.
            manifest: hash of their split.
            images: how many images it has, as `images_used` counts them.
            cells: names of the cells to be run.

        Raises:
            SkinlesionError: it holds results of another plan, manifest or version; the message says what differs.
        """
        ours = {
            "plan": self.plan.name,
            "version": COMPARABLE,
            f"manifest_{dataset}": manifest,
            **{f"cell_{cell}": self.plan.hash(cell) for cell in cells},
        }
        theirs = self._refuse(ours)
        make_folder(self.folder)
        counted = {f"images_{dataset}": images}
        write_text(self._protocol, json.dumps({**theirs, **counted, **ours}, indent=1) + "\n")

    def check(self) -> None:
        """Refuse a folder whose results are not those of this plan.

        Raises:
            SkinlesionError: they belong to another plan, their plan is unknown, or there is no such folder.
        """
        if not self.folder.is_dir():
            raise SkinlesionError(f"There are no results in {self.folder}: run some tables first, or check --out.")
        cells = {f"cell_{cell}": self.plan.hash(cell) for cell in self.plan.cells if self._has(cell)}
        self._refuse({"plan": self.plan.name, **cells})

    def images(self, dataset: str) -> dict[str, int] | None:
        """How many images of a dataset were used, as `images_used` counts them; None for older results."""
        known = _read(self._protocol) if self._protocol.exists() else {}
        images: dict[str, int] | None = known.get(f"images_{dataset}")
        return images

    @property
    def _protocol(self) -> Path:
        return self.folder / "protocol.json"

    def _has(self, cell: str) -> bool:
        return any("error" not in path.name for path in self.folder.glob(f"*/{cell}/seed-*.json"))

    def _refuse(self, ours: dict[str, str]) -> dict[str, str]:
        """The protocol of the existing results, if it matches ours; cells without a result may differ."""
        theirs: dict[str, str] = _read(self._protocol) if self._protocol.exists() else {}
        differing = []
        for name, value in ours.items():
            cell = name.removeprefix("cell_")
            if cell == name and theirs.get(name, value) != value:
                differing.append(f"{name} {theirs[name]} there, {value} now")
            elif cell != name and theirs.get(name) != value and self._has(cell):
                differing.append(f"the options of {cell}")
        if differing:
            raise SkinlesionError(
                f"{self.folder} holds results of another protocol ({'; '.join(differing)}): give another --out."
            )
        return theirs

    def path(self, key: Key) -> Path:
        """The JSON of a finished run."""
        return self.folder / f"{key}.json"

    def error_path(self, key: Key) -> Path:
        """The JSON of a run that failed."""
        return self.folder / f"{key}.error.json"

    def save(self, key: Key, counts: NDArray[np.int64], data: dict[str, Any]) -> None:
        """Write a finished run, whole or not at all."""
        columns = {name: column.tolist() for name, column in zip(("tp", "fp", "fn", "tn"), counts.T, strict=True)}
        make_folder(self.path(key).parent)
        write_text(self.path(key), json.dumps({**data, "counts": columns}) + "\n")
        self.error_path(key).unlink(missing_ok=True)

    def save_error(self, key: Key, error: str) -> None:
        """Write down why a run failed."""
        make_folder(self.path(key).parent)
        write_text(self.error_path(key), json.dumps({"error": error}) + "\n")

    def load(self, key: Key) -> Result | None:
        """A finished run; None if it is not there."""
        if not self.path(key).exists():
            return None
        data = _read(self.path(key))
        try:
            columns = data.pop("counts")
            counts = np.array([columns[name] for name in ("tp", "fp", "fn", "tn")], dtype=np.int64).T
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(self.path(key)) from error
        return Result(key, counts, data)

    def all_of(self, dataset: str, cell: str) -> list[Result]:
        """The finished runs of a cell on a dataset, of any seed."""
        names = (re.fullmatch(r"seed-(\d+)\.json", path.name) for path in (self.folder / dataset / cell).glob("*"))
        seeds = sorted(int(name[1]) for name in names if name)
        return [found for seed in seeds if (found := self.load(Key(dataset, cell, seed)))]

    def error(self, key: Key) -> str | None:
        """Why a run failed; None if it did not."""
        path = self.error_path(key)
        return str(_read(path).get("error")) if path.exists() else None


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise _damaged(path) from error
    if not isinstance(values, dict):
        raise _damaged(path)
    return values


def _damaged(path: Path) -> SkinlesionError:
    return SkinlesionError(f"{path} is damaged: move it elsewhere, and the run will be repeated.")


def images_used(manifest: Manifest) -> dict[str, int]:
    """How many images each part of a split has ("train", "val", "test") and the publisher has ("official").

    "official" counts the parts that the split of this name is drawn from, and is absent for data that aren't ISIC's.
    """
    counts = {part: len(ids) for part, ids in manifest.parts.items()}
    tested = manifest.name == "official" or manifest.dataset == "isic2016"  # on the published test set
    pairs = sum(part.pairs for part in OFFICIAL.get(manifest.dataset, ()) if tested or part.part != "test")
    return counts | ({"official": pairs} if pairs else {})


def describe_images(images: dict[str, int]) -> str:
    """`images_used` in words."""
    used = sum(images[part] for part in PARTS)
    of = f" of the {images['official']} official pairs" if "official" in images else " images"
    return f"{used}{of}, {images['train']} to train, {images['val']} to select the epoch, {images['test']} to test"


def wanted(plan: Plan, tables: list[str], seeds: int | None) -> list[Key]:
    """The runs that tables need, each once, ordered by seed, so that an interrupted campaign has every row once."""
    keys: dict[Key, None] = {}
    chosen = [plan.tables[name] for name in tables]
    for seed in range(max(seeds or table.seeds for table in chosen)):
        for table in chosen:
            if seed < (seeds or table.seeds):
                keys.update({Key(table.dataset, row.cell, seed): None for row in table.rows})
    return list(keys)
