"""CLAIM, the Checklist for Artificial Intelligence in Medical Imaging, in its update of 2024."""

from __future__ import annotations

from medsaliency.report.checklists import facts, results
from medsaliency.report.checklists.item import Checklist, Item, begun, enough, of_section, open_item, unneeded
from medsaliency.report.contents import Contents

SIMULATED = "The images are simulated by the sandbox; no patient is behind them."


def claim(contents: Contents) -> Checklist:
    """Return the 44 items of CLAIM as far as the study fills them.

    Numbers and subjects are those of Tejani et al. 2024, doi:10.1148/ryai.240300; the words are this project's.
    """
    return Checklist(
        "CLAIM 2024",
        "Tejani et al. 2024, Radiology: Artificial Intelligence 6(4), doi:10.1148/ryai.240300",
        (
            *_before_the_methods(contents),
            *_design_and_data(contents),
            *_reference_standard(contents),
            *_partitions(contents),
            *_model(contents),
            *_evaluation(contents),
            *_results(contents),
            *_rest(contents),
        ),
        "The words are this project's; the paper's own hold.",
    )


def _before_the_methods(contents: Contents) -> tuple[Item, ...]:
    return (
        *of_section(
            "Title and abstract",
            begun(1, "Kind of AI named", facts.model(contents), "Name the technology in title or abstract."),
            open_item(2, "Structured summary", "Write the abstract; the findings hold the numbers."),
        ),
        *of_section(
            "Introduction",
            open_item(3, "Background and intended use", "Give the clinical background and the role of the model."),
            open_item(4, "Aims and hypotheses", "State the aims, and the hypotheses where there were any."),
        ),
    )


def _design_and_data(contents: Contents) -> tuple[Item, ...]:
    made = facts.simulated(contents)
    return (
        *of_section(
            "Methods: study design",
            _of_patients(made, 5, "Prospective or retrospective", "Say whether data were collected for this study."),
            begun(6, "Goal", facts.explanations(contents), "Say what the model is for and what kind of study this is."),
        ),
        *of_section(
            "Methods: data",
            enough(7, "Source of the data", facts.source(contents), "Say where the data come from.")
            if made
            else begun(
                7,
                "Source of the data",
                facts.source(contents),
                "Say where the data come from, of which time, and under which license.",
            ),
            _of_patients(
                made, 8, "Inclusion and exclusion", "Give the criteria, and where and when they were applied."
            ),
            begun(
                9,
                "Preprocessing",
                facts.preprocessing(contents),
                "Say what was done to the images before this study, such as cropping or windowing.",
            ),
            begun(
                10,
                "Choice of subsets",
                facts.explained(contents),
                "Say whether parts of images or single slices were chosen before this study, and how.",
            ),
            _of_patients(made, 11, "De-identification", "Say how images and records were de-identified."),
            begun(
                12,
                "Missing data",
                results.undefined(contents),
                "Say how missing images and records were dealt with before this study.",
            ),
            _of_patients(made, 13, "Image acquisition", "Give scanners, sequences and their parameters."),
        ),
    )


def _reference_standard(contents: Contents) -> tuple[Item, ...]:
    asked = (
        (14, "Definition of the reference standard", "Say what decides the class of an image."),
        (15, "Why this reference standard", "Give the reasons for it, and its known errors."),
        (16, "Who annotated", "Give the source of the labels and the readers' training."),
        (17, "Annotation of the test set", "Say how its labels and masks were drawn, and with what software."),
        (18, "Variability of readers", "Give the agreement within and between readers, and how they were reconciled."),
    )
    if not facts.simulated(contents):
        return of_section("Methods: reference standard", *(open_item(*item) for item in asked))
    why = "The simulation sets class and lesion of each image; no reader drew them."
    return of_section("Methods: reference standard", *(unneeded(at, topic, why) for at, topic, _ in asked))


def _partitions(contents: Contents) -> tuple[Item, ...]:
    level, missing = facts.disjoint(contents)
    return (
        *of_section(
            "Methods: partitions",
            begun(
                19,
                "Assignment to partitions",
                facts.split_rule(contents),
                "Say which splits the source itself names, and why the shares are as they are.",
            ),
            begun(20, "Level at which partitions are apart", level, missing),
        ),
        *of_section(
            "Methods: testing data",
            open_item(
                21,
                "Intended sample size",
                "Say how the size of the test set was planned. Differences that it would have shown are in the tables.",
            ),
        ),
    )


def _model(contents: Contents) -> tuple[Item, ...]:
    given = "Say how the model was trained, by whom and on which data."
    return (
        *of_section(
            "Methods: model",
            enough(22, "Model", facts.model(contents), "Describe the architecture, its input and its output."),
            enough(23, "Software", facts.software(contents), "Name libraries and their versions."),
            enough(24, "First weights", facts.first_weights(contents), given),
        ),
        *of_section(
            "Methods: training",
            enough(25, "Training", facts.recipe(contents), given),
            enough(26, "Choice of the final model", facts.selection(contents), given),
            unneeded(27, "Ensembles", "One model is explained; nothing is combined.")
            if facts.model(contents)
            else open_item(27, "Ensembles", "Say whether several models were combined, and how."),
        ),
    )


def _evaluation(contents: Contents) -> tuple[Item, ...]:
    here = results.tested(contents) if facts.trained_here(contents) else ""
    robust = " ".join(filter(None, (results.checks(contents), results.retrained(contents))))
    return of_section(
        "Methods: evaluation",
        enough(28, "Measures of performance", facts.performance_measures(contents), "Name them, and why these."),
        enough(29, "Uncertainty and significance", facts.uncertainty(contents), "Name intervals and tests."),
        begun(30, "Robustness", robust, "Test how the model itself bears noise, other scanners or other parameters."),
        enough(31, "Explanations", facts.explanations(contents), "Name the methods, and how they were judged."),
        enough(32, "Testing on internal data", here, "Say whether the test images come from the training's source."),
        open_item(33, "Testing on external data", "Test on data of another source, or say why not."),
        _of_patients(
            facts.simulated(contents), 34, "Trial registration", "Give the registration, or say there is none."
        ),
    )


def _results(contents: Contents) -> tuple[Item, ...]:
    made = facts.simulated(contents)
    return (
        *of_section(
            "Results: data",
            begun(
                35,
                "Included and excluded",
                facts.counts(contents),
                "" if made else "Say how many were excluded before this study, and why; draw the flow of patients.",
            ),
            begun(
                36,
                "Characteristics of each partition",
                facts.classes_by_split(contents),
                "" if made else "Give age, sex and clinical characteristics of each partition.",
            ),
        ),
        *of_section(
            "Results: performance",
            enough(37, "Performance with uncertainty", results.performance(contents), "Give the model's performance."),
            begun(38, "Diagnostic performance", *results.diagnostic(contents)),
            begun(39, "Failures", results.errors(contents), "Look at the errors, and say what they would mean."),
        ),
    )


def _rest(contents: Contents) -> tuple[Item, ...]:
    return (
        *of_section(
            "Discussion",
            open_item(40, "Limitations", "Discuss them; the findings name what could not be shown."),
            open_item(41, "Implications for practice", "Say what follows for practice, and what does not."),
        ),
        *of_section(
            "Other information",
            begun(
                42,
                "Protocol and technical details",
                facts.repeating(contents),
                "Refer to the protocol, or say there was none.",
            ),
            begun(
                43,
                "Software, model and data for others",
                facts.hashes(contents, "code", "weights", "list of images"),
                "Say where each can be had, and under which license.",
            ),
            open_item(44, "Funding", "Name the sources of funding and the role of funders."),
        ),
    )


def _of_patients(simulated: bool, number: int, topic: str, missing: str) -> Item:
    return unneeded(number, topic, SIMULATED) if simulated else open_item(number, topic, missing)
