"""Runs what is missing: each run is a separate process that can be killed at any time and resumes where it stopped."""

import contextlib
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from skinlesion.data.layouts import find_samples
from skinlesion.data.splits import load_split
from skinlesion.errors import SkinlesionError
from skinlesion.files import write_text
from skinlesion.reproduce.plan import Plan
from skinlesion.reproduce.results import Key, Results, describe_images, images_used, wanted
from skinlesion.reserved import reserved

_FOLDERS = ("root", "out", "runs")
PARENT = "SKINLESION_CAMPAIGN"  # environment variable of a run: the process without which it ends
GRACE = 60.0  # seconds that a run has to end by itself, between two batches, before it is killed


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Data, folders and hardware of a plan's runs.

    Attributes:
        scale: where the plan came from: "cpu", "paper" or a file.
        root: folder of the data; for tables of several datasets, a folder with one of each name.
        split: which split of the data; None for the plan's.
        out: results folder; results of another plan, manifest or version are refused.
        runs: where unfinished training runs live; each is removed when its result is written.
        devices: number of GPUs or CPU processes per run.
        threads: number of threads per process.
        accelerated: whether to request GPUs from a cluster.
    """

    scale: str
    root: Path
    split: str | None
    out: Path
    runs: Path
    devices: int = 1
    threads: int = 1
    accelerated: bool = False

    def root_of(self, dataset: str) -> Path:
        """Where one dataset is: the folder of its name in `root` if there is one, else `root` itself."""
        return self.root / dataset if (self.root / dataset).is_dir() else self.root

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a process."""
        return {name: str(value) if name in _FOLDERS else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        folders = {name: Path(values[name]) for name in _FOLDERS}
        return cls(**{**values, **folders})


def usable_processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share_gpus(gpus: Sequence[str], jobs: int, devices: int) -> list[str | None]:
    """Which GPUs each of several jobs uses, as CUDA_VISIBLE_DEVICES; all None without a GPU.

    Every job gets GPUs of its own as long as there are enough; beyond that they take turns.
    """
    if not gpus:
        return [None] * jobs
    count = min(devices, len(gpus))
    return [",".join(gpus[(job * count + i) % len(gpus)] for i in range(count)) for job in range(jobs)]


def usable_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    found = torch.cuda.device_count()
    return [name.strip() for name in named.split(",")][:found] if named else [str(i) for i in range(found)]


class Campaign:
    """Runs keys in processes until they are done or the time is up.

    Args:
        results: where finished runs are written.
        setting: where, and on how much of the machine.
        deadline: on the monotonic clock.
        jobs: at a time; on several GPUs each job gets its own.
    """

    def __init__(self, results: Results, setting: Setting, deadline: float, jobs: int) -> None:
        self.results, self.setting, self.deadline = results, setting, deadline
        self.children: set[subprocess.Popen[str]] = set()
        self.lock = threading.Lock()
        self.stopped = False
        self.slots: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        for gpus in share_gpus(usable_gpus(), jobs, setting.devices):
            self.slots.put(gpus)

    def run(self, key: Key) -> str:
        """Run one key; returns "done", "failed" or "not done"."""
        if self.stopped or time.monotonic() >= self.deadline:
            return "not done"
        name = str(key).replace("/", "-")
        assignment = self.setting.runs.absolute() / f"{name}.json"
        write_text(assignment, json.dumps({"key": key, "setting": self.setting.to_json()}))
        gpus = self.slots.get()
        try:
            error = self._execute(key, assignment, gpus)
        finally:
            self.slots.put(gpus)
        if error is None:
            return "done"
        if error == "not done":
            return error
        self.results.save_error(key, error)
        return "failed"

    def _execute(self, key: Key, assignment: Path, gpus: str | None) -> str | None:
        """Run one assignment: None when it is done, "not done" when it was ended from outside, else the error."""
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.setting.threads), PARENT: str(os.getpid())}
        if gpus is not None:
            environment["CUDA_VISIBLE_DEVICES"] = gpus
        log = assignment.with_suffix(".log")
        with log.open("w", encoding="utf-8") as output:
            command = [sys.executable, "-m", "skinlesion.reproduce.cell", str(assignment)]
            with self.lock:  # so that `stop` misses no child that is just beginning
                if self.stopped:
                    return "not done"
                child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, text=True, env=environment)
                self.children.add(child)
            try:
                code = child.wait(max(0.0, self.deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _end([child])
                return "not done"
            finally:
                with self.lock:
                    self.children.discard(child)
        if code == 0:
            return None
        if code < 0 or self.stopped:  # ended from outside: nothing is wrong with the run itself
            return "not done"
        lines = log.read_text("utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {code}"

    def stop(self) -> None:
        """End all children, and begin no more."""
        with self.lock:
            self.stopped = True
            children = list(self.children)
        _end(children)


def _end(children: Sequence[subprocess.Popen[str]]) -> None:
    """Ask processes to end; kill those that haven't after `GRACE`, or at a second Ctrl-C. Run folders stay usable."""
    for child in children:
        child.terminate()
    deadline = time.monotonic() + GRACE
    try:
        for child in children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(max(0.0, deadline - time.monotonic()))
    finally:
        for child in children:
            child.kill()
            child.wait()


def reproduce(
    plan: Plan,
    tables: Sequence[str],
    setting: Setting,
    *,
    seeds: int | None = None,
    budget_hours: float | None = None,
    jobs: int = 1,
    executor: str | None = None,
    partition: str | None = None,
) -> dict[str, int]:
    """Run the missing runs of some tables.

    Args:
        plan: what is declared.
        tables: names of its tables.
        setting: where.
        seeds: runs of each row; default the table's own number.
        budget_hours: stop after this many hours; unfinished runs continue the next time.
        jobs: number of simultaneous runs; with several GPUs, each run has its own.
        executor: "local" or "slurm" of submitit; None for processes of this machine.
        partition: of SLURM.

    Returns:
        How many runs are "done", "failed" and "not done".

    Raises:
        SkinlesionError: a table is unknown, the data are not there, or another process works in the same folders.
        KeyboardInterrupt: Ctrl-C; unfinished runs continue the next time.
    """
    if unknown := [name for name in tables if name not in plan.tables]:
        raise SkinlesionError(f"Unknown table {', '.join(unknown)}; the plan has: {', '.join(plan.tables)}.")
    results = Results(setting.out, plan)
    keys = wanted(plan, list(tables), seeds)
    with reserved(setting.out), contextlib.ExitStack() as inner:
        if setting.runs.resolve() != setting.out.resolve():
            inner.enter_context(reserved(setting.runs))
        _claim(results, keys, setting)
        missing = [key for key in keys if not results.path(key).exists()]
        print(f"{len(keys) - len(missing)} of {len(keys)} runs are done; {len(missing)} left.", flush=True)
        deadline = time.monotonic() + 3600 * (10**5 if budget_hours is None else budget_hours)
        campaign: Campaign
        if executor is None:
            campaign = Campaign(results, setting, deadline, jobs)
        else:
            from skinlesion.reproduce.cluster import ClusterCampaign

            campaign = ClusterCampaign(results, setting, deadline, jobs, executor, partition)
        outcomes = _run(missing, campaign, jobs)
    return {**outcomes, "done": outcomes["done"] + len(keys) - len(missing)}


def _claim(results: Results, keys: list[Key], setting: Setting) -> None:
    for dataset in dict.fromkeys(key.dataset for key in keys):
        samples = find_samples(setting.root_of(dataset), dataset)
        cells = sorted({key.cell for key in keys if key.dataset == dataset})
        manifest = load_split(samples, dataset, setting.split or results.plan.split_of(dataset))
        images = images_used(manifest)
        print(f"{dataset}, split {manifest.name}: {describe_images(images)}.", flush=True)
        results.claim(dataset, manifest.hash, images, cells)


def _run(keys: list[Key], campaign: Campaign, jobs: int) -> dict[str, int]:
    results, setting = campaign.results, campaign.setting
    outcomes = {"done": 0, "failed": 0, "not done": 0}

    def run(key: Key) -> None:
        started = time.monotonic()
        outcome = campaign.run(key)
        with campaign.lock:
            outcomes[outcome] += 1
        if outcome != "not done":
            found = results.load(key)
            shown = f"IoU {found.data['report']['pooled']['iou']:.4f}" if found else results.error(key)
            print(f"{key}: {outcome} after {(time.monotonic() - started) / 60:.1f} min, {shown}", flush=True)
        if outcome == "done":
            shutil.rmtree(setting.runs / str(key), ignore_errors=True)

    with ThreadPoolExecutor(jobs) as pool:
        try:
            list(pool.map(run, keys))
        except BaseException:
            campaign.stop()
            raise
    return outcomes
