"""A seeded generator of file names that a file system, a terminal, a table or a page may stumble over."""

import os
import random

PARTS = (
    *(
        "=cmd|'calc'!A0",
        "@SUM(A1)",
        "-x",
        "--out",
        "+1+1",
        "=1+1",
        "\t=1",
        " =1",
        "\x1b[2J",
        "\x1b]0;title\x07",
        "\r",
        "\n",
    ),
    *(
        "\u202egpj",
        "\u2066",
        "\u2028",
        "\x7f",
        "\x85",
        "\udcff",
        "'",
        '"',
        ",",
        ";",
        "|",
        "<b>",
        "&amp;",
        "[x](y)",
        "$(id)",
    ),
    *("`id`", "%s", "{0}", "\\", ":", "*", "?", "~", "#", "..", ".", "con", "nul", "a b", "ü", "漢字", "é", "🙂"),
    *("a" * 100, "ä" * 60, "0", "1e5", "nan", "_mask", "_overlay", "predictions"),
)


def hostile_name(source: random.Random) -> str:
    """A name of a file, without suffix, that Linux accepts: no slash, no zero byte, at most 200 bytes."""
    while True:
        name = "".join(source.choices(PARTS, k=source.randrange(1, 4)))
        if len(os.fsencode(name)) <= 200 and name not in (".", ".."):
            return name
