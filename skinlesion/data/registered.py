"""The samples of a registered data set, checked before anything uses them; see `skinlesion.register_dataset`."""

import reprlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from skinlesion.data.folder_layouts import PART_NAMES
from skinlesion.data.mask_values import DEFAULT_RULES, MaskRules
from skinlesion.data.sample import Dataset, Sample
from skinlesion.errors import SkinlesionError
from skinlesion.plugins import EXTRA_DATASETS
from skinlesion.text import printable
from skinlesion.user_code import named_errors

_PARTS = (None, *PART_NAMES)
# Whether a value fits a Sample's field, and what the field needs in words.
_NEEDED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "id": (lambda value: isinstance(value, str) and value != "", "nonempty text"),
    "image": (lambda value: isinstance(value, Path), "a pathlib.Path"),
    "mask": (lambda value: isinstance(value, Path | None), "a pathlib.Path or None"),
    "part": (lambda value: isinstance(value, str | None) and value in _PARTS, "train, val, test or None"),
    "group": (lambda value: isinstance(value, str | None), "text or None"),
    "rules": (lambda value: isinstance(value, MaskRules), "MaskRules"),
}


def find_registered(root: Path, dataset: str, rules: MaskRules = DEFAULT_RULES) -> Dataset:
    """What the function of a registered data set finds in a folder.

    Args:
        root: the folder.
        dataset: the name it is registered under.
        rules: how the masks are read; the default leaves each Sample its own rules.

    Raises:
        SkinlesionError: it fails, finds nothing, or returns anything but complete Samples with unique ids.
    """
    with named_errors(f"The data set {dataset!r} failed"):
        samples = list(EXTRA_DATASETS[dataset](root))
    if not samples:
        raise SkinlesionError(f"{printable(root)}: the data set {dataset!r} found no images there.")
    first: dict[str, Sample] = {}
    for number, sample in enumerate(samples, start=1):
        _check(sample, number, dataset)
        other = first.setdefault(sample.id, sample)
        if other is not sample:
            raise SkinlesionError(
                f"The data set {dataset!r} has two Samples with the id {printable(sample.id)!r}, for "
                f"{printable(other.image)} and {printable(sample.image)}: give each one an id of its own."
            )
    return Dataset(samples if rules == DEFAULT_RULES else [replace(sample, rules=rules) for sample in samples])


def _check(sample: Any, number: int, dataset: str) -> None:
    """Raise SkinlesionError, naming the sample and the field, if it isn't a complete Sample."""
    if not isinstance(sample, Sample):
        raise SkinlesionError(f"The data set {dataset!r} must return Samples; it returned a {type(sample).__name__}.")
    for field, (fits, needed) in _NEEDED.items():
        value = getattr(sample, field)
        if not fits(value):
            name = f"number {number}" if field == "id" else printable(repr(sample.id))
            raise SkinlesionError(
                f"The data set {dataset!r} returned an invalid Sample: {name} needs {needed} as its {field}, not "
                f"{printable(reprlib.repr(value))}."
            )
