import itertools

import pytest
import torch

from skinlesion.training.schedule import learning_rate


def test_paper_schedule_swings_with_period_100_and_ends_at_its_maximum():
    trace = [learning_rate(epoch, epochs=300, schedule="paper") for epoch in range(301)]
    for epoch in (50, 150, 250):
        assert trace[epoch] == pytest.approx(1e-5)
    for epoch in (0, 100, 200, 300):
        assert trace[epoch] == pytest.approx(1e-3)


def test_paper_schedule_is_torchs_cosine_annealing_stepped_by_epoch():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-3)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50, eta_min=1e-5)
    for epoch in range(120):
        for step in (0, 0.5, 0.99):
            assert learning_rate(epoch + step, epochs=300, schedule="paper") == pytest.approx(
                reference.get_last_lr()[0], rel=1e-6
            )
        optimizer.step()
        reference.step()


def test_a_short_run_can_swing_like_the_long_one():
    for share in (0, 0.125, 1 / 3, 0.5, 0.8, 0.99):
        long = learning_rate(300 * share, epochs=300, schedule="paper")
        short = learning_rate(8 * share, epochs=8, schedule="paper", t_max=8 / 6)
        assert short == pytest.approx(long, abs=1e-5)


def test_cosine_goes_down_once_over_the_whole_run():
    trace = [learning_rate(epoch / 10, epochs=40) for epoch in range(401)]
    assert trace[0] == pytest.approx(1e-3)
    assert trace[200] == pytest.approx((1e-3 + 1e-5) / 2)
    assert trace[-1] == pytest.approx(1e-5)
    assert all(a > b for a, b in itertools.pairwise(trace))


def test_onecycle_rises_then_falls():
    def rate(progress: float) -> float:
        return learning_rate(progress, epochs=40, schedule="onecycle", lr=2e-3, min_lr=1e-6)

    assert rate(0) == pytest.approx(2e-3 / 25)
    assert rate(12) == pytest.approx(2e-3)
    assert rate(40) == pytest.approx(1e-6)
    assert rate(6) == pytest.approx((2e-3 / 25 + 2e-3) / 2)


@pytest.mark.parametrize("schedule", ["cosine", "paper"])
def test_warmup_rises_in_a_line_and_then_leaves_the_schedule_alone(schedule):
    def rate(progress: float, warmup: float) -> float:
        return learning_rate(progress, epochs=40, schedule=schedule, warmup_epochs=warmup)

    assert rate(0, 4) == 0
    assert rate(2, 4) == pytest.approx(rate(2, 0) / 2)
    assert rate(4, 4) == rate(4, 0)
    assert rate(30, 4) == rate(30, 0)
