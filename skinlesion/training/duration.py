"""A length of time in words."""


def duration(seconds: float) -> str:
    """A length of time as people say it: "0.4 s", "40 s", "12 min", "1 h 05 min"."""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
