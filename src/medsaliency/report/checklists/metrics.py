"""METRICS, the METhodological RadiomICs Score: 30 items in 9 categories."""

from __future__ import annotations

from medsaliency.report.checklists import facts, results
from medsaliency.report.checklists.claim import SIMULATED
from medsaliency.report.checklists.item import Checklist, Item, begun, enough, of_section, open_item, unneeded
from medsaliency.report.contents import Contents


def metrics(contents: Contents) -> Checklist:
    """Return the 30 items of METRICS as far as the study fills them; no score is computed.

    Numbers, categories and subjects are those of Kocak et al. 2024, doi:10.1186/s13244-023-01572-w, Table 1; the words
    are this project's.
    """
    return Checklist(
        "METRICS",
        "Kocak et al. 2024, Insights into Imaging 15:8, doi:10.1186/s13244-023-01572-w",
        (
            *_study_and_images(contents),
            *_segmentation(contents),
            *_features(contents),
            *_preparation(contents),
            *_comparison(contents),
            *_testing_and_openness(contents),
        ),
        "The words are this project's; the paper's own hold. No score is computed: it needs a human's yes or no.",
    )


def _study_and_images(contents: Contents) -> tuple[Item, ...]:
    made = facts.simulated(contents)
    asked = (
        (4, "Several centers", "Say from how many institutions the images come."),
        (5, "Imaging as in practice", "Say whether images follow a standard of practice."),
        (6, "Acquisition protocol", "Give the protocol with its parameters."),
        (7, "Time from imaging to reference standard", "Give the interval, and why it is short enough."),
    )
    return (
        *of_section(
            "Study design",
            begun(
                1,
                "Use of a checklist",
                f"This record begins CLAIM 2024 and METRICS for the study {contents.title}.",
                "Complete them, and hand them in.",
            ),
            unneeded(2, "Eligibility criteria", SIMULATED)
            if made
            else open_item(2, "Eligibility criteria", "Give them, and say whom the patients represent."),
            unneeded(3, "Reference standard", "The simulation sets class and lesion of each image.")
            if made
            else open_item(3, "Reference standard", "Define it, and say why it is sound."),
        ),
        *of_section(
            "Imaging data",
            *(
                unneeded(at, topic, SIMULATED) if made else open_item(at, topic, missing)
                for at, topic, missing in asked
            ),
        ),
    )


def _segmentation(contents: Contents) -> tuple[Item, ...]:
    asked = (
        (8, "How masks were drawn", "Say who or what drew the masks, and how."),
        (9, "Test of automatic masks", "If masks were drawn automatically, give their tested quality."),
        (10, "Masks of the test set", "Say whether one reader or a tool drew those of the test set."),
    )
    if not facts.model(contents):
        return of_section("Segmentation", *(open_item(*item) for item in asked))
    if facts.simulated(contents):
        why = "Lesions are simulated, and so known exactly; the model takes whole images."
    elif results.has_lesions(contents):
        return of_section("Segmentation", *(open_item(*item) for item in asked))
    else:
        why = "The model takes images as they are read, and no map was scored against a mask."
    return of_section("Segmentation", *(unneeded(at, topic, why) for at, topic, _ in asked))


def _features(contents: Contents) -> tuple[Item, ...]:
    known = bool(facts.model(contents))
    pixels = "No features are made by hand: the network is trained on pixels."
    tables = "The model takes images and no tables of features."

    def only_of_features(number: int, topic: str, why: str) -> Item:
        return unneeded(number, topic, why) if known else open_item(number, topic, "Say how features were dealt with.")

    robust = " ".join(filter(None, (results.checks(contents), results.retrained(contents))))
    return (
        *of_section(
            "Image processing and feature extraction",
            begun(
                11,
                "Image preprocessing",
                facts.preprocessing(contents),
                "Say what was done to the images before this study.",
            ),
            only_of_features(12, "Standard software for features", pixels),
            begun(
                13,
                "Parameters of feature extraction",
                " ".join(filter(None, (facts.model(contents), facts.preprocessing(contents)))),
                "Say what was done to the images before this study.",
            ),
        ),
        *of_section(
            "Feature processing",
            only_of_features(14, "Features that are not robust", tables),
            only_of_features(15, "Redundant features", tables),
            only_of_features(16, "Number of features", tables),
            begun(17, "Robustness of the network", robust, "Test how the network's own output bears changes."),
        ),
    )


def _preparation(contents: Contents) -> tuple[Item, ...]:
    level, missing = facts.disjoint(contents)
    return of_section(
        "Preparation for modeling",
        begun(18, "Partitions", " ".join(filter(None, (facts.split_rule(contents) or level,))), missing),
        begun(
            19,
            "Confounders",
            results.shortcut(contents),
            "Name what goes with the class and is not the disease, such as scanner or age, and how it was dealt with.",
        ),
    )


def _comparison(contents: Contents) -> tuple[Item, ...]:
    channels = facts.section(contents, "model").get("channels")
    single = f"The model reads one image of {channels} channel at a time." if channels == 1 else ""
    return of_section(
        "Metrics and comparison",
        enough(20, "Measures of performance", facts.performance_measures(contents), "Name them, and why these."),
        enough(21, "Uncertainty", facts.uncertainty(contents), "Give intervals of the performance."),
        enough(22, "Calibration", results.calibrated(contents), "Say how probabilities agree with frequencies."),
        begun(
            23,
            "Imaging of one kind, or why several",
            single,
            "Say which sequence or view that is, and whether it suffices.",
        ),
        open_item(24, "Comparison with a clinical approach", "Compare with what is done without the model."),
        open_item(25, "Comparison with a simple model", "Compare with a simple statistical model."),
    )


def _testing_and_openness(contents: Contents) -> tuple[Item, ...]:
    here = results.tested(contents) if facts.trained_here(contents) else ""
    return (
        *of_section(
            "Testing",
            enough(26, "Internal testing", here, "Say whether the test images come from the training's source."),
            open_item(27, "External testing", "Test on data of another source."),
        ),
        *of_section(
            "Open science",
            begun(
                28, "Data", facts.hashes(contents, "list of images", "explained images"), "Say where data can be had."
            ),
            begun(29, "Code", facts.hashes(contents, "code"), "Say where the code of this study can be had."),
            begun(30, "Model", facts.hashes(contents, "weights"), "Say where the model can be had."),
        ),
    )
