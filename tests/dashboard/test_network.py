"""The network: the picture is of the weights that are loaded, the tour walks through it, tiles open, and links."""

import pytest


def walk(app, key: str):
    app.button(key=key).click().run()
    assert not app.exception, app.exception[0].message
    return app


def test_the_tour_has_five_steps_with_this_images_numbers(open_app, texts):
    app = open_app("network", weights="random", sample="ISIC_0012434")
    next(button for button in app.button if "tour" in button.label).click().run()
    said = []
    for step in range(1, 6):
        assert f"{step} of 5:" in texts(app)
        assert app.query_params["tour"] == str(step)
        said.append(texts(app))
        if step < 5:
            walk(app, "tour-next")
    assert "16 × 16 of them" in said[0]
    assert "S2 keeps" in said[2]
    assert "at least 0.50" in said[4]
    walk(app, "tour-back")
    assert "4 of 5:" in texts(app)
    walk(app, "tour-end")
    assert "of 5:" not in texts(app)


@pytest.mark.parametrize(
    ("weights", "tile"),
    [("random", tile) for tile in ("E1.1", "S2", "D1.1", "image", "mask")] + [("plain", "E1.1"), ("plain", "mask")],
)
def test_a_tile_opens_what_is_inside(open_app, texts, weights, tile):
    app = open_app("network", weights=weights, tile=tile)
    assert (f"Inside {tile}" in "".join(header.value for header in app.header)) == (tile not in ("image", "mask"))


def test_another_network_says_so(open_app):
    assert "choose its weights" in open_app("network", weights="unet").info[0].value


@pytest.mark.parametrize(("key", "text"), [("tile", "E9.9"), ("tile", "<b>"), ("tour", "6"), ("tour", "-1")])
def test_a_hostile_parameter_is_ignored_and_said(open_app, texts, key, text):
    app = open_app("network", weights="random", **{key: text})
    assert "Ignored in the address" in texts(app)
    assert app.query_params.get(key) != text
