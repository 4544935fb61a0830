"""Kill a training twenty times at random moments, resume it each time, and compare its weights with an undisturbed run.

    python benchmarks/kill_resume.py [--kills 20] [--seed 0]

Prints one line a kill, and at the end whether the weights, bit by bit, and the history are those of the undisturbed
run, and which files lie in its folder beyond those of the other. Exits with 1 if something differs.
"""

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from skinlesion.checkpoint import tensors_hash
from skinlesion.data.synthetic import write_dataset
from skinlesion.training.run_folder import read_run

EPOCHS = 60
SESSION = 0.5  # seconds of training, at most, before the next kill


def words(folder: Path, lesions: Path, *more: str) -> list[str]:
    """The command line of the run in a folder."""
    options = [
        *("--preset", "tiny", "--model", "dim=16", "depths=1,1", "decoder_depths=1,1", "d_state=2"),
        *("--data", "folder", "--root", str(lesions), "--size", "32", "--truth-size", "32", "--batch-size", "2"),
        *("--epochs", str(EPOCHS), "--threads", "1", "--device", "cpu", "--no-estimate", "--out", str(folder)),
        *("--cache-dir", str(lesions.parent / "cache")),
    ]
    return [sys.executable, "-m", "skinlesion", "train", *options, *more]


def kill_one(folder: Path, command: list[str], source: random.Random) -> str:
    """Start the run, kill it a random time after its first epoch of this session, and say what it had reached."""
    marker = folder / "checkpoints" / "last.ckpt"
    before = marker.stat().st_mtime_ns if marker.exists() else 0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and (not marker.exists() or marker.stat().st_mtime_ns == before):
        time.sleep(0.001)
    time.sleep(source.uniform(0, SESSION))
    process.send_signal(signal.SIGKILL)
    _, err = process.communicate()
    if process.returncode != -signal.SIGKILL:
        raise SystemExit(f"The run ended by itself with code {process.returncode}: {err[-500:]}")
    return f"epoch {read_run(folder).epochs} of {EPOCHS}"


def main() -> int:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    source = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        lesions = write_dataset(root / "lesions", n=10, seed=5, size=48)
        whole, killed = root / "whole", root / "killed"
        subprocess.run(words(whole, lesions), check=True, stdout=subprocess.DEVNULL)
        for number in range(options.kills):
            resume = ["--resume"] if (killed / "config.json").exists() else []
            reached = kill_one(killed, words(killed, lesions, *resume), source)
            print(f"kill {number + 1}: {reached}", flush=True)
        subprocess.run(words(killed, lesions, "--resume"), check=True, stdout=subprocess.DEVNULL)
        hashes = [tensors_hash(folder / "best.safetensors") for folder in (whole, killed)]
        histories = [read_run(folder).history for folder in (whole, killed)]
        rows = [{key: row for key, row in history.items() if key != "seconds"} for history in histories]
        files = [{path.relative_to(folder) for path in folder.rglob("*")} for folder in (whole, killed)]
        stray = sorted(str(path) for path in files[1] - files[0] if "events.out" not in path.name)
    same = hashes[0] == hashes[1] and rows[0] == rows[1]
    found = [f"weights {'identical' if hashes[0] == hashes[1] else 'DIFFER'}"]
    found += [f"history of {EPOCHS} epochs {'identical' if rows[0] == rows[1] else 'DIFFERS'}"]
    print(f"{options.kills} kills: {', '.join(found)}; stray files: {', '.join(stray) or 'none'}")
    return 0 if same and not stray else 1


if __name__ == "__main__":
    sys.exit(main())
