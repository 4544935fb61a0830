"""Fifty hostile files through a real browser: each is a picture or one message, and the app goes on."""

import random

import pytest
from hostile_images import hostile_image

from dashboard.image_choice import read_upload
from skinlesion.errors import SkinlesionError

BATCH = 5


@pytest.mark.slow
def test_fifty_hostile_files(visitor, server) -> None:
    visit = visitor().open()
    alert = visit.page.locator('[data-testid="stAlert"]')
    before, refused = server.memory(), 0
    for start in range(0, 50, BATCH):
        files = [(f"case {seed}.png", hostile_image(random.Random(seed))) for seed in range(start, start + BATCH)]
        good, bad = [], []
        for name, data in files:
            try:
                good.append(read_upload(name, data))
            except SkinlesionError:
                bad.append(name)
        refused += len(bad)
        visit.upload(*files)
        if good:
            visit.until(lambda name=good[0].title: name in visit.chosen("sample"), f"{good[0].title} is shown")
        visit.ready()
        visit.until(lambda bad=bad: alert.count() == len(bad), f"{len(bad)} messages")
        said = " ".join(alert.all_inner_texts())
        assert all(name in said for name in bad), (bad, said)
        visit.check()
    assert 10 < refused < 40
    assert server.memory() - before < 400_000_000
