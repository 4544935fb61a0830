"""The address: a link reproduces what is seen, and what does not belong there is left out and said."""

import pytest


def test_a_link_reproduces_what_is_seen(open_app):
    app = open_app()
    app.selectbox(key="sample").set_value("synthetic-016").run()
    app.selectbox(key="weights").set_value("plain").run()
    # threshold, opacity and style belong to the canvas in the browser; see tests/browser for those
    for key, value in (("threshold", 0.37), ("opacity", 70), ("show", "Contour")):
        app.session_state[key] = value
    app.run()
    link = dict(app.query_params)
    assert link == {
        "sample": "synthetic-016",
        "weights": "plain",
        "threshold": "0.37",
        "opacity": "70",
        "show": "Contour",
    }
    other = open_app(**link)
    assert other.session_state["threshold"] == 0.37
    assert other.session_state["show"] == "Contour"
    assert other.selectbox(key="sample").value == "synthetic-016"
    assert dict(other.query_params) == link


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("threshold", "2"),
        ("threshold", "nan"),
        ("threshold", "1e-3"),
        ("threshold", "٠.٥"),
        ("opacity", "-5"),
        ("opacity", "9" * 400),
        ("tta", "yes"),
        ("show", "<script>alert(1)</script>"),
        ("sample", "../../etc/passwd"),
        ("sample", "ISIC_9999999"),
        ("weights", "/etc/passwd"),
        ("weights", "x" * 5000),
        ("nonsense", "1"),
        ("__proto__", "1"),
        ("_kept", "1"),
    ],
)
def test_a_hostile_parameter_is_ignored_and_said(open_app, texts, key, text):
    app = open_app(**{key: text})
    assert "Ignored in the address" in texts(app)
    assert len(text) < 8 or text not in texts(app)  # it is not quoted
    assert app.query_params.get(key) != text
    assert not app.exception
    assert app.session_state["threshold"] == 0.5  # the view is there, with defaults
