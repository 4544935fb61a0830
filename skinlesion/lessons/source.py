"""The source of a function together with what it needs from its file, so that it runs when pasted into a cell."""

import ast
import inspect
import sys
from collections.abc import Callable
from typing import Any

from skinlesion.lessons.names import free_names


def self_contained(function: Callable[..., Any]) -> str:
    """The imports, private helpers and constants that a function uses, and then the function itself.

    A name that another file defines is imported from there, and so is a public name of the function's own file. Private
    names of that file are written out, because their formulas would otherwise stay hidden; unless they are decorated:
    registering an operator twice would break the first one.

    Args:
        function: a function or class written in a file.

    Returns:
        Source text that runs on its own, most basic definition first.
    """
    function = inspect.unwrap(function)
    module = sys.modules[function.__module__]
    text = inspect.getsource(module)
    tree = ast.parse(text)
    definitions = _definitions(tree)
    imports: dict[str, None] = {}
    written: dict[str, str] = {}

    def write(name: str) -> None:
        node = definitions[name]
        written[name] = ""  # a placeholder: functions may call each other
        for used in sorted(free_names(node)):
            if used in written or used == name:
                continue
            if line := _import_of(tree, used):
                imports[line] = None
            elif used in definitions and used.startswith("_") and not getattr(definitions[used], "decorator_list", []):
                write(used)
            elif used in definitions:
                imports[f"from {module.__name__} import {used}"] = None
        written[name] = written.pop(name) or _segment(text, node)

    write(function.__qualname__)
    body = "\n\n\n".join(written.values())
    return "\n".join(imports) + "\n\n\n" + body + "\n" if imports else body + "\n"


def _definitions(tree: ast.Module) -> dict[str, ast.stmt]:
    found: dict[str, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign):
            found |= {target.id: node for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node
    return found


def _import_of(tree: ast.Module, name: str) -> str | None:
    for node in tree.body:
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        for alias in node.names:
            if name == (alias.asname or alias.name.split(".")[0]):
                spelled = f"{alias.name} as {alias.asname}" if alias.asname else alias.name
                return (
                    f"from {node.module} import {spelled}" if isinstance(node, ast.ImportFrom) else f"import {spelled}"
                )
    return None


def _segment(text: str, node: ast.stmt) -> str:
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    return "\n".join(text.splitlines()[first - 1 : node.end_lineno])
