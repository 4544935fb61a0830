"""Find the mistake in a wrong answer that isn't on the exercise's list of known mistakes."""

from skinlesion.lessons.diagnosis.search import explanation

__all__ = ["explanation"]
