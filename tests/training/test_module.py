"""What a single step depends on."""

from types import SimpleNamespace

import pytest
import torch

from skinlesion import create_model
from skinlesion.training import TrainConfig
from skinlesion.training.module import SegmentationModule


@pytest.fixture
def drawn():
    """drawn(step=3): the first random numbers of that step."""
    model = create_model("tiny", dim=16, depths=(1, 1), decoder_depths=(1, 1), d_state=2)

    def draw(*, seed: int = 0, step: int = 0, rank: int = 0) -> list[float]:
        module = SegmentationModule(model, TrainConfig(preset="tiny", epochs=3, seed=seed))
        groups = [SimpleNamespace(param_groups=[{"lr": 0.0}])]
        module._trainer = SimpleNamespace(
            global_step=step, global_rank=rank, current_epoch=0, num_training_batches=10, optimizers=groups
        )
        module.on_train_batch_start({}, batch_idx=1)
        return torch.rand(4).tolist()

    return draw


def test_random_numbers_of_a_step_depend_on_seed_step_and_process(drawn):
    assert drawn(seed=1, step=2, rank=0) == drawn(seed=1, step=2, rank=0)
    different = [drawn(seed=seed, step=step, rank=rank) for seed in (0, 1) for step in (0, 1, 2) for rank in (0, 1)]
    assert len({tuple(numbers) for numbers in different}) == 12
