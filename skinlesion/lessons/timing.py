"""How long a lesson takes: exercises, prose, code that is given, predictions and quiz add up."""

import math
import re

from skinlesion.lessons.catalog import find
from skinlesion.lessons.notebook import Cell

WORDS_A_MINUTE = 180  # technical prose, read once with care
LINES_A_MINUTE = 25  # of given code, read but not studied
PREDICTION, QUESTION = 1.0, 0.5  # minutes


def minutes(cells: list[Cell]) -> int:
    """Of a student who solves all exercises but the bonus, rounded up to five.

    Args:
        cells: of the lesson's source.
    """
    exercises = [find(cell["exercise"]) for cell in cells if cell["exercise"]]
    total = float(sum(each.minutes for each in exercises if not each.bonus))
    for cell in cells:
        if cell["type"] == "markdown":
            total += len(cell["source"].split()) / WORDS_A_MINUTE
            total += PREDICTION * (cell["kind"] == "predict")
            if cell["kind"] == "quiz":
                total += QUESTION * len(re.findall(r"^\d+\. ", cell["source"], re.M))
        elif not cell["exercise"]:
            total += len(cell["source"].splitlines()) / LINES_A_MINUTE
    return 5 * math.ceil(total / 5)
