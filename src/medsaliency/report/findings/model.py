"""What is known of the model itself: an explanation of a wrong model explains its errors."""

from __future__ import annotations

from medsaliency.report.contents import Contents
from medsaliency.report.findings.finding import Finding, known, share, unit
from medsaliency.report.verdicts import coverage, patients_known
from medsaliency.report.wording import count, has_width, number, percent, without_folders


def accuracy(contents: Contents) -> list[Finding]:
    """State how often the model is right, on how many images."""
    images = contents.performance.get("images")
    on = f" on {count(images, 'image')}" if images is not None else ""
    score = contents.performance.get("accuracy") or {}
    value = share(score, coverage(contents), digits=1)
    if not value:
        return [Finding("Accuracy", f"The model's accuracy{on} is undefined.", "caution")]
    if has_width(score.get("low"), score.get("high")):
        return [Finding("Accuracy", f"The model's accuracy{on} is {value}.")]
    return [Finding("Accuracy", f"The model's accuracy{on} is {value}.{_no_error(contents)}", "caution")]


def _no_error(contents: Contents) -> str:
    """What no error on any patient allows to be said: the exact one-sided binomial bound, about 3 / patients at 95%."""
    many = contents.performance.get("patients")
    if not many or contents.performance["accuracy"]["value"] != 1:
        return ""
    level = float(contents.performance.get("level") or 0.95)
    most = f"{coverage(contents)} confidence, at most {percent(1 - (1 - level) ** (1 / many), 1)} of such"
    whose = "patients have an image that it gets wrong" if patients_known(contents) else "images are not right"
    return f" As no {unit(contents)} differs, there is no interval; with {most} {whose}."


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
    apart = all(has_width(error.get("low"), error.get("high")) for error in (before, after))
    better = apart and after["high"] < before["low"]
    shown = "The intervals do not meet: scaling improves them." if better else "That this improves them is not shown."
    return [Finding("Calibration", f"{text} {shown}")]


def patients(contents: Contents) -> list[Finding]:
    """Warn where no image names its patient: neither the splits nor the intervals can take patients into account."""
    if patients_known(contents):
        return []
    text = "No image names its patient: images of one patient may be in training and evaluation alike, which flatters"
    return [Finding("Patients", f"{text} the model, and the intervals, which take images as independent.", "caution")]
