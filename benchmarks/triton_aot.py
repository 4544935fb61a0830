"""Compile the Triton kernels for GPUs that are not here: registers, spills and instructions of the machine code.

    python benchmarks/triton_aot.py [--folder benchmarks/results]

writes triton_aot.json and triton_aot.md. Nothing is run: these are figures of the compiled code, not measured speed.
"""

import argparse
import json
import os
import re
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from skinlesion.scan import triton_kernels as kernels

KERNELS = {
    "forward": (kernels.forward_kernel, kernels.FORWARD_BYTES, {"KEEP": False}),
    "forward, states kept": (kernels.forward_kernel, kernels.FORWARD_BYTES, {"KEEP": True}),
    "backward": (kernels.backward_kernel, kernels.BACKWARD_BYTES, {}),
}
SIZES = ("batch", "L", "D", "N")
ALIGNED = ("D", "N", "x_b", "x_l", "delta_b", "delta_l", "B_b", "B_l", "C_b", "C_l")  # multiples of 16 in the network


def compile_kernel(name: str, capability: int, states: int, dtype: str):
    """A kernel as a launch on the network's tensors would compile it."""
    kernel, thread_bytes, constants = KERNELS[name]
    tile = kernels.blocks(states, kernels.BLOCK_D)
    constants = constants | tile
    signature = {}
    for argument in kernel.arg_names:
        if argument in constants:
            signature[argument] = "constexpr"
        elif argument in SIZES or re.fullmatch(r"\w+_[blk]", argument):
            signature[argument] = "i32"
        else:
            signature[argument] = "*i32" if argument == "routes" else f"*{dtype}"
    aligned = {
        (i,): [["tt.divisibility", 16]]
        for i, argument in enumerate(kernel.arg_names)
        if signature[argument].startswith("*") or argument in ALIGNED
    }
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=aligned)
    options = kernels.options(tile, {"fp32": 4, "fp64": 8}[dtype], thread_bytes)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


def inspect(cubin: bytes) -> dict[str, int]:
    """Registers, stack and instructions of machine code, by the NVIDIA tools in Triton's wheel."""
    tools = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "kernel.cubin")
        file.write_bytes(cubin)
        usage, code = (
            subprocess.run([tools / tool, option, file], capture_output=True, text=True, check=True).stdout
            for tool, option in (("cuobjdump", "-res-usage"), ("nvdisasm", "-c"))
        )
    operations = Counter(re.findall(r"^\s*/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+ )?([A-Z][A-Z0-9]*)", code, re.MULTILINE))
    return {
        "registers": int(re.search(r"REG:(\d+)", usage)[1]),
        "stack_bytes": int(re.search(r"STACK:(\d+)", usage)[1]),
        "spill_stores": operations["STL"],
        "spill_loads": operations["LDL"],
        "instructions": operations.total(),
        "shuffles": operations["SHFL"],
    }


def in_one_thread(layouts: str) -> bool:
    """Whether the tiles' first axis, the tokens, is spread over neither threads nor warps."""
    spread = re.findall(r"threadsPerWarp = \[(\d+), \d+, \d+\], warpsPerCTA = \[(\d+), \d+, \d+\]", layouts)
    return bool(spread) and all(count == "1" for layout in spread for count in layout)


def report(capabilities: list[int], states: list[int], types: list[str]) -> list[dict]:
    """A row for every kernel, compute capability (80 is 8.0), number of states and type ("fp32" or "fp64")."""
    rows = []
    for dtype in types:
        for count in states:
            for capability in capabilities:
                for name in KERNELS:
                    compiled = compile_kernel(name, capability, count, dtype)
                    row = {"kernel": name, "type": dtype, "states": count, "capability": capability / 10}
                    row |= {"warps": compiled.metadata.num_warps, "shared_bytes": compiled.metadata.shared}
                    row["recurrence_in_one_thread"] = in_one_thread(compiled.asm["ttgir"])
                    row |= inspect(compiled.asm["cubin"])
                    updates = kernels.TOKENS * count * kernels.BLOCK_D / (32 * compiled.metadata.num_warps)
                    row["instructions_per_update"] = round(row["instructions"] / updates, 1)
                    rows.append(row)
    return rows


def page(rows: list[dict]) -> str:
    """The rows as a Markdown page."""
    head = f"""# Triton kernels, compiled ahead of time

Written by `python benchmarks/triton_aot.py` with Triton {triton.__version__}. **Nothing here was run on a GPU**: these
are figures of the compiled machine code. A tile is {kernels.TOKENS} tokens, {kernels.BLOCK_D} channels and all states.
Registers are per thread, of 255 at most; spill stores and loads are instructions. Instructions per update is the
whole kernel's count over the state updates of one tile in one thread, an upper estimate of the main loop's.

"""
    columns = list(rows[0])
    lines = [columns, ["---"] * len(columns), *([row[column] for column in columns] for row in rows)]
    titled = [[str(cell).replace("_", " ") for cell in line] for line in lines]
    return head + "".join(f"| {' | '.join(line)} |\n" for line in titled)


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def main() -> None:
    """Compile, print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent / "results")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    rows = report([75, 80, 90, 100, 120], states=[16], types=["fp32"]) + report([80, 90], states=[16], types=["fp64"])
    text = page(rows)
    print(text)
    write(folder / "triton_aot.json", json.dumps({"triton": triton.__version__, "rows": rows}, indent=2) + "\n")
    write(folder / "triton_aot.md", text)


if __name__ == "__main__":
    main()
