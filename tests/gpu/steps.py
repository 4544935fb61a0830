"""Steps that are tried one after the other; each prints how it went."""

import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

failed: list[str] = []
SIDE = 32  # pixels
TINY: dict[str, Any] = {"dim": 8, "depths": (1, 1, 1), "decoder_depths": (1, 1, 1), "d_state": 2, "drop_path": 0.0}


@contextmanager
def step(name: str) -> Iterator[None]:
    """Report whether a step worked, and go on."""
    start = time.perf_counter()
    try:
        yield
    except Exception:
        failed.append(name)
        print(f"FAILED {name}\n{traceback.format_exc()}", flush=True)
    else:
        print(f"ok {name} ({time.perf_counter() - start:.1f} s)", flush=True)
