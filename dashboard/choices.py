"""Every choice that a link can carry, view by view."""

from dashboard.components.painter import read_edits
from dashboard.state import Choice, declare, entry, name, number, one_of, switch, whole

declare(
    "segment",
    threshold=number(0.5, 0.01, 0.99),
    tta=switch(False),
    show=one_of("Fill", "Contour", "Mistakes", "Probability", "Uncertainty"),
    opacity=whole(35, 0, 100),
    wipe=whole(0, 0, 100),
    overlay=switch(True),
)
declare(
    "why",
    ask=one_of("mask", "pixel"),
    py=whole(500, 0, 999),  # the pixel's place in thousandths of the image's height and width
    px=whole(500, 0, 999),
    cam=name(),
    baseline=one_of("skin", "blur", "black"),
    method=one_of("grad_cam", "integrated_gradients", "occlusion", "all"),
)
# Errors and Compare look at the same sets.
_SETS = {"set": name(), "images": one_of("24", "100", "400", "all")}
declare(
    "errors",
    **_SETS,
    sort=one_of("IoU", "Outline", "Boundary F1", "Overconfident"),
    mistake=one_of("All", "Too much", "Too little"),
    low=number(0.0, 0.0, 1.0),
    high=number(1.0, 0.0, 1.0),
    case=entry(),
    by=one_of("tone", "size", "border", "diagnosis"),
    group=name("All groups"),
)
declare(
    "compare",
    **_SETS,
    threshold=number(0.5, 0.01, 0.99),
    other=name(),
    off=name(),
    off_other=name(),
)
declare(
    "attention",
    skip=name(),
    pick=one_of("mean", "strongest", "channel"),
    channel=whole(-1, 0, 9999),  # -1 is no channel: the view takes the one to begin with
    change=one_of("shift", "turn", "cover"),
    down=whole(32, -96, 96),
    right=whole(0, -96, 96),
    quarters=whole(1, 1, 3),
)
declare(
    "channels",
    block=name(),
    channel=whole(-1, 0, 9999),  # -1 is no channel: the view takes the one to begin with
    against=one_of("nothing", "image", "model"),
    versus=name(),
    other=name(),
    layer=name(),
)
declare(
    "scan",
    block=name(),
    direction=one_of("reads", "writes"),
    reduction=one_of("norm", "contribution", "sum"),
    py=whole(500, 0, 999),  # the place that Why asks about too
    px=whole(500, 0, 999),
)
declare(
    "intervene",
    experiment=one_of("image", "gate", "patch"),
    edits=Choice("", read_edits),
    gate=one_of("module", "channel", "row", "column"),
    module=name(),
    to=one_of("mean", "image"),
    block=name(),
    channel=whole(-1, 0, 9999),
    skip=name(),
    line=whole(0, 0, 999),
    value=number(0.0, 0.0, 1.0),
    versus=name(),
    draw=whole(1, 1, 999),
)
declare("network", tile=name(), tour=whole(0, 0, 5))
declare(
    "overview",
    order=one_of("run", "reaction", "correlation", "effect"),
    kind=one_of("All", "SE", "CRA"),
    search=name(),
)
declare("runs", run=name(), beside=name())
declare("about", part=name(), side=whole(256, 64, 512))
