"""Predictions: written down before a result is seen, and shown beside it afterward.

They live in the notebook's memory and, so that a student can look back, in a file beside the progress file.
"""

import json
from datetime import UTC, datetime
from typing import Any

from skinlesion.errors import SkinlesionError
from skinlesion.files import write_text
from skinlesion.lessons.completion import progress_file

_made: dict[str, str] = {}  # in this session: number -> what was predicted


def predict(number: str, guess: Any) -> None:
    """Record a prediction; the first one counts until the result has been seen, and a later one replaces it openly.

    Args:
        number: of the prediction, such as "7.1".
        guess: a number, a text, or several in a list or dict; the dots of the notebook stand for "nothing yet".

    Raises:
        SkinlesionError: the file of predictions cannot be read or written.
    """
    if guess is ...:
        print(f"Prediction {number}: write yours in place of the dots and run the cell again. No grade, no check.")
        return
    _made[number] = _text(guess)
    path = progress_file()
    if path is not None:
        path = path.with_name("predictions.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        found = predictions()
        found.setdefault(number, []).append(
            {"guess": _made[number], "when": datetime.now(UTC).isoformat("T", "seconds")}
        )
        write_text(path, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    print(f"Prediction {number} noted: {_made[number]}")


def happened(number: str, outcome: Any) -> None:
    """Show what happened beside what was predicted.

    Args:
        number: of the prediction.
        outcome: a number, a text, or several in a list or dict.
    """
    guess = _made.get(number)
    print(f"What happened ({number}): {_text(outcome)}")
    if guess is not None:
        print(f"You predicted: {guess}")


def predictions() -> dict[str, list[dict[str, str]]]:
    """All recorded predictions: number -> guesses with their times (UTC), oldest first.

    Raises:
        SkinlesionError: the file cannot be read.
    """
    path = progress_file()
    if path is None:
        return {}
    path = path.with_name("predictions.json")
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as error:
        raise SkinlesionError(f"{path} cannot be read ({error}): repair or delete it.") from error


def _text(value: Any) -> str:
    """Numbers with three digits, the parts of a list or dict side by side."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(each)}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_text(each) for each in value)
    if isinstance(value, bool | str | int):
        return str(value)
    return f"{float(value):.3g}"
