"""Grading a class: every student's notebooks, checked in processes that their code cannot leave."""

from skinlesion.lessons.grading.grade import Grade, grade

__all__ = ["Grade", "grade"]
