"""A Structured Report by template TID 1500 (PS3.16): what the model said, and how well each map scored."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence

from highdicom.sr import (
    AlgorithmIdentification,
    ComprehensiveSR,
    DeviceObserverIdentifyingAttributes,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as standard

from medsaliency.report.dicom import codes
from medsaliency.report.dicom.explanation import Explanation
from medsaliency.report.dicom.identity import KINDS, MAKER, identify, unique
from medsaliency.report.dicom.originals import Originals
from medsaliency.report.dicom.picture import NOTICE
from medsaliency.report.dicom.references import equipment, evidence, files, restore
from medsaliency.report.wording import method_label


def structured_report(
    explanation: Explanation, originals: Originals, written: Mapping[str, Sequence[Dataset]]
) -> Dataset:
    """The prediction, and for each method what it is and how its map scored, as a Comprehensive SR.

    Args:
        explanation: What is exported.
        originals: Its source images.
        written: For each method, the objects that hold its map, which are then referenced.
    """
    identity = identify(explanation, originals, KINDS[3], None, _content(explanation, written), "Explanation")
    sources = files(originals)
    maker = equipment(explanation.weights, explanation.version)
    observer = DeviceObserverIdentifyingAttributes(
        uid=unique("observer", explanation.weights, explanation.version),
        name=MAKER,
        manufacturer_name=MAKER,
        model_name=maker["manufacturer_model_name"],
        serial_number=maker["device_serial_number"],
    )
    groups = [_prediction(explanation, _images(sources), identity.instance)]
    for method in explanation.maps:
        images = _images([*sources, *((made, None) for made in written.get(method, ()))])
        groups.append(_method(explanation, method, images, identity.instance))
    content = MeasurementReport(
        observation_context=ObservationContext(
            observer_device_context=ObserverContext(standard.DCM.Device, observer),
        ),
        procedure_reported=codes.PROCEDURE,
        imaging_measurements=groups,
    )
    made = ComprehensiveSR(
        evidence=[*(file for file, _ in sources), *(evidence(m) for maps in written.values() for m in maps)],
        content=content,
        series_instance_uid=identity.series,
        series_number=identity.series_number,
        sop_instance_uid=identity.instance,
        instance_number=identity.number,
        **maker,
        is_complete=True,
        is_final=False,
        is_verified=False,
        coding_schemes=[codes.own_scheme()],
    )
    restore(made, originals, identity)
    return made


def _images(sources: Iterable[tuple[Dataset, list[int] | None]]) -> list[SourceImageForMeasurementGroup]:
    """What a group's values were measured on: files, and which of their frames."""
    return [SourceImageForMeasurementGroup(file.SOPClassUID, file.SOPInstanceUID, numbers) for file, numbers in sources]


def _prediction(
    explanation: Explanation, images: Sequence[SourceImageForMeasurementGroup], instance: str
) -> MeasurementsAndQualitativeEvaluations:
    """What the model said of the image: the probability of each class, and the most probable one."""
    best = explanation.predicted
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(unique("prediction", instance), "prediction"),
        algorithm_id=AlgorithmIdentification(
            name=explanation.architecture,
            version=explanation.weights or "unknown",
            parameters=[f"weights (SHA-256) {explanation.weights or 'unknown'}"],
            family=codes.ANALYSIS,
        ),
        measurements=[
            Measurement(codes.probability_code(index, explanation.classes[index]), float(probability), codes.NO_UNITS)
            for index, probability in enumerate(explanation.probabilities)
        ],
        qualitative_evaluations=[
            QualitativeEvaluation(codes.predicted_class(), codes.class_code(best, explanation.classes[best]))
        ],
        source_images=images,
    )
    return _with_comments(group, [NOTICE])


def _method(
    explanation: Explanation, method: str, images: Sequence[SourceImageForMeasurementGroup], instance: str
) -> MeasurementsAndQualitativeEvaluations:
    """What one method's map is, and its scores; one without a value is no number, and a comment says why."""
    scores, target = explanation.scores.get(method, {}), explanation.target
    undefined = {name: reason for name, (value, reason) in scores.items() if math.isnan(value)}
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(unique("method", instance, method), method),
        algorithm_id=AlgorithmIdentification(
            name=method_label(method),
            version=explanation.version,
            parameters=[explanation.methods[method]],
            manufacturer=MAKER,
            family=codes.ANALYSIS,
        ),
        measurements=[
            Measurement(codes.metric_code(name), float(value), codes.NO_UNITS)
            for name, (value, _) in scores.items()
            if name not in undefined
        ],
        qualitative_evaluations=[
            QualitativeEvaluation(codes.explained_class(), codes.class_code(target, explanation.classes[target])),
            *(QualitativeEvaluation(codes.metric_code(name), codes.NOT_A_NUMBER) for name in undefined),
        ],
        source_images=images,
    )
    reasons = [f"{name}: undefined, {reason}" for name, reason in undefined.items()]
    return _with_comments(group, [f"Explained: {explanation.explains}", *reasons])


def _with_comments(
    group: MeasurementsAndQualitativeEvaluations, comments: Sequence[str]
) -> MeasurementsAndQualitativeEvaluations:
    for comment in comments:
        item = TextContentItem(codes.COMMENT, comment, relationship_type=RelationshipTypeValues.CONTAINS)
        group[0].ContentSequence.append(item)
    return group


def _content(explanation: Explanation, written: Mapping[str, Sequence[Dataset]]) -> str:
    """What decides the report's content beside the maps."""
    said = [explanation.classes, explanation.probabilities, explanation.target, explanation.explains]
    scores = {name: {k: repr(v) for k, v in own.items()} for name, own in explanation.scores.items()}
    objects = [str(one.SOPInstanceUID) for maps in written.values() for one in maps]
    return json.dumps([said, scores, objects, explanation.architecture])
