import sys

import pytest

from skinlesion.training.duration import duration
from skinlesion.training.environment import command


def test_command_keeps_no_folder_of_the_machine(monkeypatch):
    monkeypatch.setattr(
        sys, "argv", ["/home/ann/bin/skinlesion", "train", "--root", "/home/ann/isic2017", "--lr", "1e-3"]
    )
    assert command() == "skinlesion train --root isic2017 --lr 1e-3"


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.41, "0.4 s"), (42, "42 s"), (600, "10 min"), (3900, "1 h 05 min"), (7199, "2 h 00 min")]
)
def test_duration(seconds, said):
    assert duration(seconds) == said
