"""Which values the options of a training run may have, and how an option is read from text."""

from typing import Any, get_type_hints

from skinlesion.errors import SkinlesionError
from skinlesion.protocol import MAX_SIDE
from skinlesion.schema import mismatch

_AT_MOST = {
    "epochs": 1_000_000,
    "batch_size": 1_000_000,
    "accumulate": 1_000_000,
    "synthetic_count": 1_000_000,
    "size": MAX_SIDE,
    "truth_size": MAX_SIDE,
    "threads": 1024,
    "num_workers": 1024,
    "devices": 1024,
    "num_nodes": 65_536,
    "warmup_epochs": 1_000_000,
    "t_max": 1e9,
    "lr": 1e6,
    "weight_decay": 1e6,
}


def check_types(config: Any) -> None:
    """Raise SkinlesionError where a field of a `TrainConfig` has another type than it is declared with."""
    for name, expected in get_type_hints(type(config)).items():
        if wrong := mismatch(getattr(config, name), expected, flag(name)):
            raise SkinlesionError(f"{wrong}.")


def check_ranges(config: Any) -> None:
    """Raise SkinlesionError where a field of a `TrainConfig` is out of range; the message names its flag."""
    at_least = {
        "epochs": 1,
        "batch_size": 1,
        "accumulate": 1,
        "size": 16,
        "truth_size": 16,
        "synthetic_count": 1,
        "devices": 1,
        "num_nodes": 1,
        "num_workers": 0,
        "min_lr": 0,
        "weight_decay": 0,
        "warmup_epochs": 0,
        "w_bce": 0,
        "w_dice": 0,
        "w_cfd": 0,
        "w_ifd": 0,
        "seed": 0,
        "threads": 1,
    }
    for name, least in at_least.items():
        value = getattr(config, name)
        if value is not None and not value >= least:
            raise SkinlesionError(f"{flag(name)} must be at least {least}; got {value}.")
    for name, most in _AT_MOST.items():
        value = getattr(config, name)
        if value is not None and not value <= most:
            raise SkinlesionError(f"{flag(name)} must be at most {most:,}; got {value}.")
    for name in ("lr", "clip", "t_max"):
        value = getattr(config, name)
        if value is not None and not value > 0:
            raise SkinlesionError(f"{flag(name)} must be above 0; got {value}.")
    if config.ema is not None and not 0 < config.ema < 1:
        raise SkinlesionError(f"--ema must be between 0 and 1, such as 0.998; got {config.ema}.")
    if config.w_bce + config.w_dice == 0:
        raise SkinlesionError("--w-bce and --w-dice must not both be 0: nothing would be learned from the masks.")


def flag(name: str) -> str:
    """How the command line spells a field."""
    return "--" + name.replace("_", "-")


def parse_option(value: str) -> Any:
    """A number, true, false, none, or a comma-separated tuple of those; otherwise the text."""
    if "," in value:
        return tuple(parse_option(part) for part in value.split(",") if part)
    constants = {"true": True, "false": False, "none": None}
    if value.lower() in constants:
        return constants[value.lower()]
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value
