"""Checkpoints and run folders of earlier versions: the current names of their tensors.

Format 1 is the first edition's, format 2 the current one, with VMamba's and coordinate attention's names. The order of
the parameters is the same in both, so an optimizer's state needs no change.
"""

import re
from collections.abc import Mapping
from typing import TypeVar

FORMAT = 2
READABLE = (1, 2)

Value = TypeVar("Value")

# In the order in which they are tried; each is anchored at a dot or the beginning, and none matches a name of format 2.
_FROM_1 = (
    (r"ss2d\.in_projection\.", "ss2d.in_proj."),
    (r"ss2d\.out_projection\.", "ss2d.out_proj."),
    (r"ss2d\.convolution\.", "ss2d.conv2d."),
    (r"ss2d\.norm\.", "ss2d.out_norm."),
    (r"ss2d\.route_projection$", "ss2d.x_proj_weight"),
    (r"ss2d\.step_weight$", "ss2d.dt_projs_weight"),
    (r"ss2d\.step_bias$", "ss2d.dt_projs_bias"),
    (r"ss2d\.A_log$", "ss2d.A_logs"),
    (r"ss2d\.D$", "ss2d.Ds"),
    (r"ss2d\.se\.squeeze\.", "ss2d.se.fc1."),
    (r"ss2d\.se\.excite\.", "ss2d.se.fc2."),
    (r"cmn\.extend\.", "cmn.fc1."),
    (r"cmn\.convolution\.", "cmn.dwconv."),
    (r"cmn\.restore\.", "cmn.fc2."),
    (r"(skips\.\d+)\.mix\.", r"\1.conv1."),
    (r"(skips\.\d+)\.norm\.", r"\1.bn1."),
    (r"(skips\.\d+)\.to_h\.", r"\1.conv_h."),
    (r"(skips\.\d+)\.to_w\.", r"\1.conv_w."),
    (r"classifier\.", "head."),
)


def migrate(tensors: Mapping[str, Value], written: int) -> dict[str, Value]:
    """Give the tensors of an older state dictionary their current names.

    Args:
        tensors: name -> anything; names may have a prefix such as "model.".
        written: the format in which they were written, one of READABLE.

    Returns:
        The same values in the same order.
    """
    if written == FORMAT:
        return dict(tensors)
    return {_current(name): value for name, value in tensors.items()}


def _current(name: str) -> str:
    for old, new in _FROM_1:
        name, count = re.subn(rf"(?:(?<=\.)|^){old}", new, name, count=1)
        if count:
            break
    return name
