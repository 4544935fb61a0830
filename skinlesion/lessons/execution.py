"""Run a notebook in a kernel of its own."""

import json
import os
import time
from pathlib import Path
from queue import Empty
from typing import Any

import nbformat
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.channels import AsyncZMQSocketChannel
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from traitlets import Type

from skinlesion.lessons import completion
from skinlesion.lessons.fallback import add_fallbacks

_PEAK = "import resource\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
_LOOK_AGAIN = 1.0  # seconds


class _PatientChannel(AsyncZMQSocketChannel):
    """A channel that looks again every second.

    On a busy machine the event loop may miss that a reply has come, and with it the end of a cell that shows a widget:
    the reply lies in the socket for good (jupyter/nbclient issue 312).
    """

    async def get_msg(self, timeout: float | None = None) -> dict[str, Any]:  # type: ignore[override]
        end = float("inf") if timeout is None else time.monotonic() + timeout
        while True:
            left = end - time.monotonic()
            try:
                return await super().get_msg(timeout=max(0.0, min(_LOOK_AGAIN, left)))
            except Empty:
                if left <= 0:
                    raise


class _Client(AsyncKernelClient):
    shell_channel_class = Type(_PatientChannel)


def execute(notebook: dict[str, Any], folder: Path, *, fast: bool = False) -> dict[str, Any]:
    """Run a notebook in a fresh kernel.

    Args:
        notebook: nbformat's JSON.
        folder: where the kernel runs.
        fast: whether lessons make their experiments small.

    Returns:
        The notebook with outputs and, in its metadata, seconds and peak memory (MB).

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    node = nbformat.from_dict(notebook)
    for cell in node.cells:
        cell.source = "".join(cell.source)
    node.cells.append(nbformat.v4.new_code_cell(_PEAK))
    env = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    env |= {completion.VARIABLE: completion.OFF, "SKINLESION_FAST": "1" if fast else ""}
    resources = {"metadata": {"path": str(folder)}}
    manager = AsyncKernelManager(client_factory=_Client)
    client = NotebookClient(node, km=manager, timeout=900, record_timing=False, resources=resources)
    start = time.perf_counter()
    client.execute(env=env, cleanup_kc=True)
    seconds = time.perf_counter() - start
    peak = int(node.cells.pop().outputs[0].text)
    done = json.loads(nbformat.writes(node))
    add_fallbacks(done)
    done["metadata"] = notebook["metadata"] | {"measured": {"seconds": round(seconds), "peak_mb": peak}}
    return done
