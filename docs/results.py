"""Bring the tables and figures in docs/claims.md up to date: `python docs/results.py`."""

import json
import re
from pathlib import Path

from skinlesion.reproduce.convergence import ranking_text
from skinlesion.reproduce.factorial import finding
from skinlesion.reproduce.report import SHORT, claims_table, count_verdicts

ROOT = Path(__file__).parents[1]
SUMMARY = ROOT / "benchmarks" / "results" / "reproduce" / "cpu" / "summary.json"
PLACE = re.compile(r"(<!-- claims: by docs/results.py -->\n).*?(<!-- end of claims -->)", re.DOTALL)


def updated(page: str) -> str:
    """The page with its table of claims as the report has it."""
    summary = json.loads(SUMMARY.read_text("utf-8"))
    claims = summary["claims"]
    parts = [count_verdicts(claims), claims_table(claims, SHORT)]
    parts += [f"**{each['title']}.** {finding(each)}" for each in summary["factorials"]]
    parts.append(f"**Four times as many epochs.** {ranking_text(summary['tables']['convergence']['ranking'])}")
    text = "\n\n".join(parts)
    return PLACE.sub(lambda found: f"{found[1]}{text}\n{found[2]}", page)


if __name__ == "__main__":
    path = ROOT / "docs" / "claims.md"
    path.write_text(updated(path.read_text("utf-8")), "utf-8")
