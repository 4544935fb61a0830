"""Runs of a plan as jobs of a cluster, through submitit: `skinlesion reproduce --executor slurm`.

The campaign stays where it was started and submits a job for each run, at most `jobs` at a time; submitit's `local`
executor runs the same jobs on this machine. A job that ends early continues from its last complete epoch when the
campaign is restarted. The data, the results and the runs folder must be on a file system that all machines see.
"""

import os
import time
from pathlib import Path
from typing import Any

from skinlesion.errors import SkinlesionError
from skinlesion.reproduce.results import Key, Results
from skinlesion.reproduce.runner import Campaign, Setting

POLL_SECONDS = 0.5
DAYS_OF_A_JOB = 1


def run_job(assignment: str, gpus: str | None) -> int:
    """The job: one run, as `skinlesion.reproduce.cell` does it.

    Args:
        assignment: path of the JSON with the key and the setting.
        gpus: which GPUs to use, such as "0,1"; None for those that the cluster assigned.

    Returns:
        Exit code of the run.
    """
    if gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus
    from skinlesion.reproduce.cell import main

    return main(Path(assignment))


class ClusterCampaign(Campaign):
    """Runs keys as jobs of submitit until they are done or the time is up.

    Args:
        results: where finished runs are written.
        setting: where, and on how much of each machine.
        deadline: on the monotonic clock.
        jobs: at a time.
        executor: "local" or "slurm".
        partition: SLURM's partition; None for its default.
    """

    def __init__(
        self, results: Results, setting: Setting, deadline: float, jobs: int, executor: str, partition: str | None
    ) -> None:
        super().__init__(results, setting, deadline, jobs)
        try:
            import submitit
        except ImportError as error:
            raise SkinlesionError(
                '--executor needs submitit: pip install "skinlesion[slurm]", or leave it out to use this machine.'
            ) from error
        self.local = executor == "local"
        self.executor = submitit.AutoExecutor(folder=setting.runs.absolute() / "jobs", cluster=executor)
        options: dict[str, Any] = {"name": "skinlesion", "timeout_min": 24 * 60 * DAYS_OF_A_JOB}
        if not self.local:
            options |= {"cpus_per_task": setting.threads, "slurm_partition": partition}
            options |= {"gpus_per_node": setting.devices if setting.accelerated else 0}
            options |= {"tasks_per_node": setting.devices}  # under SLURM Lightning starts no process itself
        self.executor.update_parameters(**{name: value for name, value in options.items() if value is not None})
        self.submitted: list[Any] = []

    def _execute(self, key: Key, assignment: Path, gpus: str | None) -> str | None:
        with self.lock:  # submitit's executor isn't made for several threads
            if self.stopped:
                return "not done"
            job = self.executor.submit(run_job, str(assignment), gpus if self.local else None)
            self.submitted.append(job)
        while not job.done():
            if self.stopped or time.monotonic() >= self.deadline:
                job.cancel(check=False)
                return "not done"
            time.sleep(POLL_SECONDS)
        if self.stopped or job.state in ("CANCELLED", "PREEMPTED", "TIMEOUT", "NODE_FAIL"):
            return "not done"
        if job.exception() is None and job.result() == 0:
            return None
        lines = (job.stderr() or job.stdout() or f"state {job.state}").strip().splitlines()
        return lines[-1]

    def stop(self) -> None:
        """Cancel all jobs, and submit no more."""
        with self.lock:
            self.stopped = True
            for job in self.submitted:
                if not job.done():
                    job.cancel(check=False)
