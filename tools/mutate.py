"""Mutation testing: change one expression at a time and see whether the nearest tests notice.

    python tools/mutate.py --sample 80 --seed 0 --report benchmarks/results/mutation.md
    python tools/mutate.py --named

Each mutant is one changed expression in a copy of the package; it is killed if a test fails or takes too long. The
sample is drawn by seed, evenly over the groups of `NEAREST`. Known faults that once survived are in `NAMED`. A parent
process imports the slow libraries once and forks for each mutant (Linux and macOS).
"""

import argparse
import ast
import copy
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
TESTS = "tests"
# Source files -> the tests that are about them.
NEAREST = {
    "scan/reference.py": ["scan/test_reference.py", "model/test_oracle.py"],
    "model/*.py": ["model"],
    "losses/*.py": ["losses"],
    "metrics/*.py": ["metrics"],
    "data/splits.py": ["data/test_splits.py"],
    "segmenter.py": ["test_segmenter.py"],
    "evaluation.py": ["test_evaluation.py"],
    "reproduce/claims.py": ["reproduce/test_claims.py"],
}
# What was changed, file, text, replacement, tests: each of these survived once.
NAMED = [
    (
        "CMN as gelu(t) + local",
        "model/cmn.py",
        "F.gelu(t + local if residual else local)",
        "(F.gelu(t) + local if residual else F.gelu(local))",
        ["model"],
    ),
    ("SE fed with y + x", "model/ss2d.py", "y = self.se(y)", "y = self.se(y + x)", ["model"]),
    (
        "CRA applied to x + skip",
        "model/unet.py",
        "x + self.skips[level](skips.pop())",
        "self.skips[level](x + skips.pop())",
        ["model"],
    ),
    (
        "step sizes initialized uniformly",
        "model/ss2d.py",
        "torch.exp(torch.rand(directions, dim) * math.log(high / low) + math.log(low))",
        "(torch.rand(directions, dim) * (high - low) + low)",
        ["model"],
    ),
    (
        "step-size projection with bound 1/R",
        "model/ss2d.py",
        "bound = self.dt_rank**-0.5",
        "bound = self.dt_rank**-1.0",
        ["model"],
    ),
    (
        "detach_shallow detaches the deep half",
        "losses/distillation.py",
        "_distance(deep, shallow.detach() if detach_shallow else shallow, norm)",
        "_distance(deep.detach() if detach_shallow else deep, shallow, norm)",
        ["losses"],
    ),
    (
        "Segmenter.prepare reverses a batch",
        "segmenter.py",
        "for image in images]\n        batch",
        "for image in images[::-1]]\n        batch",
        ["test_segmenter.py"],
    ),
    (
        "wrong inverse in the dihedral augmentation",
        "segmenter.py",
        "x.flip(axes).mT if turned",
        "x.mT.flip(axes) if turned",
        ["test_segmenter.py"],
    ),
    (
        "evaluate ignores the threshold",
        "evaluation.py",
        "SegmentationScores(threshold=threshold,",
        "SegmentationScores(threshold=0.5,",
        ["test_evaluation.py"],
    ),
    (
        "per-step seed without the step",
        "training/module.py",
        "self.trainer.global_step, self.trainer.global_rank",
        "self.trainer.global_rank",
        ["training/test_module.py"],
    ),
    (
        "normal instead of Student's t, of a difference",
        "reproduce/claims.py",
        "reach = float(stats.t.ppf(0.975, scatter.freedom))",
        "reach = float(stats.norm.ppf(0.975))",
        ["reproduce/test_claims.py"],
    ),
    (
        "normal instead of Student's t, of a mean",
        "reproduce/claims.py",
        "return float(stats.t.ppf(0.975, scatter.freedom))",
        "return float(stats.norm.ppf(0.975))",
        ["reproduce/test_claims.py"],
    ),
    (
        "normal instead of Student's t, of p",
        "reproduce/claims.py",
        "stats.t.sf(abs(difference) / error, scatter.freedom)",
        "stats.norm.sf(abs(difference) / error)",
        ["reproduce/test_claims.py"],
    ),
    (
        "rotation limited to 90 degrees",
        "data/transforms.py",
        '"limit": (-180, 180)',
        '"limit": (-90, 90)',
        ["data/test_transforms.py"],
    ),
]
_SWAPS: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_CALLS = {"min": "max", "max": "min", "mean": "sum", "sum": "mean", "sorted": "list", "any": "all", "all": "any"}


class Mutant(NamedTuple):
    """One changed file, and how to tell what was changed."""

    path: str
    line: int
    what: str
    source: str
    tests: list[str]


def _changed(node: ast.AST) -> ast.AST | None:
    """A wrong version of one expression; None if there is nothing to change."""
    new = copy.deepcopy(node)
    match new:
        case ast.BinOp() | ast.BoolOp() if type(new.op) in _SWAPS:
            new.op = _SWAPS[type(new.op)]()
        case ast.Compare(ops=[op]) if type(op) in _SWAPS:
            new.ops = [_SWAPS[type(op)]()]
        case ast.UnaryOp(op=ast.USub() | ast.Not()):
            new = new.operand
        case ast.Constant(value=bool()):
            new.value = not new.value
        case ast.Constant(value=int() | float()):
            new.value = new.value + 1 if isinstance(new.value, int) else new.value * 2
        case ast.Call(func=ast.Name(id=name)) if name in _CALLS:
            new.func = ast.Name(_CALLS[name])
        case ast.Call(func=ast.Attribute(attr=name)) if name in _CALLS:
            assert isinstance(new.func, ast.Attribute)
            new.func.attr = _CALLS[name]
        case ast.IfExp(test=test):
            new.test = ast.UnaryOp(ast.Not(), test)
        case _:
            return None
    return new


def _expressions(node: ast.AST) -> Iterator[ast.AST]:
    """All expressions that run, without annotations and error messages."""
    if isinstance(node, ast.Raise | ast.JoinedStr | ast.Assert | ast.Import | ast.ImportFrom):
        return
    skipped = {"annotation", "returns", "decorator_list"}
    for field, value in ast.iter_fields(node):
        if field not in skipped:
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield child
                    yield from _expressions(child)


def mutants(path: Path, tests: list[str]) -> Iterator[Mutant]:
    """All mutants of one file."""
    raw = path.read_bytes()
    starts = [0]
    for line in raw.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for node in _expressions(ast.parse(raw)):
        if (new := _changed(node)) is not None:
            assert isinstance(node, ast.expr)
            assert node.end_lineno is not None
            assert node.end_col_offset is not None
            begin = starts[node.lineno - 1] + node.col_offset
            end = starts[node.end_lineno - 1] + node.end_col_offset
            text = ast.unparse(new)
            what = f"`{ast.unparse(node)}` -> `{text}`"
            source = (raw[:begin] + b"(" + text.encode() + b")" + raw[end:]).decode()
            yield Mutant(str(path.relative_to(ROOT)), node.lineno, what, source, tests)


def sample(size: int, seed: int) -> list[Mutant]:
    """A share of the mutants for each group, drawn by seed; small groups give their share to the large ones."""
    rng = random.Random(seed)
    groups = []
    for pattern, tests in NEAREST.items():
        files = sorted((ROOT / "skinlesion").glob(pattern))
        group = [mutant for path in files if path.name != "__init__.py" for mutant in mutants(path, tests)]
        groups.append(rng.sample(group, len(group)))
    chosen: list[Mutant] = []
    while len(chosen) < size and any(groups):
        chosen += [group.pop() for group in groups if group]
    return chosen[:size]


def named() -> list[Mutant]:
    """The known faults."""
    found = []
    for what, name, old, new, tests in NAMED:
        path = ROOT / "skinlesion" / name
        text = path.read_text("utf-8")
        if text.count(old) != 1:
            raise SystemExit(f"{name} has {text.count(old)} places {old!r}: update NAMED in {Path(__file__).name}.")
        line = text[: text.index(old)].count("\n") + 1
        found.append(Mutant(str(path.relative_to(ROOT)), line, what, text.replace(old, new), tests))
    return found


def _run(tree: Path, tests: list[str], limit: float) -> str:
    """passed, failed or timed out; in a child process."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        os.chdir(tree)
        sys.path.insert(0, str(tree))
        sys.dont_write_bytecode = True
        log = os.open(tree / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ["PYTHONPATH"] = str(tree)
        import pytest

        code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *(f"{TESTS}/{name}" for name in tests)])
        os._exit(int(code))
    start = time.monotonic()
    while time.monotonic() - start < limit:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return "passed" if status == 0 else "failed"
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timed out"


def main() -> None:
    """Run the mutants, print each, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=0, help="how many random mutants to try")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--named", action="store_true", help="try the known faults")
    parser.add_argument("--report", type=Path, help="write a Markdown report")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop starting mutants after this time")
    options = parser.parse_args()
    import albumentations, hypothesis, numba, pandas, pytest, scipy.stats, torch, torchmetrics  # noqa: E401, F401, I001

    tried = (named() if options.named else []) + sample(options.sample, options.seed)
    survivors, count, began = [], 0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "copy"
        tree.mkdir()
        for name in ("skinlesion", TESTS, "pyproject.toml"):
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, tree / name)
        limits: dict[tuple[str, ...], float] = {}
        for mutant in tried:
            if time.monotonic() - began > options.seconds:
                break
            key = tuple(mutant.tests)
            if key not in limits:
                start = time.monotonic()
                if _run(tree, mutant.tests, 600) != "passed":
                    raise SystemExit(f"The tests {' '.join(key)} fail without a mutant:\n{(tree / 'log').read_text()}")
                limits[key] = 30 + 3 * (time.monotonic() - start)
            target = tree / mutant.path
            original = target.read_text("utf-8")
            target.write_text(mutant.source, "utf-8")
            outcome = _run(tree, mutant.tests, limits[key])
            target.write_text(original, "utf-8")
            count += 1
            if outcome == "passed":
                survivors.append(mutant)
            print(f"{outcome:9} {mutant.path}:{mutant.line} {mutant.what}", flush=True)
    killed = count - len(survivors)
    text = f"killed {killed} of {count} ({killed / max(1, count):.0%})"
    print(text)
    if options.report:
        lines = [f"- {mutant.path}:{mutant.line}: {mutant.what}" for mutant in survivors] or ["None."]
        command = "python tools/mutate.py " + " ".join(sys.argv[1:])
        head = f"# Mutation run\n\n`{command}`: {text}.\n\n## Survivors\n\n"
        options.report.write_text(head + "\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
