"""The card of a checkpoint: its fields, all of which are checked when it is read or written."""

from pathlib import Path
from typing import Any

from skinlesion.data.images import NORMALIZATIONS
from skinlesion.domain import Domain
from skinlesion.errors import SkinlesionError
from skinlesion.protocol import MAX_SIDE
from skinlesion.schema import Number, fields_mismatch, mismatch
from skinlesion.text import printable

# Fields that are not needed to run the model, but that reports, the model card and the app show.
_OPTIONAL = {
    "version": str,
    "stored_bits": int,
    "seed": int | None,
    "command": str,
    "origin": dict[str, Any],
    "data": dict[str, str | int | float | bool | None],
    "calibration": dict[str, Number],
    "metrics": dict[str, dict[str, Number]],
    "training": dict[str, Any],
    "evaluations": list[dict[str, Any]],
}
_REPORT = {
    "n": int,
    "pooled": dict[str, Number],
    "per_image": dict[str, dict[str, Number]],
    "intervals": {
        "level": float,
        "pooled": dict[str, list[Number]],
        "per_image": dict[str, list[Number]],
    },
    "protocol": dict[str, Any],
}
_MAX_ORIGINS = 20


def check_card(card: dict[str, Any], path: Path) -> None:
    """Check everything that code using a card relies on.

    Raises:
        SkinlesionError: a field is missing or wrong; the message names file and field.
    """
    preprocessing, model = card.get("preprocessing"), card.get("model")
    if not isinstance(preprocessing, dict) or not isinstance(model, dict):
        raise SkinlesionError(f"The card of {path} has no model or no preprocessing.")
    size = preprocessing.get("size")
    if (
        not isinstance(size, list | tuple)
        or len(size) != 2
        or not all(type(side) is int and 1 <= side <= MAX_SIDE for side in size)
        or preprocessing.get("normalize") not in NORMALIZATIONS
    ):
        raise SkinlesionError(
            f"The card of {path} must have preprocessing with size [height, width], 1 to {MAX_SIDE}, and "
            f"normalize ({' or '.join(NORMALIZATIONS)}); found {printable(str(preprocessing)[:100])}."
        )
    _check_fields(card, path)
    threshold = card.get("threshold", 0.5)
    if not isinstance(threshold, float) or not 0 < threshold < 1:
        raise SkinlesionError(f"The card of {path} has the threshold {threshold!r}; it must be between 0 and 1.")
    if not isinstance(card.get("clean", False), bool):
        raise SkinlesionError(f"The card of {path} has clean {printable(str(card['clean'])[:100])}; it must be a bool.")
    temperature = card.get("temperature", 1.0)
    if not isinstance(temperature, float) or not 0.01 <= temperature <= 100:
        raise SkinlesionError(f"The card of {path} has the temperature {temperature!r}; it must be from 0.01 to 100.")
    if card.get("domain") is not None:
        Domain.from_card(card["domain"])
    if not isinstance(model.get("name"), str) or not isinstance(model.get("config"), dict):
        raise SkinlesionError(f"The card of {path} does not name its model and config.")


def _check_fields(card: dict[str, Any], path: Path) -> None:
    """Check the types of the optional fields, in the card and in those of the runs it came from."""
    where, each = "", card
    for _ in range(_MAX_ORIGINS):
        for name, kind in _OPTIONAL.items():
            if name in each and (wrong := mismatch(each[name], kind, f"{where}{name}")):
                raise SkinlesionError(f"The card of {printable(path)} is damaged: {wrong}.")
        options = each.get("training", {}).get("options", {})
        reports = enumerate(each.get("evaluations", []))
        wrong = mismatch(options, dict[str, Any], f"{where}training.options") or next(
            filter(None, (fields_mismatch(report, _REPORT, f"{where}evaluations[{i}]") for i, report in reports)), None
        )
        if wrong:
            raise SkinlesionError(f"The card of {printable(path)} is damaged: {wrong}.")
        if "origin" not in each:
            return
        where, each = f"{where}origin.", each["origin"]
    raise SkinlesionError(f"The card of {printable(path)} is damaged: it has more than {_MAX_ORIGINS} origins.")
