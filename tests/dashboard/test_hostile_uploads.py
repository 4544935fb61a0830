"""Hundreds of hostile files and names through the code that takes uploads: a picture, or one harmless sentence each."""

import random
import re

import numpy as np
from hostile_images import hostile_image
from hostile_names import hostile_name
from streamlit.testing.v1 import AppTest

from dashboard.image_choice import MAX_FILES, MAX_PIXELS, MAX_TOTAL, SHOWN, Picture, read_upload
from dashboard.text import plain
from skinlesion.errors import SkinlesionError

SEEDS = range(600)


def _upload(name: str, data: bytes) -> Picture | str:
    try:
        return read_upload(name, data)
    except SkinlesionError as error:
        return str(error)


def test_every_file_is_a_picture_or_a_sentence(capfd) -> None:
    refused = 0
    for seed in SEEDS:
        source = random.Random(seed)
        name = hostile_name(source) + source.choice(["", ".png", ".jpg", ".html"])
        found = _upload(name, hostile_image(source))
        if isinstance(found, str):
            refused += 1
            assert plain(found).isprintable(), seed
            assert len(found) < 400, seed
            assert not re.search(r"(?<!\\)[<>\[\]`$|]", plain(found)), (seed, found)  # Markdown obeys none of it
            continue
        assert found.title.isprintable(), seed
        assert len(found.title) <= 60, seed
        assert found.size[0] * found.size[1] <= MAX_PIXELS
        assert max(found.image.shape) <= SHOWN
        assert found.image.dtype == found.tiny.dtype == np.uint8
        assert found.full().shape[:2] == found.size, seed
    assert len(SEEDS) / 5 < refused < len(SEEDS) * 0.8
    assert capfd.readouterr() == ("", "")


def test_one_visitors_memory_is_bounded() -> None:
    """Three hundred files in batches, as a visitor would send them."""

    def script() -> None:
        import random

        import streamlit as st
        from hostile_images import hostile_image
        from hostile_names import hostile_name

        from dashboard.image_choice import add_uploads, uploads

        counts = []
        for batch in range(20):
            sources = [random.Random(1000 + 15 * batch + i) for i in range(15)]
            added, problems = add_uploads([(f"{hostile_name(each)}.png", hostile_image(each)) for each in sources])
            counts.append(len(added) + len(problems))
        st.session_state["counts"] = counts
        st.session_state["sizes"] = [len(picture.data) for picture in uploads().values()]

    app = AppTest.from_function(script, default_timeout=120).run()
    assert not app.exception, app.exception[0].message
    assert app.session_state["counts"] == [15] * 20
    sizes = app.session_state["sizes"]
    assert 0 < len(sizes) <= MAX_FILES
    assert sum(sizes) <= MAX_TOTAL
