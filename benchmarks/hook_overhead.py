"""What the named points cost an unobserved forward pass: `python benchmarks/hook_overhead.py`.

The same network runs with its points and with `point` replaced by a function that returns its tensor, in turns; the
ratio of the fastest passes is printed. A pass through a point with nobody observing reads one context variable.
"""

import time
from unittest.mock import patch

import torch

from skinlesion import create_model
from skinlesion.model import block, cmn, cra, patches, se, ss2d

MODULES = (block, cmn, cra, patches, se, ss2d)
ROUNDS = 60


def seconds(model: torch.nn.Module, image: torch.Tensor) -> float:
    """Of one forward pass."""
    start = time.perf_counter()
    model(image)
    return time.perf_counter() - start


def main() -> None:
    """Print the ratio for `small` at 128 x 128, batches of 1 and 8."""
    torch.set_num_threads(1)
    model = create_model("small").eval()
    for batch in (1, 8):
        image = torch.rand(batch, 3, 128, 128)
        with_points, without = [], []
        with torch.inference_mode():
            seconds(model, image)
            for _ in range(ROUNDS):
                with_points.append(seconds(model, image))
                patches_ = [patch.object(module, "point", lambda module, name, tensor: tensor) for module in MODULES]
                for each in patches_:
                    each.start()
                without.append(seconds(model, image))
                for each in patches_:
                    each.stop()
        a, b = 1e3 * min(with_points), 1e3 * min(without)
        print(f"batch {batch}: {a:.2f} ms with points, {b:.2f} ms without, ratio {a / b:.4f}")


if __name__ == "__main__":
    main()
