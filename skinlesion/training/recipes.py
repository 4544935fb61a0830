"""Named recipes: what differs from the defaults of `TrainConfig`, which are the paper's."""

from typing import Any

RECIPES: dict[str, dict[str, Any]] = {
    "paper": {},
    # VM-UNet's harness to the letter, its oddities included (reference: A29, A32, A34); w_bce = w_dice there.
    "vmunet": {
        "preset": "vmunet",
        "schedule": "paper",
        "normalize": "minmax255",
        "select_by": "test_loss",
        "w_bce": 1.0,
        "w_dice": 1.0,
        "w_cfd": 0.0,
        "w_ifd": 0.0,
    },
    # An hour or two on an ordinary processor.
    "cpu": {
        "preset": "small",
        "size": 128,
        "augmentation": "strong",
        "epochs": 40,
        "batch_size": 16,
        "lr": 2e-3,
        "min_lr": 1e-6,
        "schedule": "onecycle",
        "clip": 1.0,
        "ema": 0.998,
        "w_cfd": 0.0,
        "w_ifd": 0.0,
    },
}
