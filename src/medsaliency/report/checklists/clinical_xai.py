"""The Clinical XAI Guidelines: five criteria of an explanation for clinical use."""

from __future__ import annotations

from medsaliency.report import verdicts
from medsaliency.report.checklists import results
from medsaliency.report.checklists.item import Checklist, begun, of_section, open_item
from medsaliency.report.contents import Contents


def clinical_xai(contents: Contents) -> Checklist:
    """Return the guidelines G1 to G5 as far as the study answers them.

    Numbers and subjects are those of Jin et al. 2023, doi:10.1016/j.media.2022.102684; the words are this project's.
    Whether an explanation helps those who care for patients is for them to say: G1, G2 and G4 stay open.
    """
    form = of_section(
        "Form of the explanation",
        begun(
            "G1",
            "Understandability",
            results.shown(contents),
            "Ask clinical users whether they read the maps as they are meant.",
        ),
        open_item(
            "G2",
            "Clinical relevance",
            "Ask clinical users whether a map over the image says what they need for their decision.",
        ),
    )
    technique = of_section(
        "Technique of the explanation",
        begun("G3", "Truthfulness", *_truthfulness(contents)),
        begun(
            "G4",
            "Informative plausibility",
            results.plausibility(contents),
            "Let clinical users judge maps of right and wrong predictions; see whether that tells them apart.",
        ),
        begun("G5", "Computational efficiency", *_efficiency(contents)),
    )
    return Checklist(
        "Clinical XAI Guidelines",
        "Jin et al. 2023, Medical Image Analysis 84:102684, doi:10.1016/j.media.2022.102684",
        (*form, *technique),
        "The words are this project's; the paper's own hold.",
    )


def _truthfulness(contents: Contents) -> tuple[str, str]:
    """What the trust card says of it; open as long as any method has no verdict."""
    asked = ("faithful", "parameter_randomization")
    said = results.card(contents, *asked)
    card = verdicts.criteria(contents)
    settled = bool(card) and all(own.get(name) in ("pass", "fail") for own in card.values() for name in asked)
    return said, "" if settled else "Measure what the card does not show, or leave out the methods that it does not."


def _efficiency(contents: Contents) -> tuple[str, str]:
    """The seconds an image, with the machine that took them; whether that is fast enough depends on the use."""
    machine = contents.provenance.get("machine")
    said = " ".join(filter(None, (results.speed(contents), f"Machine: {machine}." if machine else "")))
    return (said if results.speed(contents) else ""), "Say how long a clinical user can wait, on which machine."
