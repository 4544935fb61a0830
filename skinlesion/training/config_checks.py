"""Which values the options of a training run may have, and how an option is read from text."""

import dataclasses
from typing import Any, Literal

from skinlesion.errors import SkinlesionError


def check_ranges(config: Any) -> None:
    """Raise SkinlesionError where a field of a `TrainConfig` is out of range; the message names its flag."""
    at_least = {
        "epochs": 1,
        "batch_size": 1,
        "accumulate": 1,
        "size": 16,
        "truth_size": 16,
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
    for name in ("lr", "clip", "t_max"):
        value = getattr(config, name)
        if value is not None and not value > 0:
            raise SkinlesionError(f"{flag(name)} must be above 0; got {value}.")
    if config.ema is not None and not 0 < config.ema < 1:
        raise SkinlesionError(f"--ema must be between 0 and 1, such as 0.998; got {config.ema}.")
    for field in dataclasses.fields(config):
        choices, value = getattr(field.type, "__args__", ()), getattr(config, field.name)
        if getattr(field.type, "__origin__", None) is Literal and value not in choices:
            raise SkinlesionError(f"{flag(field.name)} must be one of {', '.join(choices)}; got {value!r}.")
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
