from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skinlesion.training import TrainConfig

TINY = ("dim=16", "depths=1,1", "decoder_depths=1,1", "d_state=4")


def write_discs(root: Path, count: int = 40, size: int = 32) -> Path:
    """Dark discs on noisy skin, as a folder dataset."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:size, :size]
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for number in range(count):
        y, x = random.uniform(0.3, 0.7, 2) * size
        mask = np.hypot(rows - y, columns - x) < random.uniform(0.15, 0.3) * size
        image = np.where(mask[..., None], (90, 60, 50), (220, 180, 160)) + random.normal(0, 8, (size, size, 3))
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(root / "images" / f"disc{number:02d}.png")
        Image.fromarray(mask.astype(np.uint8) * 255).save(root / "masks" / f"disc{number:02d}.png")
    return root


@pytest.fixture(scope="session")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_discs(tmp_path_factory.mktemp("discs"))


@pytest.fixture(scope="session")
def base(discs: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """A run of seconds that uses drop path, distillation, averaging and clipping; `out` is for the test to set."""
    return TrainConfig(
        preset="tiny",
        model=TINY,
        data="folder",
        root=discs,
        split="random",
        size=32,
        truth_size=48,
        augmentation="strong",
        epochs=3,
        batch_size=8,
        lr=2e-2,
        clip=1.0,
        ema=0.5,
        estimate=False,
        cache_dir=tmp_path_factory.mktemp("cache"),
    )
