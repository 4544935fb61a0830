"""One run of a plan in a process of its own: `python -m skinlesion.reproduce.cell ...` (started by `runner`)."""

import dataclasses
import sys
from pathlib import Path

import torch

from skinlesion.data.layouts import find_samples
from skinlesion.data.splits import load_split
from skinlesion.errors import SkinlesionError
from skinlesion.evaluation import evaluate
from skinlesion.model.cost import count_cost
from skinlesion.reproduce.plan import load_plan
from skinlesion.reproduce.results import Key, Results
from skinlesion.reproduce.runner import dataset_root
from skinlesion.segmenter import Segmenter
from skinlesion.training.run import train


def run_cell(scale: str, key: Key, root: Path, split: str, out: Path, runs: Path, threads: int) -> None:
    """Train, choose the epoch on the validation part, measure once on the test part, write the result."""
    plan = load_plan(scale)
    root = dataset_root(root, key.dataset)
    folder = runs / str(key)
    started = (folder / "config.json").exists()
    others = {"root": root, "out": folder, "split": split, "threads": threads, "resume": started, "estimate": False}
    config = plan.config(key.cell, dataset=key.dataset, seed=key.seed, **others)
    result = train(config)
    samples = {sample.id: sample for sample in find_samples(root, key.dataset)}
    manifest = load_split(list(samples.values()), key.dataset, split)
    segmenter = Segmenter.from_pretrained(result.best)
    protocol = {"dataset": key.dataset, "split": split, "manifest": manifest.hash, "part": "test"}
    test = [samples[id] for id in manifest.parts["test"]]
    evaluation = evaluate(segmenter, test, truth_size=config.truth_size, protocol=protocol)
    data = {
        "dataset": key.dataset,
        "cell": key.cell,
        "seed": key.seed,
        "report": evaluation.report,
        "selected": result.selected,
        "seconds": result.history[-1]["seconds"],
        "cost": count_cost(segmenter.model, config.size, config.size).to_dict(),
        "config": {
            name: value
            for name, value in dataclasses.replace(config, root=None, out=None).to_json().items()
            if name not in ("root", "out", "cache_dir", "resume")
        },
    }
    Results(out, plan).save(key, evaluation.table.counts, data)


def main(arguments: list[str]) -> int:
    """Arguments: scale dataset cell seed root split out runs threads."""
    scale, dataset, cell, seed, root, split, out, runs, threads = arguments
    torch.set_num_threads(int(threads))
    try:
        run_cell(scale, Key(dataset, cell, int(seed)), Path(root), split, Path(out), Path(runs), int(threads))
    except SkinlesionError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
