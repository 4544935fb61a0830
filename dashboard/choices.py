"""Every choice that a link can carry, view by view."""

from dashboard.state import declare, number, one_of, switch, whole

declare(
    "segment",
    threshold=number(0.5, 0.01, 0.99),
    tta=switch(False),
    show=one_of("Fill", "Contour", "Mistakes"),
    opacity=whole(35, 0, 100),
    overlay=switch(True),
)
