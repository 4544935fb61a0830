"""The finished code of a lesson as one plain file: `notebooks/final/NN_name.py`, for reading and for use elsewhere."""

import ast
import sys

from skinlesion.errors import SkinlesionError
from skinlesion.lessons.catalog import Lesson, find
from skinlesion.lessons.names import free_names
from skinlesion.lessons.notebook import Cell

_HEAD = """\"\"\"Lesson {number}, {title}: the finished code of its exercises.

Written from the lesson's source by `python -m skinlesion.lessons.build`, and checked like a student's answer.
\"\"\"
"""


def final_code(lesson: Lesson, cells: list[Cell]) -> str:
    """The functions of a lesson's exercises with the imports that they need.

    Raises:
        SkinlesionError: a function uses a name that neither an import nor another exercise defines.
    """
    functions = [
        (cell["exercise"], cell["source"]) for cell in cells if cell["exercise"] and find(cell["exercise"]).is_function
    ]
    body = "\n\n\n".join(f"# {name}\n{source.strip()}" for name, source in functions)
    tree = ast.parse(body)
    needed = free_names(tree) - {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    imports: list[ast.Import | ast.ImportFrom] = []
    for cell in cells:
        if cell["type"] == "code" and not cell["exercise"]:
            imports += [
                node for node in ast.parse(cell["source"]).body if isinstance(node, ast.Import | ast.ImportFrom)
            ]
    lines = _imports(imports, needed)
    head = _HEAD.format(number=lesson.number, title=lesson.title.replace(":", ","))
    return f"{head}\n{lines}\n\n\n{body}\n"


def _imports(found: list[ast.Import | ast.ImportFrom], needed: set[str]) -> str:
    """The needed imports, sorted as ruff sorts them."""
    plain: set[tuple[int, str, str]] = set()
    members: dict[str, set[str]] = {}
    missing = set(needed)
    for node in found:
        for alias in node.names:
            name = alias.asname or alias.name.split(".")[0]
            if name not in missing:
                continue
            missing.discard(name)
            renamed = f" as {alias.asname}" if alias.asname else ""
            if isinstance(node, ast.ImportFrom):
                members.setdefault(node.module or "", set()).add(alias.name + renamed)
            else:
                plain.add((_section(alias.name), alias.name, f"import {alias.name}{renamed}"))
    if missing:
        raise SkinlesionError(f"The finished code uses names that nothing defines: {', '.join(sorted(missing))}.")
    sections: list[list[str]] = [[], [], []]
    for section, _, line in sorted(plain):
        sections[section].append(line)
    for module in sorted(members):
        sections[_section(module)].append(f"from {module} import {', '.join(sorted(members[module], key=_order))}")
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def _section(module: str) -> int:
    top = module.split(".")[0]
    return 0 if top in sys.stdlib_module_names else 2 if top == "skinlesion" else 1


def _order(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)
