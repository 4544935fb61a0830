"""From a notebook's code cells, the statements that one answer needs.

Running a whole notebook would run its experiments (minutes), and whatever else a student has left in it. An answer
needs its own definition, and what that refers to: imports, helpers, earlier answers. Statements that only have an
effect, such as a call or an assignment to an attribute, are not taken: a cell that patches `lessons.check`, prints a
verdict or writes the progress file never runs.
"""

import ast
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from skinlesion.errors import SkinlesionError
from skinlesion.lessons.names import free_names

_MAGIC = re.compile(r"^\s*[%!?].*$|^.*\?\s*$", re.MULTILINE)
LARGEST = 64 * 2**20  # bytes of a notebook; the course's own, solved and with their figures, have 3 MB


@dataclass(frozen=True)
class Answer:
    """What a notebook says about one exercise.

    Attributes:
        source: the statements to run.
        expression: what is handed to the check, evaluated after them.
        problem: why there is nothing to run; "" where there is.
    """

    source: str = ""
    expression: str = ""
    problem: str = ""


@dataclass(frozen=True)
class _Statement:
    node: ast.stmt
    binds: frozenset[str]
    needs: frozenset[str]

    @property
    def is_definition(self) -> bool:
        return isinstance(self.node, ast.FunctionDef | ast.ClassDef)


def code_cells(path: Path) -> list[str]:
    """The code cells of a notebook.

    Raises:
        SkinlesionError: the file cannot be read, or is no notebook.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise SkinlesionError(f"it is larger than {LARGEST // 2**20} MB")
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        sources = [cell["source"] for cell in cells if cell["cell_type"] == "code"]
        return ["".join(source) for source in sources]
    except OSError as error:
        raise SkinlesionError(f"it can't be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SkinlesionError("it is no notebook: damaged JSON") from error


def answers(cells: Sequence[str], exercises: dict[str, str]) -> dict[str, Answer]:
    """What to run for each exercise.

    Args:
        cells: a notebook's code cells.
        exercises: name of each exercise that the notebook may hold -> the name that its answer has in the course.
            It is looked for where the cell with the check is gone.

    Returns:
        Exercise -> answer, in the order of `exercises`, for those that the notebook checks or defines.
    """
    statements: list[_Statement] = []
    checks: dict[str, tuple[int, ast.expr]] = {}
    broken: list[str] = []
    for cell in cells:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a student's "\d" in a docstring
                body = ast.parse(_MAGIC.sub("", cell)).body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            broken.append(cell)
            continue
        statements += [_read(node) for node in body]
        for name, argument in _checks(body):
            checks[name] = (len(statements), argument)
    found = {}
    for name, variable in exercises.items():
        end, argument = checks.get(name, (len(statements), ast.Name(variable, ast.Load())))
        needed = _slice(statements[:end], free_names(argument))
        is_bound = any(variable in each.binds for each in statements)
        if any(re.search(rf"^\s*(def\s+)?{re.escape(variable)}\b", cell, re.MULTILINE) for cell in broken):
            found[name] = Answer(problem="The cell of this exercise isn't Python: a syntax error.")
        elif name in checks or is_bound:
            found[name] = Answer("\n".join(ast.unparse(each.node) for each in needed), ast.unparse(argument))
    return found


def _checks(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    """Calls of `lessons.check("exercise", answer)`; lesson 0 shows a wrong answer to a bare `check`."""
    for node in (each for statement in body for each in ast.walk(statement)):
        if isinstance(node, ast.Call) and len(node.args) == 2 and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            if called == "check" and isinstance(node.args[0].value, str):
                yield node.args[0].value, node.args[1]


def _read(node: ast.stmt) -> _Statement:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        binds = {node.name}
    elif isinstance(node, ast.Import | ast.ImportFrom):
        binds = {(alias.asname or alias.name.partition(".")[0]) for alias in node.names}
    elif isinstance(node, ast.Expr):
        binds = set()
    else:
        binds = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        binds |= {n.name for n in ast.walk(node) if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    return _Statement(node, frozenset(binds), frozenset(free_names(node)))


def _slice(statements: list[_Statement], names: set[str]) -> list[_Statement]:
    """Statements that define the names, with all that they refer to, in order."""
    wanted = [(name, len(statements)) for name in sorted(names)]
    kept = {i for i, each in enumerate(statements) if "*" in each.binds}
    seen: set[tuple[str, int]] = set()
    while wanted:
        name, before = wanted.pop()
        if (name, before) in seen:
            continue
        seen.add((name, before))
        for i in range(before - 1, -1, -1):
            each = statements[i]
            if name not in each.binds:
                continue
            kept.add(i)
            # A function's names are looked up when it is called, others when their statement runs.
            wanted += [(need, len(statements) if each.is_definition else i) for need in sorted(each.needs)]
            if not isinstance(each.node, ast.AugAssign):
                break
    return [statements[i] for i in sorted(kept)]
