import torch
from torch import nn

from skinlesion.training.ema import WeightAverage


def _set(model: nn.Module, value: float) -> None:
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(value)


def test_average_is_the_weighted_sum_of_the_history():
    model = nn.Linear(2, 1)
    _set(model, 0)
    average = WeightAverage(model, decay=0.25)
    expected = 0.0
    for n, value in enumerate([1.0, 5.0, -2.0, 3.0], start=1):
        _set(model, value)
        average.update(model)
        keep = min(0.25, (1 + n) / (10 + n))
        expected = keep * expected + (1 - keep) * value
        torch.testing.assert_close(average.model.weight, torch.full((1, 2), expected))


def test_decay_is_reached_after_the_first_updates():
    model = nn.Linear(1, 1, bias=False)
    _set(model, 0)
    average = WeightAverage(model, decay=0.5)
    for _ in range(20):
        average.update(model)
    _set(model, 1)
    average.update(model)
    assert average.model.weight.item() == 0.5


def test_buffers_are_averaged_and_counters_copied():
    model = nn.BatchNorm1d(2)
    average = WeightAverage(model, decay=0.5)
    model.train()(torch.full((4, 2), 10.0))
    average.update(model)
    keep = 2 / 11
    torch.testing.assert_close(average.model.running_mean, (1 - keep) * model.running_mean)
    assert average.model.num_batches_tracked == 1


def test_average_is_never_trained_and_leaves_the_model_alone():
    model = nn.Linear(2, 1)
    before = model.weight.detach().clone()
    average = WeightAverage(model, decay=0.5)
    average.update(model)
    assert not any(weight.requires_grad for weight in average.parameters())
    assert all(weight.requires_grad for weight in model.parameters())
    torch.testing.assert_close(model.weight.detach(), before, rtol=0, atol=0)


def test_state_continues_the_average():
    model = nn.Linear(2, 1)
    one, other = WeightAverage(model, decay=0.9), WeightAverage(nn.Linear(2, 1), decay=0.9)
    one.update(model)
    other.load_state_dict(one.state_dict())
    _set(model, 2)
    one.update(model)
    other.update(model)
    torch.testing.assert_close(one.model.weight, other.model.weight, rtol=0, atol=0)
