"""How often does a comparison say "better" or "worse" where nothing differs? Simulated studies whose truth is known.

Ten methods and two controls are scored by six metrics on patients with unequal numbers of images. Methods come in
likely pairs, metrics agree in part, images of one patient are alike, and scores have the shapes that metrics give. The
tables give

- where nothing differs, the share of studies with a false statement by pairs, by controls, by both;
- where one method is better: how often this is shown, and how often something false is said of the others;
- whether a difference of the size that is called detectable is shown with the power that is claimed.

Run, about fifteen minutes on one core:

    python benchmarks/false_positives.py --json runs/false_positives.json --page docs/explanation/comparisons.md
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medsaliency.statistics.controls import Comparison, permutation_tests
from medsaliency.statistics.detectable import detectable, permutation_critical, signed_rank_critical
from medsaliency.statistics.friedman import holm
from medsaliency.statistics.pairwise import PairTests, pair_tests
from medsaliency.statistics.signed_rank import signed_rank
from medsaliency.statistics.step_down import Corrected
from medsaliency.statistics.ties import tie_decimals
from medsaliency.statistics.verdict import FAMILIES, verdicts
from medsaliency.types import generator

Floats = NDArray[np.float64]
METHODS, METRICS, DRAWS = 10, 6, 5
SIZES = (1, 1, 1, 2, 2, 3, 4, 8)
"""Images that a patient may have."""
ALPHA, POWER, EFFECT, PERMUTATIONS = 0.05, 0.8, 0.8, 14_999
SHAPES: dict[str, Callable[[Floats], Floats]] = {
    "normal": lambda latent: latent,
    "skewed": lambda latent: np.exp(latent / 2),
    "hit or miss": lambda latent: (latent > 1).astype(np.float64),
}
BEGIN, END = "<!-- tables begin -->", "<!-- tables end -->"


@dataclass(frozen=True)
class Simulated:
    """One study: ``own`` (K, n, M) scores of methods, ``edge`` (K, n, 1), ``random`` (K, n, R), ``owner`` (n,)."""

    own: Floats
    edge: Floats
    random: Floats
    owner: NDArray[np.intp]

    def patient_means(self, values: Floats) -> Floats:
        """(K, n, ...) to (K, P, ...)."""
        member = (self.owner == np.arange(self.owner[-1] + 1)[:, None]).astype(np.float64)
        return np.asarray(member / member.sum(axis=1, keepdims=True) @ values)


def simulate(rng: np.random.Generator, shape: str, patients: int, effect: float = 0.0) -> Simulated:
    """Scores of one study; ``effect`` is added to what makes the first method's, in its standard deviations."""
    owner = np.repeat(np.arange(patients), rng.choice(SIZES, size=patients))

    def drawn(rows: int, columns: int) -> Floats:
        """(K, rows, columns) standard normal, metrics correlated by one half."""
        return np.asarray(rng.normal(size=(1, rows, columns)) + rng.normal(size=(METRICS, rows, columns))) / np.sqrt(2)

    def scored(columns: int, alike: bool = False) -> Floats:
        of_patient = drawn(patients, columns)
        if alike:  # methods 1 and 2, 3 and 4, ... respond to the same patients
            of_patient = np.sqrt(0.7) * np.repeat(drawn(patients, columns // 2), 2, axis=2) + np.sqrt(0.3) * of_patient
        return np.asarray((of_patient[:, owner] + drawn(len(owner), columns)) / np.sqrt(2))

    difficulty = drawn(patients, 1)[:, owner] + drawn(len(owner), 1) / 2
    value = SHAPES[shape]
    own = scored(METHODS, alike=True)
    own[:, :, 0] += effect
    return Simulated(
        *(value(difficulty + latent) for latent in (own, scored(1), scored(DRAWS))),
        owner,
    )


def pair_statements(study: Simulated) -> tuple[list[PairTests], list[list[str]]]:
    """The tests of all pairs of methods and controls, and the verdicts, for each metric."""
    images = np.concatenate([study.own, study.edge, study.random[:, :, :1]], axis=2)
    tests = pair_tests(list(study.patient_means(images)), families=FAMILIES)
    words = []
    for found, value in zip(tests, images, strict=True):
        mean = value.mean(axis=0)
        difference = mean[found.first] - mean[found.second]
        words.append(verdicts(found.rank_biserial, difference, found.p_corrected, ALPHA))
    return tests, words


def control_tests(study: Simulated, seed: int) -> list[tuple[Comparison, Corrected]]:
    """The tests of all methods, for each control and metric."""
    patients = [f"{i:03d}" for i in range(study.owner[-1] + 1)]
    means = study.patient_means(study.own)
    compared = [
        Comparison(
            metric=str(metric),
            control=control,
            methods=[str(i) for i in range(METHODS)],
            patients=patients,
            owner=[patients[i] for i in study.owner],
            images=study.own[metric] - drawn[metric].mean(axis=1, keepdims=True),
            own=means[metric],
            draws=drawn_means[metric],
            decimals=tie_decimals(np.concatenate([study.own[metric], drawn[metric]], axis=1)),
        )
        for control, drawn in (("edge", study.edge), ("random", study.random))
        for drawn_means in [study.patient_means(drawn)]
        for metric in range(METRICS)
    ]
    tests = permutation_tests(compared, seed=seed, permutations=PERMUTATIONS, alpha=ALPHA, families=FAMILIES)
    return list(zip(compared, tests, strict=True))


def control_statements(study: Simulated, seed: int) -> list[list[str]]:
    """The verdicts of all methods, for each control and metric."""
    return [
        verdicts(each.differences.mean(axis=0), each.images.mean(axis=0), test.p_corrected, ALPHA)
        for each, test in control_tests(study, seed)
    ]


def null_cell(shape: str, patients: int, studies: int) -> dict[str, Any]:
    """Shares of studies with at least one statement, where none is true."""
    found = []
    for number in range(studies):
        study = simulate(generator(number, "null", shape, str(patients)), shape, patients)
        tests, words = pair_statements(study)
        of_metric = [_said(own) for own in words]
        controls = any(_said(own) for own in control_statements(study, number))
        ungated = any((holm(own.p) <= ALPHA).any() for own in tests)
        found.append(
            {
                "holm_alone": ungated,
                "pairs": any(of_metric),
                "controls": controls,
                "both": any(of_metric) or controls,
            }
        )
    return {"shape": shape, "patients": patients, "studies": studies} | _shares(found)


def effect_cell(shape: str, patients: int, studies: int) -> dict[str, Any]:
    """One method is better on all metrics: how often this is shown, and what is said of the others."""
    found = []
    for number in range(studies):
        study = simulate(generator(number, "effect", shape, str(patients)), shape, patients, EFFECT)
        tests, words = pair_statements(study)
        control_words = control_statements(study, number)
        first = [np.array(own)[test.first == 0] for test, own in zip(tests, words, strict=True)]
        rest = [np.array(own)[test.first != 0] for test, own in zip(tests, words, strict=True)]
        found.append(
            {
                "pairs_shown": np.mean(np.concatenate(first) == "better"),
                "controls_shown": np.mean([own[0] == "better" for own in control_words]),
                "false_in_a_metric": np.mean([_said(own) for own in rest]),
                "false_in_controls": any(_said(own[1:]) for own in control_words),
            }
        )
    return {"shape": shape, "patients": patients, "studies": studies} | _shares(found)


def detectable_cell(shape: str, patients: int, pairs: int, studies: int) -> dict[str, Any]:
    """Share of new studies that show a difference as large as an earlier one, without any, called detectable."""
    level = ALPHA / pairs
    critical = signed_rank_critical(patients, level)
    moves, means = _mean_differences(shape)
    claimed, shown = [], []
    for number in range(studies):
        rng = generator(number, "detectable", shape, str(patients))
        earlier = _differences(rng, shape, patients, 0.0)[0]
        least = detectable(earlier, critical, rng, power=POWER)
        if not np.isfinite(least):
            continue
        claimed.append(least)
        p, correlation = signed_rank(_differences(rng, shape, patients, float(np.interp(least, means, moves))))
        shown.append({"shown": np.mean((p <= level) & (correlation > 0))})
    row = {"shape": shape, "patients": patients, "pairs": pairs, "studies": len(shown)}
    return row | {"detectable": float(np.mean(claimed)) if claimed else None} | _shares(shown)


def control_cell(shape: str, patients: int, control: str, studies: int) -> dict[str, Any]:
    """The same of the first method and a control, among all tests against controls."""
    moves, means = _mean_differences(shape)
    claimed, shown = [], []
    for number in range(studies):
        rng = generator(number, "controls", shape, str(patients), control)
        earlier = control_tests(simulate(rng, shape, patients), number)
        found = [
            detectable(
                each.differences[:, 0], permutation_critical(patients, test.critical), rng, scores="values", power=POWER
            )
            for each, test in earlier
            if each.control == control
        ]
        if not np.isfinite(found).all():
            continue
        claimed.append(np.mean(found))
        later = simulate(rng, shape, patients, float(np.interp(claimed[-1], means, moves)))
        words = control_statements(later, number)
        own = [word[0] == "better" for word, (each, _) in zip(words, earlier, strict=True) if each.control == control]
        shown.append({"shown": np.mean(own)})
    row = {"shape": shape, "patients": patients, "control": control, "studies": len(shown)}
    return row | {"detectable": float(np.mean(claimed)) if claimed else None} | _shares(shown)


def _differences(rng: np.random.Generator, shape: str, patients: int, effect: float) -> Floats:
    """Patients' differences (K, P) of the first method, with its effect, and of one that is unlike it."""
    study = simulate(rng, shape, patients, effect)
    means = study.patient_means(study.own)
    return np.round(means[:, :, 0] - means[:, :, 2], tie_decimals(means))


@lru_cache
def _mean_differences(shape: str) -> tuple[Floats, Floats]:
    """Effects, and the mean differences they make."""
    effects = np.linspace(0, 4, 33)
    made = [_differences(generator(0, "large", shape), shape, 2000, float(effect)).mean() for effect in effects]
    return effects, np.array(made) - made[0]


def _said(words: Any) -> bool:
    return any(word != "not shown" for word in words)


def _shares(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over studies, with their standard errors."""
    result: dict[str, Any] = {}
    for key in found[0] if found else ():
        values = np.array([row[key] for row in found], dtype=np.float64)
        error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
        result[key] = {"share": float(values.mean()), "error": error}
    return result


TABLES: dict[str, tuple[str, dict[str, str]]] = {
    "null": (
        "Nothing differs: share of studies with at least one false statement",
        {
            "holm_alone": "pairs, Holm within metrics alone",
            "pairs": "pairs",
            "controls": "controls",
            "both": "both, as reported",
        },
    ),
    "effect": (
        f"One method is better by {EFFECT:g} standard deviations of what makes its scores",
        {
            "pairs_shown": "its pairs shown",
            "controls_shown": "shown better than a control",
            "false_in_a_metric": "a metric says something false of other pairs",
            "false_in_controls": "something false of other methods and controls",
        },
    ),
    "detectable": (
        f"The smallest detectable difference, asked to be shown with power {POWER:g}",
        {"shown": "shown in new studies of that difference"},
    ),
    "controls": (
        f"The same against a control, corrected over {2 * METHODS * METRICS} comparisons",
        {"shown": "shown in new studies of that difference"},
    ),
}
EXTRA = {
    "detectable": {"pairs": "pairs corrected for", "detectable": "detectable, mean"},
    "controls": {"control": "control", "detectable": "detectable, mean"},
}


def tables(found: dict[str, list[dict[str, Any]]]) -> str:
    """A table for each question; shares in percent, with their standard errors."""
    parts = []
    for name, (title, columns) in TABLES.items():
        extra = EXTRA.get(name, {})
        head = ["scores", "patients", *extra.values(), "studies", *columns.values()]
        lines = [f"### {title}", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
        for row in found[name]:
            cells = [row["shape"], str(row["patients"]), *(_cell(row[key]) for key in extra), str(row["studies"])]
            cells += [_percent(row.get(key)) for key in columns]
            lines.append(f"| {' | '.join(cells)} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _cell(value: float | str | None) -> str:
    return "cannot be said" if value is None else value if isinstance(value, str) else f"{value:.3g}"


def _percent(share: dict[str, float] | None) -> str:
    return "" if share is None else f"{100 * share['share']:.1f} ± {100 * share['error']:.1f}"


def write_page(found: dict[str, list[dict[str, Any]]], page: Path) -> None:
    """Put the tables between their marks in a page, or into a new one."""
    old = page.read_text() if page.exists() else f"{BEGIN}\n{END}\n"
    before, _, rest = old.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{tables(found)}\n\n{END}{after}")


def measure(studies: int, patients: Sequence[int] = (10, 30, 60)) -> dict[str, list[dict[str, Any]]]:
    """All tables; a third as many studies where one method is better and of detectable differences.

    Of those to controls, where each study says something of six metrics, a sixth.
    """
    cells = [(shape, count) for shape in SHAPES for count in patients]
    few, fewest = max(2, studies // 3), max(2, studies // 6)
    return {
        "null": [null_cell(shape, count, studies) for shape, count in cells],
        "effect": [effect_cell(shape, count, few) for shape, count in cells if count > 10],
        "detectable": [detectable_cell(shape, count, pairs, few) for shape, count in cells for pairs in (1, 66)],
        "controls": [
            control_cell(*cell, control, fewest) for cell in cells if cell[1] > 10 for control in ("edge", "random")
        ],
    }


def main() -> None:
    """Simulate, write the numbers, and put the tables into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=120, help="of each kind")
    parser.add_argument("--json", type=Path, default=Path("runs/false_positives.json"))
    parser.add_argument("--page", type=Path, help="Markdown file to write the tables to")
    arguments = parser.parse_args()
    found = measure(arguments.studies)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    if arguments.page:
        write_page(found, arguments.page)
    print(tables(found))


if __name__ == "__main__":
    main()
