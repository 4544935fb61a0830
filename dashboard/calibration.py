"""Calibration of a set in words: what the mean over all pixels hides."""

from skinlesion.metrics import CalibrationCurve


def calibration_metric(curve: CalibrationCurve) -> tuple[str, str, str]:
    """Of the pixels that aren't near 0 or 1: background and the lesion's middle hide all others in the usual mean."""
    undecided = curve.undecided()
    if undecided is None:
        return "Calibration error", f"{curve.ece:.3f}", "Expected calibration error over all pixels."
    return (
        "Calibration error, undecided pixels",
        f"{undecided.error:.2f}",
        "How far the predicted probability is from the observed share of lesion pixels, averaged over the pixels "
        f"between {curve.edges[1]:.2f} and {curve.edges[-2]:.2f}. Over all pixels it is {curve.ece:.3f}.",
    )


def calibration_finding(curve: CalibrationCurve) -> str:
    undecided = curve.undecided()
    if undecided is None:
        return "Every pixel's probability is near 0 or 1."
    return (
        f"**Where the mean predicted probability is {undecided.predicted:.2f}, the observed share of lesion pixels is "
        f"{undecided.observed:.2f}**: the largest gap. {100 * (1 - undecided.share):.0f}% of the pixels are near 0 or "
        f"1, which is why the error over all pixels is only {curve.ece:.3f}; over the others it is "
        f"{undecided.error:.2f}."
    )
