"""A training step of the paper's network in two versions of the package, turn by turn in one run.

    git worktree add ../before e597f4b
    python benchmarks/step_versions.py ../before [--threads 2] [--batch 1] [--no-bf16] [--out benchmarks/results]

e597f4b is the first version that had the whole network. Versions alternate in processes of their own, so that a busy
machine is busy for both; writes step_versions.json.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from skinlesion.benchmark.timing import machine
from skinlesion.files import make_folder, write_text

# Only names that both versions have; the loss is the plainest, since the first version had none.
_STEP = """
import sys, time
import skinlesion
import torch
from skinlesion.zoo import create_model
threads, bf16, fused, size, batch = map(int, sys.argv[1:6])
name = sys.argv[6]
torch.set_num_threads(threads)
torch.manual_seed(0)
model = create_model(name)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=bool(fused) or None)
image, mask = torch.rand(batch, 3, size, size), torch.ones(batch, 1, size, size)
times = []
for _ in range(6):
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=bool(bf16)):
        logits = model(image)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), mask)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    times.append(time.perf_counter() - start)
print(sorted(times[1:])[2])
"""


def seconds(folder: Path, threads: int, bf16: bool, fused: bool, size: int, batch: int, name: str) -> float:
    """Median seconds of a step in the version that lies in a folder."""
    words = [str(int(word)) for word in (threads, bf16, fused, size, batch)]
    done = subprocess.run(
        [sys.executable, "-c", _STEP, *words, name],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder.resolve()), "OMP_WAIT_POLICY": "PASSIVE"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(done.stdout)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="a checkout of the earlier version")
    parser.add_argument("--after", type=Path, default=Path(__file__).resolve().parents[1])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default="paper")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument(
        "--no-bf16", dest="bf16", action="store_false", help="without the case that CPUs may be slow at"
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    cases = {
        "before": (options.before, False, False),
        "after": (options.after, False, True),
    }
    if options.bf16:
        cases["after, bf16"] = (options.after, True, True)
    found: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(options.rounds):
        for name, (folder, bf16, fused) in cases.items():
            shape = options.size, options.batch, options.model
            found[name].append(seconds(folder, options.threads, bf16, fused, *shape))
    medians = {name: statistics.median(times) for name, times in found.items()}
    result = {
        "machine": machine(),
        "model": options.model,
        "size": options.size,
        "batch": options.batch,
        "threads": options.threads,
        "seconds": found,
        "median_seconds": medians,
        "over_before": {name: time / medians["before"] for name, time in medians.items()},
    }
    write_text(make_folder(options.out) / "step_versions.json", json.dumps(result, indent=1) + "\n")
    for name, time in medians.items():
        print(f"{name:12} {1000 * time:7.0f} ms  {time / medians['before']:.2f} of before")


if __name__ == "__main__":
    main()
