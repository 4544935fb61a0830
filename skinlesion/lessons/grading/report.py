"""Grades as a table and as a page: one self-contained HTML file, in which everything from outside is escaped."""

import io
from collections import Counter
from html import escape

from skinlesion.lessons.grading.grade import Grade
from skinlesion.text import printable, table_writer

_MARKS = {"passed": "✓", "reference": "≡", "unsolved": "○", "missing": "–", "failed": "✗"}
_MEANING = {
    "passed": "passed",
    "reference": "the package's own function",
    "unsolved": "not begun",
    "missing": "not handed in",
    "failed": "wrong",
}
_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:76em;padding:0 1em;color:#222;background:#fff}
table{border-collapse:collapse;margin:1em 0}
th,td{padding:.25em .5em;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}
.grid td:not(:first-child),.grid th:not(:first-child){text-align:center}.wide{overflow-x:auto}
.grid th.e{writing-mode:vertical-rl;transform:rotate(180deg);font-weight:400}
.passed,.reference{background:#dff3e6}.failed{background:#fde3cf}.unsolved,.missing{color:#666}
"""


def as_csv(grades: list[Grade]) -> str:
    """One line for each student and exercise; cells that a spreadsheet would run are text."""
    text = io.StringIO()
    table = table_writer(text)
    table.writerow(("student", "lesson", "exercise", "status", "points", "mistake", "detail"))
    for each in grades:
        points = int(each.status == "passed")
        row = (each.student, each.lesson, each.exercise, each.status, points, each.mistake, each.detail)
        table.writerow(row)
    return text.getvalue()


def as_page(grades: list[Grade]) -> str:
    """The class at a glance: who has solved what, and which mistakes are common."""
    students = sorted({each.student for each in grades})
    sections = [
        f"<h1>{len(students)} student{'s' if len(students) != 1 else ''}</h1>",
        _grid(grades, students),
        "<h2>Common mistakes</h2>",
        _mistakes(grades),
        "<h2>By student</h2>",
        *(_student(name, [each for each in grades if each.student == name]) for name in students),
    ]
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>Grades</title><style>{_STYLE}</style></head><body>\n" + "\n".join(sections) + "\n</body></html>\n"
    )


def _safe(text: object) -> str:
    return escape(printable(text))


def _grid(grades: list[Grade], students: list[str]) -> str:
    names = list(dict.fromkeys(each.exercise for each in grades))
    status = {(each.student, each.exercise): each.status for each in grades}
    head = "".join(f'<th class="e" scope="col">{_safe(name)}</th>' for name in names)
    rows = [f'<tr><th scope="col">student</th><th scope="col">passed</th>{head}</tr>']
    for student in students:
        marks = [status[student, name] for name in names]
        cells = "".join(f'<td class="{mark}" title="{_MEANING[mark]}">{_MARKS[mark]}</td>' for mark in marks)
        rows.append(f'<tr><th scope="row">{_safe(student)}</th><td>{marks.count("passed")}</td>{cells}</tr>')
    shares = [sum(status[student, name] == "passed" for student in students) for name in names]
    total = "".join(f"<td>{100 * share // len(students)}%</td>" for share in shares)
    rows.append(f'<tr><th scope="row">passed</th><td></td>{total}</tr>')
    key = " · ".join(f"{_MARKS[mark]} {text}" for mark, text in _MEANING.items())
    return f'<p>{key}</p><div class="wide"><table class="grid">{"".join(rows)}</table></div>'


def _mistakes(grades: list[Grade]) -> str:
    counted = Counter((each.exercise, each.mistake) for each in grades if each.status == "failed")
    rows = [
        f"<tr><td>{count}</td><td>{_safe(exercise)}</td><td>{_safe(mistake)}</td></tr>"
        for (exercise, mistake), count in counted.most_common(50)
    ]
    head = "<tr><th>students</th><th>exercise</th><th>mistake</th></tr>"
    return f"<table>{head}{''.join(rows)}</table>" if rows else "<p>None.</p>"


def _student(name: str, grades: list[Grade]) -> str:
    rows = "".join(
        f'<tr><td class="{each.status}">{_MARKS[each.status]}</td><td>{_safe(each.exercise)}</td>'
        f"<td>{_safe(each.mistake)}</td><td>{_safe(each.detail)}</td></tr>"
        for each in grades
    )
    passed = sum(each.status == "passed" for each in grades)
    return f"<details><summary>{_safe(name)}: {passed} of {len(grades)}</summary><table>{rows}</table></details>"
