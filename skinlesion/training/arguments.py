"""From the words of a command line to a `TrainConfig`."""

from collections.abc import Sequence
from pathlib import Path

import tyro

from skinlesion.errors import SkinlesionError
from skinlesion.training.config import RECIPES, TrainConfig


def parse_arguments(arguments: Sequence[str], program: str = "skinlesion train") -> TrainConfig:
    """Read the options of `skinlesion train`.

    Options not given come from `--recipe NAME` (the paper's if there is none), or with `--resume --out RUN` from the
    run that is resumed.

    Args:
        arguments: the words after `skinlesion train`.
        program: the name that the help shows.

    Raises:
        SkinlesionError: a value is refused, or the run to resume does not exist.
        SystemExit: help was asked for, or an option is unknown; tyro has printed why.
    """
    words = list(arguments)
    recipe = _take(words, "--recipe")
    if recipe is not None and recipe not in RECIPES:
        raise SkinlesionError(f"Unknown recipe {recipe!r}; choose one of: {', '.join(RECIPES)}.")
    default = TrainConfig.from_recipe(recipe or "paper")
    if "--resume" in words and (out := _value(words, "--out")) is not None:
        if recipe is not None:
            raise SkinlesionError("--recipe does not go with --resume: a resumed run keeps the options that it has.")
        default = TrainConfig.load(Path(out) / "config.json")
    return tyro.cli(
        TrainConfig,
        args=words,
        default=default,
        prog=program,
        description=f"Train a network. --recipe NAME sets the defaults below: {', '.join(RECIPES)} (default: paper).",
    )


def _value(words: list[str], flag: str) -> str | None:
    """The value of `--flag value` or `--flag=value`; None if it is not there."""
    for place, word in enumerate(words):
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
        if word == flag:
            if place + 1 == len(words):
                raise SkinlesionError(f"{flag} needs a value.")
            return words[place + 1]
    return None


def _take(words: list[str], flag: str) -> str | None:
    """`_value`, and remove it from the words."""
    value = _value(words, flag)
    if value is not None:
        for place, word in enumerate(words):
            if word == flag or word.startswith(f"{flag}="):
                del words[place : place + (2 if word == flag else 1)]
                break
    return value
