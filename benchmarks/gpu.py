"""GPU acceptance run in one command: are the kernels right, how fast are they, and does the network learn?

    python benchmarks/gpu.py --minutes 8 --data ISIC2017 --out gpu-results

1. Values and all gradients of the Triton engine, and of mamba-ssm's kernel where it is installed, against the float64
   reference in fp32 and bf16, odd shapes included.
2. Forward and backward speed beside the PyTorch loop, as shares of the card's measured bandwidth and exponentials.
3. A training step of the `paper` preset at batch 32 in fp32 and bf16, with memory.
4. The paper's recipe on ISIC 2017 for the minutes that remain.

Every step is a process of its own: one that fails or hangs is written down, and the next one goes on. gpu.json and
gpu.md in OUT are complete files at any time, whenever the run is cut off; the weights so far are in OUT/run.
`--dry-run` tries all of it on a CPU in Triton's interpreter with tiny sizes, and needs no data.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

if __name__ == "__main__" and "--dry-run" in sys.argv:  # Triton chooses when the kernels are defined
    os.environ["TRITON_INTERPRET"] = "1"
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

from gpu import correctness, speed, training
from gpu.record import Record

# Share of the whole time that a step may take at most; training takes what is left.
SHARES = {"correctness": 0.3, "speed": 0.2, "training step": 0.2, "training": 1.0}
RESERVE = 10.0  # seconds at the end, to write the page
DEADLINES = 5.0  # seconds before its limit that a step stops beginning new cases


def machine() -> dict[str, Any]:
    """The card and the versions that matter."""
    import importlib.metadata

    import torch

    def version(package: str) -> str | None:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return None

    found: dict[str, Any] = {"device": platform.machine(), "torch": torch.__version__, "cuda": torch.version.cuda}
    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        found |= {"device": card.name, "memory, GiB": round(card.total_memory / 2**30, 1)}
        found["compute capability"] = f"{card.major}.{card.minor}"
    return found | {name: version(name) for name in ("triton", "mamba-ssm", "skinlesion")}


def run_step(name: str, options: argparse.Namespace) -> None:
    """The child process: one step."""
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    record = Record(options.out)
    device = "cpu" if options.dry_run else "cuda"
    common = {"device": device, "tiny": options.dry_run, "deadline": time.monotonic() + options.seconds - DEADLINES}
    if "machine" not in record.values:
        record.values["machine"] = machine()
        record.save()
    if name == "correctness":
        correctness.run(record, **common)
    elif name == "speed":
        speed.run(record, **common)
    elif name == "training step":
        training.run_steps(record, **common)
    else:
        training.run_training(record, data=options.data, **common)
        return  # the parent has written the epochs meanwhile
    record.save()


def _end_with_parent(parent: int) -> None:
    """End this process when its parent is gone, however that ended."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


class Run:
    """The parent process: starts the steps one after the other and keeps the record of how they ended."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.end = time.monotonic() + 60 * options.minutes - RESERVE
        self.child: subprocess.Popen[bytes] | None = None
        self.stopped = False
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)

    def _stop(self, *_: object) -> None:
        self.stopped = True
        if self.child is not None:
            self.child.kill()

    def _note(self, name: str, **outcome: Any) -> None:
        record = Record(self.options.out)
        record.values.setdefault("outcomes", {}).setdefault(name, {}).update(outcome)
        if name == "training":
            history = training.read_history(self.options.out / "run")
            record.step("training")["history"] = history
            if outcome["state"] != "running" and history:
                record.step("training")["curves"] = self._draw(history)
        record.save()

    def _draw(self, history: list[dict[str, float]]) -> bool:
        from skinlesion.training.figures import save_curves

        best = max(history, key=lambda row: row["val_iou"])
        save_curves(self.options.out / "curves.png", history, int(best["epoch"]))
        return True

    def step(self, name: str) -> None:
        """Run one step to its end or its limit; never raises for what happens in it."""
        options, started = self.options, time.monotonic()
        limit = min(60 * options.minutes * SHARES[name], self.end - started)
        if self.stopped or limit < DEADLINES + 1:
            self._note(name, state="not begun")
            return
        self._note(name, state="running")
        words = ["--step", name, "--seconds", str(limit), "--out", str(options.out), "--minutes", str(options.minutes)]
        words += ["--dry-run"] if options.dry_run else []
        words += ["--data", str(options.data)] if options.data else []
        log = options.out / f"{name.replace(' ', '-')}.log"
        state, written = "done", 0.0
        with log.open("wb") as output:
            command = [sys.executable, str(Path(__file__).resolve()), *words]
            self.child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
            while self.child.poll() is None:
                if self.stopped or time.monotonic() - started > limit:
                    self.child.kill()
                    self.child.wait()
                    state = "cut off"
                elif name == "training" and time.monotonic() - written > 5:
                    self._follow()
                    written = time.monotonic()
                time.sleep(0.2)
            code, self.child = self.child.returncode, None
        if self.stopped:
            state = "cut off"
        outcome: dict[str, Any] = {"state": state, "seconds": round(time.monotonic() - started, 1)}
        if code and state == "done":
            lines = log.read_text("utf-8", errors="replace").strip().splitlines()
            outcome |= {"state": "failed", "error": (lines[-1] if lines else f"exit code {code}")[:400]}
        self._note(name, **outcome)
        print(f"{name}: {outcome['state']} after {outcome['seconds']:.0f} s", flush=True)

    def _follow(self) -> None:
        """Copy the epochs so far into the record; once there is one, the child doesn't write there any more."""
        if training.read_history(self.options.out / "run"):
            self._note("training", state="running")


def main() -> int:
    """Run the steps; 0 if all of them are done and every case passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0, help="for everything together")
    parser.add_argument("--data", type=Path, help="the folder that holds the ISIC 2017 archives, unzipped")
    parser.add_argument("--out", type=Path, required=True, help="a new folder for the results")
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes on the CPU, Triton interpreted")
    parser.add_argument("--step", choices=SHARES, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        run_step(options.step, options)
        return 0
    if not options.dry_run and options.data is None:
        parser.error("--data is needed (or --dry-run)")
    if (options.out / "gpu.json").exists():
        parser.error(f"{options.out} holds a run already: give another --out")
    record = Record(options.out)
    record.values |= {"dry_run": options.dry_run, "minutes": options.minutes, "outcomes": {}}
    record.save()
    run = Run(options)
    for name in SHARES:
        run.step(name)
    values = json.loads((options.out / "gpu.json").read_text("utf-8"))
    print(f"Wrote {options.out / 'gpu.md'}")
    cases = values.get("steps", {}).get("correctness", {}).get("cases", [])
    done = all(outcome["state"] == "done" for outcome in values["outcomes"].values())
    return 0 if done and cases and all(case["passed"] for case in cases) else 1


if __name__ == "__main__":
    sys.exit(main())
