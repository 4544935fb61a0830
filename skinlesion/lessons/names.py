"""The names that a piece of code takes from its surroundings."""

import ast
import builtins
import symtable

_BUILT_IN = frozenset(dir(builtins))


def free_names(node: ast.AST) -> set[str]:
    """The module's names that code refers to, without Python's own and without the local ones of its functions."""
    found: set[str] = set()
    tables = [symtable.symtable(ast.unparse(node), "code", "exec")]
    while tables:
        table = tables.pop()
        is_module = table.get_type() == "module"
        found |= {
            each.get_name() for each in table.get_symbols() if each.is_referenced() and (is_module or each.is_global())
        }
        tables += table.get_children()
    return found - _BUILT_IN
