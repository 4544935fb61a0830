"""A self-contained HTML page of segmented images: it opens anywhere and fetches nothing."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from skinlesion.files import write_text
from skinlesion.overlay import MISSED, PREDICTED, TRUE, WRONG, encode, error_overlay, overlay, thumbnail
from skinlesion.segmentation import Segmentation

_SIDE = 320  # pixels of a picture in the page
# Dark blue over red to light yellow: brightness rises evenly, so that it also reads in gray.
_HEAT = np.array([(10, 10, 35), (90, 20, 110), (190, 55, 85), (245, 140, 50), (252, 250, 190)], dtype=np.float32)

_STYLE = """
:root { color-scheme: light dark; --page: #fbfaf8; --card: #fff; --ink: #1d1d1f; --soft: #6a6a70; --line: #e3e0da; }
@media (prefers-color-scheme: dark) {
  :root { --page: #17181b; --card: #202226; --ink: #ececee; --soft: #a0a2a8; --line: #35383e; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 2rem 1.25rem 4rem; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .8rem; }
h3 { font-size: 1rem; margin: 0 0 .7rem; overflow-wrap: anywhere; }
h3 small { color: var(--soft); font-weight: 400; margin-left: .6rem; }
p { max-width: 46rem; }
.soft, figcaption, dt { color: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .7rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; min-width: 11rem; }
td:first-child { overflow-wrap: break-word; }
tfoot td { font-weight: 600; }
section.card { background: var(--card); border: 1px solid var(--line); border-radius: .7rem; padding: 1rem;
  margin: 0 0 1rem; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(12rem, 1fr)); gap: .8rem; }
figure { margin: 0; }
figure img { width: 100%; display: block; border-radius: .4rem; }
figcaption { font-size: .85rem; margin-top: .3rem; }
.key { display: inline-block; width: .8em; height: .8em; border-radius: .2em; margin: 0 .25em 0 .9em; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }
dd { margin: 0; overflow-wrap: anywhere; }
code, pre { font: .9em/1.5 ui-monospace, monospace; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: .4rem; padding: .8rem; overflow-x: auto; }
"""


@dataclass(frozen=True, eq=False)
class ReportRow:
    """One image of a report.

    Attributes:
        name: what to call it.
        found: the segmentation.
        truth: the true mask, bool (H, W), at the image's size.
        scores: name -> fraction in [0, 1], the same names in every row.
    """

    name: str
    found: Segmentation
    truth: np.ndarray
    scores: Mapping[str, float]


def write_report(
    path: str | Path,
    *,
    title: str,
    introduction: str,
    rows: Sequence[ReportRow],
    totals: Mapping[str, Mapping[str, float]],
    facts: Mapping[str, object],
    commands: Sequence[str],
) -> None:
    """Write the page, whole or not at all.

    Args:
        path: the .html file.
        title: heading; plain text, as all texts here.
        introduction: a paragraph below it.
        rows: the images.
        totals: for each line at the foot of the table its label and scores, named as each row's.
        facts: what decides the numbers (weights, sizes, ...), name -> value.
        commands: what to run next.

    Raises:
        SkinlesionError: it cannot be written.
    """
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">{escape(introduction)}</p>',
        "<h2>Scores</h2>",
        _table(rows, totals),
        "<h2>Pictures</h2>",
        _legend(),
        *(_card(row) for row in rows),
        "<h2>How these numbers were computed</h2>",
        "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in facts.items()) + "</dl>",
        "<h2>Next</h2>",
        "<pre>" + "\n".join(escape(command) for command in commands) + "</pre>",
        '<p class="soft">For teaching and research. It is not a medical device and gives no diagnosis.</p>',
    ]
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # Nothing may be fetched, whatever a file name or a header holds.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n" + "\n".join(body) + "\n</body>\n"
        "</html>\n"
    )
    write_text(path, page)


def _table(rows: Sequence[ReportRow], totals: Mapping[str, Mapping[str, float]]) -> str:
    names = list(rows[0].scores) if rows else []
    head = "".join(f"<th>{escape(name)}</th>" for name in ("image", *names, "confidence", "lesion area", "seconds"))
    lines = []
    for row in rows:
        found = row.found
        lines.append(
            f"<tr><td>{escape(row.name)}</td>{_cells(row.scores, names)}<td>{found.confidence:.3f}</td>"
            f"<td>{100 * found.area_fraction:.1f}%</td><td>{found.seconds:.2f}</td></tr>"
        )
    foot = "".join(
        f"<tr><td>{escape(label)}</td>{_cells(scores, names)}<td></td><td></td><td></td></tr>"
        for label, scores in totals.items()
    )
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody>'
        f"<tfoot>{foot}</tfoot></table></div>"
    )


def _cells(scores: Mapping[str, float], names: Sequence[str]) -> str:
    return "".join(f"<td>{scores[name]:.3f}</td>" for name in names)


def _legend() -> str:
    keys = (("predicted", PREDICTED), ("true border", TRUE), ("false negative", MISSED), ("false positive", WRONG))
    return (
        "<p>"
        + "".join(f'<span class="key" style="background: rgb{color}"></span>{name}' for name, color in keys)
        + "</p>"
    )


def _card(row: ReportRow) -> str:
    image, mask, truth = (thumbnail(a, _SIDE) for a in (row.found.image, row.found.mask, row.truth))
    heat = thumbnail(_heat(row.found.probability), _SIDE)
    figures = (
        ("the image", image),
        ("the prediction", overlay(image, mask)),
        ("errors", error_overlay(image, mask, truth)),
        ("probability of lesion, dark 0 to light 1", heat),
    )
    scores = ", ".join(f"{escape(name)} {value:.3f}" for name, value in row.scores.items())
    pictures = "".join(_figure(caption, row.name, picture) for caption, picture in figures)
    return (
        f'<section class="card"><h3>{escape(row.name)}<small>{scores}</small></h3>'
        f'<div class="pictures">{pictures}</div></section>'
    )


def _figure(caption: str, name: str, picture: np.ndarray) -> str:
    data = base64.b64encode(encode(picture, "JPEG")).decode()
    return (
        f'<figure><img src="data:image/jpeg;base64,{data}" alt="{escape(f"{name}: {caption}")}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _heat(probability: np.ndarray) -> np.ndarray:
    """Probability in [0, 1], (H, W) -> colors, uint8 (H, W, 3)."""
    stops = np.linspace(0, 1, len(_HEAT))
    channels = [np.interp(probability, stops, _HEAT[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.uint8)
