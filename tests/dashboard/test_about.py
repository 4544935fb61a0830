"""How it works: live shapes, the tour, other networks, and the card of any checkpoint."""

import json

import torch
from safetensors.torch import load_file, save_file

from skinlesion import create_model, load_checkpoint
from skinlesion.lessons.catalog import LESSONS


def test_the_shapes_are_those_of_the_loaded_network(open_app, weights_folder, texts):
    app = open_app("about", weights="random", part="E2", side="128")
    said = texts(app)
    model, _ = load_checkpoint(weights_folder / "random.safetensors")
    with torch.no_grad():
        _, features = model.forward_features(torch.zeros(1, 3, 128, 128))
    _, height, width, channels = features.blocks["E2.1"].shape
    assert f"{height} x {width} tokens with {channels} channels" in said
    assert f"{sum(p.numel() for p in model.parameters()):,} parameters" in said
    assert len(app.get("plotly_chart")) == 1


def test_a_larger_image_has_more_tokens_and_no_more_parameters(open_app, texts):
    app = open_app("about", weights="random", part="embedding")
    small = texts(app)
    assert "64 x 64 tokens" in small
    app.slider(key="side").set_value(512).run()
    assert not app.exception
    assert "128 x 128 tokens" in texts(app)
    line = next(line for line in small.splitlines() if "GFLOPs" in line)
    assert line.split(" ·")[0] in texts(app)


def test_next_walks_through_every_part_and_names_its_lesson(open_app, texts):
    app = open_app("about", weights="random")
    seen = []
    for _ in app.selectbox(key="part").options:
        seen.append(app.selectbox(key="part").value)
        assert "notebooks/" in texts(app)
        next(button for button in app.button if "Next" in button.label).click().run()
        assert not app.exception
    assert seen == app.selectbox(key="part").options
    assert app.selectbox(key="part").value == seen[0]
    app.selectbox(key="part").set_value("head").run()
    assert all(LESSONS[number].file in texts(app) for number in (2, 11, 12, 13))


def test_another_network_has_a_card_and_its_own_layers(open_app, texts):
    app = open_app("about", weights="unet")
    said = texts(app)
    assert "these weights belong to a different one, unet" in said
    assert "not a medical device" in said
    assert "can't check whether an image is dermoscopy" in said
    assert "| network | unet |" in said
    table = app.dataframe[0].value
    row = table[table["layer"] == "encoder.2"].iloc[0]
    assert (row["grid"], row["channels"]) == ("64 x 64", 16)
    app.slider(key="side").set_value(128).run()
    assert not app.exception
    assert app.dataframe[0].value.loc[row.name, "grid"] == "32 x 32"
    assert f"{sum(p.numel() for p in create_model('unet', dim=4).parameters()):,} parameters" in said


def test_a_damaged_card_is_said_and_the_tour_stays(open_app, weights_folder, texts):
    from safetensors import safe_open

    source = weights_folder / "random.safetensors"
    with safe_open(source, "pt") as file:
        header = file.metadata()
    (key,) = (name for name, text in header.items() if "preprocessing" in text)
    card = json.loads(header[key]) | {"evaluations": [{"n": 1}]}
    path = weights_folder / "damaged.safetensors"
    save_file(load_file(source), path, {**header, key: json.dumps(card)})
    try:
        app = open_app("about", weights="damaged")
    finally:
        path.unlink()
    assert "damaged" in texts(app)
    assert len(app.get("plotly_chart")) == 1
