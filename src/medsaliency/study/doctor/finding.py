"""What a preflight can find, and how it is said."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["problem", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Args:
        severity: "problem" is to be mended before maps mean something, "note" is to be known.
        where: The part of the model, or the data.
        expected: What a sound model or data set has there.
        got: What this one has.
        advice: What to do.
    """

    severity: Severity
    where: str
    expected: str
    got: str
    advice: str

    def line(self) -> str:
        """All of it in one line."""
        return f"{self.where}: expected {self.expected}, got {self.got}; {self.advice}"


@dataclass(frozen=True)
class Diagnosis:
    """What :func:`~medsaliency.study.doctor.examine` found.

    Args:
        model: Its architecture.
        dataset: Its name.
        images: Images looked at.
        findings: By the name of the check that found them, in the order of the checks; checks that found nothing have
            an empty tuple.
        skipped: Checks that could not be made, since what an earlier one found stands in their way: that one's name.
    """

    model: str
    dataset: str
    images: int
    findings: dict[str, tuple[Finding, ...]]
    skipped: dict[str, str]

    def problems(self) -> list[str]:
        """One line for each thing to mend."""
        return self._lines("problem")

    def notes(self) -> list[str]:
        """One line for each thing to know, and one for what could not be checked."""
        stopped = sorted(set(self.skipped.values()))
        left = [f"not checked, for the problem above ({cause}): {', '.join(self._after(cause))}" for cause in stopped]
        return self._lines("note") + left

    def to_dict(self) -> dict[str, Any]:
        """Everything found, as JSON takes it, with ``problems`` and ``notes``."""
        return asdict(self) | {"problems": self.problems(), "notes": self.notes()}

    def _lines(self, severity: Severity) -> list[str]:
        return [f.line() for found in self.findings.values() for f in found if f.severity == severity]

    def _after(self, cause: str) -> list[str]:
        return [name for name, reason in self.skipped.items() if reason == cause]
