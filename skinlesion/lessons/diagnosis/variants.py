"""The solution with one slip in it: another function, a term left out, a step in another place."""

import ast
import copy
from collections.abc import Iterator
from itertools import pairwise

_ACTIVATIONS = ("relu", "gelu", "silu", "hardswish", "sigmoid", "tanh", "softplus", "hardsigmoid", "exp", "leaky_relu")
_FAMILIES: tuple[tuple[str, ...], ...] = (
    ("mean", "sum", "amax", "amin", "median", "std", "var", "prod"),
    ("abs", "square", "sqrt", "relu"),
    ("log", "log10", "log2", "log1p"),
    ("exp", "expm1"),
    ("cos", "sin"),
    ("ceil", "floor", "round", "trunc"),
    ("argmin", "argmax"),
    ("max_pool2d", "avg_pool2d"),
    ("cumsum", "cumprod"),
    ("maximum", "minimum"),
    ("mse_loss", "l1_loss", "smooth_l1_loss"),
    ("eval", "train"),
    ("clamp", "clip"),
)
_OPERATORS: dict[type[ast.operator], tuple[type[ast.operator], ...]] = {
    ast.Add: (ast.Sub, ast.Mult),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Add, ast.Div),
    ast.Div: (ast.Mult, ast.FloorDiv),
    ast.FloorDiv: (ast.Div,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
}
_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
}
_MODES = ("constant", "reflect", "replicate", "circular")

Place = tuple[ast.AST, str, int | None]


def variants(source: str) -> Iterator[tuple[str, str]]:
    """Sources with one slip each, and what the slip is.

    Args:
        source: of the solution, with the helpers that it needs.
    """
    tree = ast.parse(source)
    same = ast.unparse(tree)
    yield from ((text, each) for text, each in _all(tree) if each != same)


def _all(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for function in (node for node in tree.body if isinstance(node, ast.FunctionDef)):
        names = [each.arg for each in function.args.args]
        for statement in (function.args, *function.body):  # the arguments: for their default values
            for place, node in _places(statement):
                for new in _replacements(node, names):
                    with_new = _replaced(tree, place, new)
                    yield _said(node, new), with_new
        yield from _everywhere(tree, function)
        yield from _statements(tree, function)


def _places(root: ast.AST) -> Iterator[tuple[Place, ast.AST]]:
    """Every expression below a statement, and where it stands; annotations left out."""
    for field, value in ast.iter_fields(root):
        if field in ("annotation", "returns", "decorator_list", "ctx", "op", "ops"):
            continue
        several = value if isinstance(value, list) else [value]
        for i, node in enumerate(several):
            if isinstance(node, ast.AST):
                if isinstance(node, ast.expr | ast.Compare) and not _is_target(node):
                    yield (root, field, i if isinstance(value, list) else None), node
                yield from _places(node)


def _is_target(node: ast.AST) -> bool:
    return isinstance(getattr(node, "ctx", None), ast.Store)


def _replaced(tree: ast.Module, place: Place, new: ast.AST) -> str:
    parent, field, index = place
    if index is None:
        old = getattr(parent, field)
        setattr(parent, field, new)
        text = ast.unparse(ast.fix_missing_locations(tree))
        setattr(parent, field, old)
    else:
        several = getattr(parent, field)
        old, several[index] = several[index], new
        text = ast.unparse(ast.fix_missing_locations(tree))
        several[index] = old
    return text


def _said(old: ast.AST, new: ast.AST) -> str:
    one, two = ast.unparse(old), ast.unparse(new)
    return f"with `{two}` in place of `{one}`" if len(one) + len(two) < 140 else f"with `{two[:100]}...`"


def _replacements(node: ast.AST, names: list[str]) -> Iterator[ast.AST]:
    if isinstance(node, ast.BinOp):
        yield from _of_operation(node)
    elif isinstance(node, ast.Call):
        yield from _of_call(node)
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        for kind in _COMPARISONS.get(type(node.ops[0]), ()):
            yield ast.Compare(node.left, [kind()], node.comparators)
    elif isinstance(node, ast.Constant):
        yield from _of_constant(node)
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.Name) and node.id in names:
        yield from (ast.Name(each, ast.Load()) for each in names if each != node.id)
    elif isinstance(node, ast.Subscript) and not isinstance(node.slice, ast.Constant):
        yield node.value
    elif isinstance(node, ast.Tuple | ast.List) and len(node.elts) > 1:
        yield type(node)(node.elts[::-1], ast.Load())
        yield from (type(node)([each for each in node.elts if each is not gone], ast.Load()) for gone in node.elts)
        for i in range(len(node.elts) - 1):
            swapped = list(node.elts)
            swapped[i], swapped[i + 1] = swapped[i + 1], swapped[i]
            yield type(node)(swapped, ast.Load())


def _of_operation(node: ast.BinOp) -> Iterator[ast.AST]:
    yield node.left
    yield node.right
    yield from (ast.Call(ast.Attribute(node, name, ast.Load()), [], []) for name in ("mean", "abs", "relu"))
    for kind in _OPERATORS.get(type(node.op), ()):
        yield ast.BinOp(node.left, kind(), node.right)
    if isinstance(node.op, ast.Add):
        yield ast.BinOp(node, ast.Div(), ast.Constant(2))
        yield from (ast.BinOp(node, ast.Add(), each) for each in (node.left, node.right))
    if isinstance(node.op, ast.Sub | ast.Div | ast.MatMult):
        yield ast.BinOp(node.right, node.op, node.left)
    if isinstance(node.op, ast.FloorDiv):
        yield ast.parse(f"-(-({ast.unparse(node.left)}) // ({ast.unparse(node.right)}))", mode="eval").body
        yield ast.parse(f"round(({ast.unparse(node.left)}) / ({ast.unparse(node.right)}))", mode="eval").body
    if isinstance(node.op, ast.Mult) and isinstance(node.left, ast.Name):
        yield ast.BinOp(node, ast.Mult(), node.left)


def _of_call(node: ast.Call) -> Iterator[ast.AST]:
    name = _called(node)
    is_method = isinstance(node.func, ast.Attribute) and not _is_module(node.func.value)
    operand = node.args[0] if node.args else None
    if is_method and isinstance(node.func, ast.Attribute):
        operand = node.func.value
    if name in _ACTIVATIONS and operand is not None:
        yield from (_activation(other, operand) for other in _ACTIVATIONS if other != name)
        yield _activation(name, node)
    for other in _others(name):
        yield _renamed(node, other)
    if operand is not None and not isinstance(operand, ast.Starred):
        yield operand
        if not is_method and name not in _ACTIVATIONS and len(node.args) == 1:
            yield ast.BinOp(operand, ast.Add(), node)
            yield ast.Call(node.func, [node], node.keywords)
            yield from (_activation(other, node) for other in ("sigmoid", "relu", "tanh"))
    for keyword in node.keywords:
        yield ast.Call(node.func, node.args, [each for each in node.keywords if each is not keyword])
    if len(node.args) > 1:
        yield ast.Call(node.func, node.args[:-1], node.keywords)
        for i in range(len(node.args) - 1):
            swapped = list(node.args)
            swapped[i], swapped[i + 1] = swapped[i + 1], swapped[i]
            yield ast.Call(node.func, swapped, node.keywords)
    yield ast.Call(ast.Attribute(node, "detach", ast.Load()), [], [])


def _of_constant(node: ast.Constant) -> Iterator[ast.AST]:
    if isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node.value, int):
        yield from (ast.Constant(node.value + step) for step in (1, -1, 2, -2))
        yield ast.Constant(-node.value)
    elif isinstance(node.value, float):
        yield from (
            ast.Constant(each) for each in (0.0, 1.0, 2 * node.value, node.value / 2, 10 * node.value, node.value / 10)
        )
    elif node.value in _MODES:
        yield from (ast.Constant(mode) for mode in _MODES if mode != node.value)


def _called(node: ast.Call) -> str:
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def _is_module(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id in ("torch", "F", "math", "np", "nn", "stats")


def _others(name: str) -> list[str]:
    return [other for family in _FAMILIES if name in family for other in family if other != name]


def _activation(name: str, operand: ast.AST) -> ast.AST:
    return (
        ast.parse(f"torch.nn.functional.{name}({ast.unparse(operand)})", mode="eval").body
        if name != "exp"
        else (ast.parse(f"torch.exp({ast.unparse(operand)})", mode="eval").body)
    )


def _renamed(node: ast.Call, name: str) -> ast.AST:
    function = copy.copy(node.func)
    if isinstance(function, ast.Attribute):
        function.attr = name
    elif isinstance(function, ast.Name):
        function.id = name
    call = ast.Call(function, node.args, node.keywords)
    has_axis = bool(node.args or node.keywords)
    return ast.Attribute(call, "values", ast.Load()) if name == "median" and has_axis else call


def _everywhere(tree: ast.Module, function: ast.FunctionDef) -> Iterator[tuple[str, str]]:
    """One function in place of another, at all places where it is called."""
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
    for name in sorted({_called(node) for node in calls}):
        mine = [node for node in calls if _called(node) == name]
        family = [other for other in _ACTIVATIONS if name in _ACTIVATIONS and other != name] or _others(name)
        for other in family if len(mine) > 1 else ():
            twin = _Everywhere(name, other).visit(copy.deepcopy(tree))
            yield f"with `{other}` in place of `{name}` everywhere", ast.unparse(ast.fix_missing_locations(twin))


class _Everywhere(ast.NodeTransformer):
    def __init__(self, name: str, other: str) -> None:
        self._name, self._other = name, other

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if _called(node) != self._name:
            return node
        if self._other == "median":
            return _renamed(node, "median")
        node.func = _function(node, self._other)
        return node


def _function(node: ast.Call, name: str) -> ast.expr:
    if name in _ACTIVATIONS and isinstance(node.func, ast.Attribute):
        if not _is_module(node.func.value):
            node.args = [node.func.value]
        owner = "torch" if name == "exp" else "torch.nn.functional"
        return ast.parse(f"{owner}.{name}", mode="eval").body
    return getattr(_renamed(node, name), "func", node.func)


def _statements(tree: ast.Module, function: ast.FunctionDef) -> Iterator[tuple[str, str]]:
    """Sources with one statement left out or moved."""
    for block in ast.walk(function):
        body = getattr(block, "body", None)
        if not isinstance(body, list) or isinstance(block, ast.While):
            continue
        start = 1 if block is function and ast.get_docstring(function) else 0
        block_statements = [i for i in range(start, len(body)) if not isinstance(body[i], ast.Return)]
        for i in block_statements:
            line = ast.unparse(body[i]).splitlines()[0]
            rest = body[:i] + body[i + 1 :]
            if rest:
                yield f"without `{line}`", _with_body(tree, block, rest)
            if isinstance(block, ast.For) and i < len(body) - 1:
                yield f"with `{line}` at the end of the loop", _with_body(tree, block, [*rest, body[i]])
        for i, j in pairwise(block_statements):
            order = list(body)
            order[i], order[j] = order[j], order[i]
            one, two = (ast.unparse(body[k]).splitlines()[0] for k in (i, j))
            yield f"with `{two}` before `{one}`", _with_body(tree, block, order)


def _with_body(tree: ast.Module, block: ast.AST, body: list[ast.stmt]) -> str:
    old = block.body  # type: ignore[attr-defined]
    block.body = body  # type: ignore[attr-defined]
    text = ast.unparse(ast.fix_missing_locations(tree))
    block.body = old  # type: ignore[attr-defined]
    return text
