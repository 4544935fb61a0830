"""Gates at a glance: a finding first, sorting, search, and links."""

import pytest


def rows(app) -> list[str]:
    return app.dataframe[0].value["module"].tolist()


def test_a_finding_stands_first_and_the_page_can_be_sorted_and_searched(open_app, texts):
    app = open_app("overview", weights="random", sample="ISIC_0012434")
    assert "react to the image" in texts(app)
    everything = rows(app)
    assert {"E1.1", "D1.1", "S2", "S3"} <= set(everything)
    app.segmented_control(key="order").set_value("reaction").run()
    reaction = app.dataframe[0].value["mean range"].tolist()
    assert reaction == sorted(reaction, reverse=True)
    app.segmented_control(key="kind").set_value("CRA").run()
    assert set(rows(app)) == {name for name in everything if name.startswith("S")}
    app.text_input(key="search").set_value("s3").run()
    assert rows(app) == ["S3"]
    assert dict(app.query_params)["search"] == "s3"


def test_a_search_without_a_hit_says_so(open_app):
    assert "No module matches" in open_app("overview", weights="random", search="x9").info[0].value


@pytest.mark.parametrize("weights", ["plain", "unet"])
def test_a_network_without_gates_says_so(open_app, weights):
    assert "has no gates" in open_app("overview", weights=weights).info[0].value
