"""Every choice that a link can carry, view by view."""

from dashboard.state import declare, name, number, one_of, switch, whole

declare(
    "segment",
    threshold=number(0.5, 0.01, 0.99),
    tta=switch(False),
    show=one_of("Fill", "Contour", "Mistakes"),
    opacity=whole(35, 0, 100),
    overlay=switch(True),
)
declare(
    "attention",
    skip=name("S2"),
    skip_channel=name("mean"),
    change=one_of("Shift", "Turn", "Cover"),
    rows=whole(32, -128, 128),
    columns=whole(0, -128, 128),
    turns=whole(1, 1, 3),
)
