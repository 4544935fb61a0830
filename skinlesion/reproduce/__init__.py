"""The paper's tables, run again: declared in a plan, run cell by cell, reported with intervals."""

from skinlesion.reproduce.plan import Cell, Claim, Plan, Table, load_plan
from skinlesion.reproduce.report import write_report
from skinlesion.reproduce.runner import reproduce

__all__ = ["Cell", "Claim", "Plan", "Table", "load_plan", "reproduce", "write_report"]
