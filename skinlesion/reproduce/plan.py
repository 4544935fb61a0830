"""Plans: what is to be run, declared in a TOML file before the runs.

A plan has a protocol in words, a split of each dataset, a recipe (fields of `TrainConfig`, the same for every run),
cells (what differs from run to run), tables (which cells, beside the paper's figures), claims (which cell should beat
which) and factorials (cells with some factors in all combinations).
"""

import dataclasses
import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from skinlesion.data.layouts import DATASETS
from skinlesion.errors import SkinlesionError
from skinlesion.model.config import PRESETS
from skinlesion.training.config import TrainConfig

SCALES = ("cpu", "paper")
# Said for all runs together, or by the machine at hand.
_NOT_IN_A_PLAN = {
    *("data", "root", "split", "split_seed", "seed", "out", "resume", "estimate", "cache_dir"),
    *("devices", "num_nodes", "threads", "images", "masks", "groups", "mask_threshold", "resize_masks", "invert_masks"),
}


@dataclass(frozen=True)
class Cell:
    """One system or variant: what it changes in the recipe."""

    name: str
    changes: dict[str, Any]


@dataclass(frozen=True)
class Row:
    """A line of a table.

    Attributes:
        cell: which runs.
        label: its name on the page.
        paper: what the paper reports for it, in percent ("iou", "dsc", "accuracy").
        short: a cell that was trained for fewer epochs and is otherwise the same; None if there is none.
    """

    cell: str
    label: str
    paper: dict[str, float]
    short: str | None = None


@dataclass(frozen=True)
class Table:
    """A table of the paper, or a question of ours.

    Attributes:
        name: such as "table4".
        title: a line for the page.
        dataset: which data it is about.
        seeds: how many runs of each row.
        rows: its lines.
        note: what a reader must know about these numbers; may be empty.
    """

    name: str
    title: str
    dataset: str
    seeds: int
    rows: tuple[Row, ...]
    note: str = ""


@dataclass(frozen=True)
class Claim:
    """A comparison that somebody asserts: `better` has a higher pooled IoU than `worse` on a table's data.

    Attributes:
        text: the assertion.
        source: where it is made.
        table: the table whose dataset and seeds apply.
        better: a cell.
        worse: a cell.
        paper: the difference that the paper reports, in points of IoU; None where it reports none.
    """

    text: str
    source: str
    table: str
    better: str
    worse: str
    paper: float | None


@dataclass(frozen=True)
class Factorial:
    """Cells that have some factors (modules, losses) in all combinations.

    Attributes:
        title: a line for the page.
        table: the table whose dataset and published scores apply.
        factors: k names.
        cells: 2^k names in standard order, the first factor changing fastest: none, A, B, A and B, ...
    """

    title: str
    table: str
    factors: tuple[str, ...]
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """Everything declared; see the module.

    Attributes:
        name: such as "cpu".
        protocol: in words.
        split: of every dataset that `splits` doesn't name.
        splits: dataset to split.
        recipe: fields of `TrainConfig` that all runs share.
        cells: what each changes, by name.
        tables: by name.
        claims: in the order of the page.
        factorials: in the order of the page.
    """

    name: str
    protocol: str
    split: str
    splits: dict[str, str]
    recipe: dict[str, Any]
    model_defaults: dict[str, Any]
    cells: dict[str, Cell]
    tables: dict[str, Table]
    claims: tuple[Claim, ...]
    factorials: tuple[Factorial, ...] = ()

    def config(self, cell: str, *, dataset: str, seed: int, **others: Any) -> TrainConfig:
        """The training run of a cell."""
        changes = {**self.recipe, **self.cells[cell].changes}
        changes["model"] = (*self._model_defaults(changes), *changes.get("model", ()))
        return TrainConfig(**changes, data=dataset, seed=seed, **others)

    def _model_defaults(self, changes: dict[str, Any]) -> list[str]:
        """Options that keep the paper's network as it was when the first results of a plan were made."""
        if changes.get("preset", TrainConfig.preset) not in PRESETS:
            return []
        given = {option.partition("=")[0] for option in changes.get("model", ())}
        return [f"{name}={str(value).lower()}" for name, value in self.model_defaults.items() if name not in given]

    def split_of(self, dataset: str) -> str:
        """Which split of a dataset is used."""
        return self.splits.get(dataset, self.split)

    def hash(self, cell: str) -> str:
        """SHA-256 of the recipe and one cell, which determine its results together with the package's defaults.

        If such a default changes later, `model_defaults` keeps the old one; it isn't part of the hash, so the results
        from before the change stay valid.
        """
        content = {"recipe": self.recipe, "cell": self.cells[cell].changes}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def load_plan(scale: str | Path = "cpu") -> Plan:
    """Read a plan.

    Args:
        scale: "cpu" or "paper" for the ones that come with the package, or a TOML file.

    Raises:
        SkinlesionError: the file cannot be read; a key, cell, table or training option is unknown; or something is
            missing or of the wrong type.
    """
    source: Any = files("skinlesion.reproduce") / "plans" / f"{scale}.toml" if scale in SCALES else Path(scale)
    try:
        values = tomllib.loads(source.read_text("utf-8"))
    except OSError as error:
        raise SkinlesionError(
            f"The plan {scale} cannot be read ({error.strerror}); the packaged ones: cpu, paper."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SkinlesionError(f"The plan {scale} is not valid TOML: {error}.") from error
    plan = _parse(values, str(scale))
    _check_cells(plan, str(scale))
    return plan


def _check_cells(plan: Plan, where: str) -> None:
    """Every cell's options, and that its network can be built."""
    import torch

    from skinlesion.zoo import create_model

    built = set()
    for cell in plan.cells:
        try:
            config = plan.config(cell, dataset="synthetic", seed=0)
            if (config.preset, config.model) not in built:
                with torch.device("meta"):
                    create_model(config.preset, **config.model_options())
                built.add((config.preset, config.model))
        except (SkinlesionError, TypeError, ValueError) as error:
            raise SkinlesionError(f"Plan {where}, cell {cell}: {error}") from error


def _parse(values: dict[str, Any], where: str) -> Plan:
    required = {"name": str, "protocol": str, "recipe": dict, "cells": dict, "tables": dict}
    optional = {"split": str, "splits": dict, "claims": list, "factorials": list, "model_defaults": dict}
    _check_keys(values, required, optional, where)
    options = {field.name: object for field in dataclasses.fields(TrainConfig) if field.name not in _NOT_IN_A_PLAN}
    options["model"] = list
    _check_keys(values["recipe"], {}, options, f"{where}, recipe")
    for name, changes in values["cells"].items():
        _check_keys(changes, {}, options, f"{where}, cell {name}")
    cells = {name: Cell(name, changes) for name, changes in values["cells"].items()}
    tables = {name: _parse_table(name, table, cells, where) for name, table in values["tables"].items()}
    claims = tuple(_parse_claim(claim, tables, cells, where) for claim in values.get("claims", []))
    factorials = tuple(_parse_factorial(each, tables, cells, where) for each in values.get("factorials", []))
    splits = values.get("splits", {})
    _check_keys(splits, {}, dict.fromkeys(DATASETS, str), f"{where}, splits")
    return Plan(
        name=values["name"],
        protocol=values["protocol"].strip(),
        split=values.get("split", "paper"),
        splits=splits,
        recipe=values["recipe"],
        model_defaults=values.get("model_defaults", {}),
        cells=cells,
        tables=tables,
        claims=claims,
        factorials=factorials,
    )


def _parse_table(name: str, values: Any, cells: dict[str, Cell], where: str) -> Table:
    where = f"{where}, table {name}"
    _check_keys(values, {"title": str, "dataset": str, "seeds": int, "rows": list}, {"note": str}, where)
    if values["seeds"] < 1:
        raise SkinlesionError(f"Plan {where}: seeds must be at least 1.")
    _check_known(values["dataset"], dict.fromkeys(DATASETS), where)
    scores = dict.fromkeys(("iou", "dsc", "accuracy"), float)
    rows = []
    for row in values["rows"]:
        _check_keys(row, {"cell": str, "label": str}, {**scores, "short": str}, where)
        for name in ("cell", "short"):
            if name in row:
                _check_known(row[name], cells, where)
        paper = {score: row[score] for score in scores if score in row}
        rows.append(Row(row["cell"], row["label"], paper, row.get("short")))
    return Table(name, values["title"], values["dataset"], values["seeds"], tuple(rows), values.get("note", "").strip())


def _parse_claim(values: Any, tables: dict[str, Table], cells: dict[str, Cell], where: str) -> Claim:
    where = f"{where}, claims"
    _check_keys(values, dict.fromkeys(("text", "source", "table", "better", "worse"), str), {"paper": float}, where)
    _check_known(values["table"], tables, where)
    for side in ("better", "worse"):
        _check_known(values[side], cells, where)
    return Claim(**{"paper": None, **values})


def _parse_factorial(values: Any, tables: dict[str, Table], cells: dict[str, Cell], where: str) -> Factorial:
    where = f"{where}, factorials"
    _check_keys(values, {"title": str, "table": str, "factors": list, "cells": list}, {}, where)
    _check_known(values["table"], tables, where)
    for cell in values["cells"]:
        _check_known(cell, cells, where)
    factors, names = tuple(values["factors"]), tuple(values["cells"])
    if len(names) != 2 ** len(factors) or len(set(names)) != len(names):
        raise SkinlesionError(f"Plan {where}: {len(factors)} factors need {2 ** len(factors)} different cells.")
    return Factorial(values["title"], values["table"], factors, names)


def _check_keys(values: Any, required: Mapping[str, type], optional: Mapping[str, type], where: str) -> None:
    """Check that a TOML table has all required keys, no unknown ones, and values of the right types."""
    if not isinstance(values, dict):
        raise SkinlesionError(f"Plan {where}: expected a table here, not {values!r}.")
    types = {**required, **optional}
    if unknown := sorted(set(values) - set(types)):
        raise SkinlesionError(f"Plan {where}: unknown key {', '.join(unknown)}; valid are: {', '.join(sorted(types))}.")
    if missing := [key for key in required if key not in values]:
        raise SkinlesionError(f"Plan {where}: {', '.join(missing)} missing: add it to the file.")
    for key, value in values.items():
        if not isinstance(value, (int, float) if types[key] is float else types[key]):
            raise SkinlesionError(f"Plan {where}: {key} must be of type {types[key].__name__}, not {value!r}.")


def _check_known(name: str, valid: dict[str, Any], where: str) -> None:
    if name not in valid:
        raise SkinlesionError(f"Plan {where}: unknown name {name!r}; valid are: {', '.join(valid)}.")
