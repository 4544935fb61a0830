"""One run of a plan in a process of its own: `python -m skinlesion.reproduce.cell FILE` (started by `runner`)."""

import dataclasses
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import torch
import torch.distributed
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from skinlesion.data.layouts import find_samples
from skinlesion.data.splits import load_split
from skinlesion.errors import SkinlesionError
from skinlesion.evaluation import evaluate
from skinlesion.model.cost import count_cost
from skinlesion.reproduce.plan import load_plan
from skinlesion.reproduce.results import Key, Results, images_used
from skinlesion.reproduce.runner import PARENT, Setting
from skinlesion.segmenter import Segmenter
from skinlesion.training.trainer import train


def run_cell(key: Key, setting: Setting) -> None:
    """Train, choose the epoch on the validation set, measure once on the test set, write the result."""
    plan = load_plan(setting.scale)
    root = setting.root_of(key.dataset)
    split = setting.split or plan.split_of(key.dataset)
    folder = setting.runs / str(key)
    config = plan.config(
        key.cell,
        dataset=key.dataset,
        seed=key.seed,
        root=root,
        out=folder,
        split=split,
        threads=setting.threads,
        devices=setting.devices,
        resume=(folder / "config.json").exists(),
        estimate=False,
    )
    result = train(config)
    if torch.distributed.is_initialized():  # with several devices: from here on there is one process
        torch.distributed.destroy_process_group()
    if getattr(rank_zero_only, "rank", 0) != 0:
        return
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
        "images": images_used(manifest),
        "report": evaluation.report,
        "selected": result.selected,
        "history": result.history,
        "seconds": result.history[-1]["seconds"],
        "cost": count_cost(segmenter.model, config.size, config.size).to_dict(),
        "config": {
            name: value
            for name, value in dataclasses.replace(config, root=None, out=None).to_json().items()
            if name not in ("root", "out", "cache_dir", "resume")
        },
    }
    Results(setting.out, plan).save(key, evaluation.table.counts, data)


def _end_with_parent() -> None:
    """End this process when its parent is gone, however that ended: a later campaign must find the run folder free.

    The campaign says which process that is, since it may be gone before this one has imported anything. On Windows,
    where a child isn't handed to another parent, nothing happens.
    """
    named = os.environ.pop(PARENT, None)  # the other processes of a run on several devices have another parent
    if sys.platform == "win32":
        return
    parent = os.getppid() if named is None else int(named)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def main(path: Path) -> int:
    """The process: the file is a JSON object with the key and the setting."""
    _end_with_parent()
    told = json.loads(path.read_text("utf-8"))
    setting = Setting.from_json(told["setting"])
    torch.set_num_threads(setting.threads)
    try:
        run_cell(Key(*told["key"]), setting)
    except SkinlesionError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
