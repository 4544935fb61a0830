"""Finding the mistake in a wrong answer that no list of known mistakes holds."""

from skinlesion.lessons.diagnosis.search import explanation

__all__ = ["explanation"]
