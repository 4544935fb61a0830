"""Training options from a TOML file."""

import tomllib
from pathlib import Path

from skinlesion.errors import SkinlesionError
from skinlesion.text import printable
from skinlesion.training.config import TrainConfig

_LARGEST = 100_000  # bytes


def read_toml(path: Path, default: TrainConfig) -> TrainConfig:
    """A config with the file's values changed.

    The file's keys are the fields of `TrainConfig`, and a table [model] holds the network's options:

        preset = "small"
        epochs = 30
        [model]
        d_state = 4

    Args:
        path: the file.
        default: the config whose values are used for options that the file doesn't set.

    Raises:
        SkinlesionError: the file cannot be read, isn't TOML, or has an unknown key or an invalid value; the message
            names the file.
    """
    label = printable(path)
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise SkinlesionError(f"{label} cannot be read ({error.strerror}).") from error
    if len(data) > _LARGEST:
        raise SkinlesionError(f"{label} is too large for a config: more than {_LARGEST} bytes.")
    try:
        values = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # both of TOML and of UTF-8
        raise SkinlesionError(f"{label} is not a TOML file: {printable(error)}.") from error
    model = values.get("model")
    if isinstance(model, dict):
        values["model"] = [f"{name}={_option(value, f'{label}: model.{name}')}" for name, value in model.items()]
    try:
        return TrainConfig.from_json({**default.to_json(), **values})
    except SkinlesionError as error:
        raise SkinlesionError(f"{label}: {error}") from error


def _option(value: object, label: str) -> str:
    """A value as `--model NAME=VALUE` spells it."""
    parts = value if isinstance(value, list) else [value]
    if not parts or not all(isinstance(each, bool | int | float | str) for each in parts):
        raise SkinlesionError(f"{label} must be a number, true or false, a word, or a list of these.")
    return ",".join(str(each).lower() for each in parts)
