"""Figures of what `skinlesion.explain`, `Segmenter` and `metrics` give: plain arrays in, a figure out.

`skinlesion.plots.static` draws with Matplotlib and is seen everywhere, also in exported notebooks;
`skinlesion.plots.interactive` draws with Plotly, for the app and for moving things in a lesson. A picture that both
have goes by the same name. Each figure carries a caption, what is shown and its range; `caption(figure)` reads it.
"""

from typing import Any


def caption(figure: Any) -> str:
    """The caption of any figure of this package.

    Args:
        figure: from `static` or `interactive`.
    """
    meta = getattr(getattr(figure, "layout", None), "meta", None)
    return figure.caption if meta is None else meta["caption"]
