"""Findings in plain words, each made from the numbers of a study and from nothing else."""

from __future__ import annotations

from dataclasses import replace

from medsaliency.report.contents import Contents
from medsaliency.report.findings.agreement import map_agreement, measure_agreement, repeated_scores
from medsaliency.report.findings.comparison import against_controls, differences, other_measures, published
from medsaliency.report.findings.dependence import dependence
from medsaliency.report.findings.finding import Finding
from medsaliency.report.findings.lesions import lesions, pointing
from medsaliency.report.findings.limits import exclusions, failed, few, missed, noise, not_asked, smoothness
from medsaliency.report.findings.model import calibration, patients
from medsaliency.report.findings.reliance import checks, failing, noise_only, reliable, unproven
from medsaliency.report.findings.shortcut import attribution_on_marker, marker
from medsaliency.report.findings.summary import summary

__all__ = ["SUMMARY", "Finding", "findings"]

SUMMARY = "In short"
GROUPS = {
    SUMMARY: (summary,),
    "The model": (calibration, patients),
    "Which methods may be relied on": (reliable, noise_only, unproven, failing, checks),
    "What the model looks at": (marker, attribution_on_marker, lesions, pointing),
    "How the methods compare": (differences, against_controls, other_measures, published),
    "What the scores depend on": (dependence, measure_agreement, map_agreement, repeated_scores),
    "What could not be shown": (missed, not_asked, noise, smoothness, few, exclusions, failed),
}
"""The headings, and what stands under each, in reading order."""


def findings(contents: Contents) -> list[Finding]:
    """Return all findings in reading order; the summary is the first group."""
    return [
        replace(finding, group=group) for group, parts in GROUPS.items() for part in parts for finding in part(contents)
    ]
