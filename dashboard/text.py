"""Sanitizes untrusted text (file names, file headers, messages of libraries) before it is shown."""

import re

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~:$&^\"'=])")


def plain(text: object, limit: int = 400) -> str:
    """Text that Markdown shows as it is: no links, images, colors, formulas or HTML.

    Args:
        text: anyone's.
        limit: characters that are shown at most.
    """
    line = " ".join(str(text).split())
    line = "".join(c for c in line if c.isprintable())
    if len(line) > limit:
        line = line[: limit - 1] + "…"
    return _MARKDOWN.sub(r"\\\1", line)


def file_name(name: object) -> str:
    """A file's name reduced to what is safe in a page and as an entry of a zip: no folders, at most 60 characters."""
    last = str(name).replace("\\", "/").rsplit("/", 1)[-1]
    kept = re.sub(r"[^\w .()-]", "_", last).strip(" .-")
    stem, dot, suffix = kept.rpartition(".")
    return f"{stem[:54]}{dot}{suffix[:5]}" if stem else kept[:60] or "image"
