"""gpu.json as a Markdown page."""

from typing import Any

HEAD = """# The GPU acceptance run

Written by `python benchmarks/gpu.py`. {what}
"""


def page(values: dict[str, Any]) -> str:
    """The whole page; steps that haven't been run are left out."""
    machine = values.get("machine", {})
    what = "**A dry run on a CPU with tiny sizes: it says nothing about a GPU.**" if values.get("dry_run") else ""
    parts = [HEAD.format(what=what).strip()]
    if machine:
        parts.append(", ".join(f"{name}: {value}" for name, value in machine.items() if value is not None) + ".")
    parts.append(_outcomes(values))
    steps = values.get("steps", {})
    for name, write in (
        ("correctness", _correctness),
        ("speed", _speed),
        ("training step", _steps),
        ("training", _training),
    ):
        if steps.get(name):
            parts.append(write(steps[name]))
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _outcomes(values: dict[str, Any]) -> str:
    rows = [
        [name, outcome["state"], f"{outcome['seconds']:.0f}" if "seconds" in outcome else "", outcome.get("error", "")]
        for name, outcome in values.get("outcomes", {}).items()
    ]
    return _table(["step", "outcome", "seconds", "error"], [[_safe(cell) for cell in row] for row in rows])


def _safe(text: str) -> str:
    """Text that doesn't break a table's line."""
    return " ".join(str(text).replace("|", "\\|").split())


def _correctness(found: dict[str, Any]) -> str:
    rows = []
    cases = found.get("cases", [])
    for row in cases:
        if "errors" in row:
            worst = max(row["errors"], key=lambda name: row["errors"][name])
            shown = f"{row['errors']['y']:.1e} | {row['errors'][worst]:.1e} ({worst})"
        else:
            shown = f"{_safe(row['error'])} | "
        rows.append([row["engine"], row["type"], row["case"], shown, "passed" if row["passed"] else "**failed**"])
    passed = sum(row["passed"] for row in cases)
    tolerance = ", ".join(f"{kind} {value:g}" for kind, value in found.get("tolerance", {}).items())
    head = (
        f"## Values and gradients\n\n**{passed} of {len(cases)} cases equal the float64 reference**, in value and in "
        f"all seven gradients. Error: largest difference over largest value of the tensor; tolerance {tolerance}."
    )
    if not found.get("engines"):
        head += " No engine for this device was found."
    table = _table(["engine", "type", "batch x height x width x channels", "error of y", "largest error", ""], rows)
    return f"{head}\n\n{table}"


def _speed(found: dict[str, Any]) -> str:
    copy, exp = found.get("bytes_per_second"), found.get("exp_per_second")
    ceilings = [
        f"copies {copy / 1e9:.1f} GB/s" if copy else f"bandwidth not measured ({found.get('bytes_per_second_error')})",
        f"computes {exp / 1e9:.1f} G exponentials/s"
        if exp
        else f"exponentials not measured ({found.get('exp_per_second_error')})",
    ]
    rows = []
    for row in found.get("rows", []):
        if "error" in row:
            rows.append([row["engine"], row["size"], _safe(row["error"]), "", "", "", ""])
            continue
        for direction in ("forward", "backward"):
            if f"{direction}_seconds" in row:
                updates, moved = row[f"{direction}_updates_per_second"], row[f"{direction}_bytes_per_second"]
                rows.append(
                    [
                        row["engine"],
                        row["size"],
                        direction,
                        f"{1000 * row[f'{direction}_seconds']:.2f}",
                        f"{updates / 1e9:.2f}",
                        f"{updates / exp:.3f}" if exp else "",
                        f"{moved / copy:.3f}" if copy else "",
                    ]
                )
    columns = ["engine", "batch x grid x channels", "", "ms", "G updates/s", "share of exp", "share of bandwidth"]
    return (
        f"## Speed of the scan\n\nThe card {' and '.join(ceilings)}, both measured here. A state update needs one "
        "exponential at least. Bytes are the least that must move: inputs and outputs once. `reference` is the PyTorch "
        f"loop.\n\n{_table(columns, rows)}"
    )


def _steps(found: dict[str, Any]) -> str:
    rows = []
    for row in found.get("rows", []):
        if "error" in row:
            rows.append([row["precision"], _safe(row["error"]), "", "", ""])
            continue
        memory = f"{row['peak_bytes'] / 2**30:.1f}" if "peak_bytes" in row else ""
        rows.append(
            [
                row["precision"],
                f"{row['batch']} at {row['size']} x {row['size']}",
                f"{1000 * row['seconds']:.0f}",
                f"{row['images_per_second']:.1f}",
                memory,
            ]
        )
    table = _table(["precision", "batch", "ms", "images/s", "peak memory, GiB"], rows)
    return f"## A training step of `{found.get('preset')}`\n\n{table}"


def _training(found: dict[str, Any]) -> str:
    history = found.get("history", [])
    head = (
        f"## Training\n\nThe paper's recipe in {found.get('precision')}, {found.get('epochs_planned')} epochs planned"
    )
    if not history:
        return f"{head}; no epoch was completed."
    best = max(history, key=lambda row: row["val_iou"])
    head += (
        f", {len(history)} completed. **Best pooled IoU on the validation set {best['val_iou']:.4f}, epoch "
        f"{best['epoch']:.0f}.** Weights: `{found.get('folder')}/best.safetensors`."
    )
    columns = {
        "epoch": ("epoch", ".0f"),
        "training loss": ("train_loss", ".4f"),
        "validation loss": ("val_loss", ".4f"),
        "validation IoU": ("val_iou", ".4f"),
        "seconds": ("seconds", ".0f"),
    }
    every = max(1, len(history) // 20)
    rows = [
        [f"{row[name]:{form}}" for name, form in columns.values()]
        for i, row in enumerate(history)
        if i % every == 0 or i == len(history) - 1
    ]
    figure = "\n\n![Loss, validation scores and learning rate by epoch](curves.png)" if found.get("curves") else ""
    table = _table(list(columns), rows)
    return f"{head}{figure}\n\n{table}"
