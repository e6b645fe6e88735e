"""What is known of the model itself: an explanation of a wrong model explains its errors."""

from __future__ import annotations

from medsaliency.report.contents import Contents
from medsaliency.report.findings.finding import Finding, Tone, known, share
from medsaliency.report.verdicts import coverage
from medsaliency.report.wording import count, number, without_folders


def accuracy(contents: Contents) -> list[Finding]:
    """State how often the model is right, on how many images."""
    images = contents.performance.get("images")
    on = f" on {count(images, 'image')}" if images is not None else ""
    score = contents.performance.get("accuracy") or {}
    value = share(score, coverage(contents), digits=1)
    if not value:
        return [Finding("Accuracy", f"The model's accuracy{on} is undefined.", "caution")]
    tone: Tone = "plain" if known(score.get("low"), score.get("high")) else "caution"
    return [Finding("Accuracy", f"The model's accuracy{on} is {value}.", tone)]


def calibration(contents: Contents) -> list[Finding]:
    """State how far the probabilities are from how often the model is right, before and after temperature scaling."""
    found = contents.inference.calibration
    reason = str(found.get("reason") or "")
    before, after = found.get("error_before") or {}, found.get("error_after") or {}
    raw = share(before, coverage(contents), digits=1) or share(
        contents.performance.get("expected_calibration_error"), coverage(contents), digits=1
    )
    if not raw:
        why = f": {without_folders(reason)}" if reason else ""
        return [Finding("Calibration", f"The model's calibration is not known{why}.", "caution")] if found else []
    text = f"The probabilities are off by {raw} on average (expected calibration error)"
    scaled, temperature = share(after, digits=1), found.get("temperature")
    if not scaled or not known(temperature):
        why = f" ({without_folders(reason)})" if reason else ""
        return [Finding("Calibration", f"{text}; no temperature was fitted{why}.", "caution")]
    text += f", and by {scaled} once scaled by a temperature of {number(temperature, 2)}."
    better = known(before.get("low"), after.get("high")) and after["high"] < before["low"]
    shown = "The intervals do not meet: scaling improves them." if better else "That this improves them is not shown."
    return [Finding("Calibration", f"{text} {shown}")]


def patients(contents: Contents) -> list[Finding]:
    """Warn where no image names its patient: neither the splits nor the intervals can take patients into account."""
    if (contents.provenance.get("data") or {}).get("patients_known", True):
        return []
    text = "No image names its patient: images of one patient may be in training and evaluation alike, which flatters"
    return [Finding("Patients", f"{text} the model, and the intervals, which take images as independent.", "caution")]
