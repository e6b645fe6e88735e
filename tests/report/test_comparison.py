from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from medsaliency.report.comparison import ACCURACY, COLUMNS, Comparison, overview, render
from medsaliency.report.comparison.findings import findings
from medsaliency.report.comparison.measures import measure_tables
from medsaliency.report.comparison.tables import agreement, difference, fact_rows, left_out, ranking_rows, trust_matrix
from medsaliency.types import Measure

HOSTILE = "<img src=x onerror=alert(1)>"
METHODS = ("gradient", "grad_cam", "rise", "random")
METRICS = ("evidence", "lesion_auprc", "pointing_game", "gini", "infidelity")
MEANS = {"A": (0.10, 0.40, 0.60, 0.02), "B": (0.20, 0.50, 0.62, 0.01), "C": (0.50, 0.30, 0.45, 0.03)}
NAN = math.nan


def table(name: str, rows: list[tuple[object, ...]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS[name].split())


def row_of(run: str, other: str, metric: str, method: str, verdict: str = "", reason: str = "") -> tuple[object, ...]:
    """A row of differences whose interval, p and detectable fit its verdict."""
    gap = {"higher": 0.1, "lower": -0.1, "not shown": 0.01, "": 0.03}[verdict]
    paired = verdict != ""
    p, least = {"not shown": (0.61, 0.05), "": (NAN, NAN)}.get(verdict, (0.0004, NAN))
    patients, images = (20, 40) if paired else (0, 0)
    return (
        run,
        other,
        metric,
        method,
        paired,
        patients,
        images,
        gap,
        gap - 0.04,
        gap + 0.04,
        p,
        p,
        verdict,
        least,
        reason,
    )


def differences(verdicts: dict[tuple[str, str], str] | None = None, accuracy: str = "higher") -> pd.DataFrame:
    """A and B are of the same images, C of others; ``verdicts`` of B against A by (metric, method)."""
    rows = []
    for run, other in (("A", "B"), ("A", "C"), ("B", "C")):
        cells = [(ACCURACY, ""), *((metric, method) for metric in METRICS for method in METHODS)]
        for cell in cells:
            if other == "C":
                rows.append(row_of(run, other, *cell, reason="other classes"))
            else:
                default = accuracy if cell[0] == ACCURACY else "not shown"
                rows.append(row_of(run, other, *cell, verdict=(verdicts or {}).get(cell, default)))
    return table("differences", rows)


def trust(**cells: dict[tuple[str, str], str]) -> pd.DataFrame:
    """By default everything passes but ``stable``, of which nothing is shown; ``cells`` of a run replace that."""
    rows = []
    for run in "ABC":
        for method in METHODS[:3]:
            for criterion in ("beats_random", "localizes", "stable"):
                verdict = "not shown" if criterion == "stable" else "pass"
                rows.append((run, method, criterion, cells.get(run, {}).get((method, criterion), verdict)))
    return table("trust", rows)


def performance(value: float, *classes: str) -> dict[str, object]:
    found = {"value": value, "low": value - 0.05, "high": value + 0.05}
    error = {"value": 0.04, "low": 0.02, "high": None}
    return {
        "images": 60, "accuracy": found, "macro_f1": found, "expected_calibration_error": error,
        "auroc": dict.fromkeys(classes, found),
    }  # fmt: skip


def build() -> Comparison:
    names = {"A": "brain-small", "B": "brain-resnet", "C": "chest"}
    facts = [
        ("Data", run, value) for run, value in zip(names, ("brain-mri", "brain-mri", "chest-xray"), strict=True)
    ] + [("Image size", run, "128 pixels a side") for run in names]
    means = [
        (run, method, metric, 40, mean, mean - 0.05, mean + 0.05)
        for run, own in MEANS.items()
        for metric in METRICS
        for method, mean in zip(METHODS, own, strict=True)
    ]
    return Comparison(
        runs=names,
        facts=table("facts", facts),
        left_out=table("left_out", [("method", "lime", "A, B"), ("measure", "road", "C")]),
        settings=table("settings", [("method", "smoothgrad", "samples", *own) for own in (("A", "5"), ("B", "8"))]),
        pairs=table(
            "pairs",
            [("A", "B", "", 40, 20, 3), ("A", "C", "other classes", 0, 0, 0), ("B", "C", "other classes", 0, 0, 0)],
        ),
        performance={
            "A": performance(0.8, "glioma", "none"),
            "B": performance(0.9, "glioma", "none"),
            "C": performance(0.7, "pneumonia"),
        },
        means=table("means", means),
        differences=differences({("evidence", "grad_cam"): "higher", ("evidence", "gradient"): "lower"}),
        rankings=table(
            "rankings",
            [
                (run, other, metric, 3, tau, tau - 0.3, min(1.0, tau + 0.3), "")
                for (run, other), tau in {("A", "B"): 0.9, ("A", "C"): 0.1, ("B", "C"): -0.8}.items()
                for metric in METRICS
            ],
        ),
        trust=trust(A={("rise", "localizes"): "fail"}, B={("gradient", "beats_random"): "not shown"}),
        measures={
            name: Measure(name, name != "infidelity", (0.0, 1.0), f"What {name} measures", "faithfulness")
            for name in METRICS
        },
        headlines=METRICS[:4],
        controls=frozenset({"random"}),
        primary=dict.fromkeys(names, "evidence"),
        statistics={"level": 0.95, "alpha": 0.05, "draws": 2000, "permutations": 10_000},
    )  # fmt: skip


class Page(HTMLParser):
    """The addresses that a page loads, its ids and where it links to, its tags, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.text: list[str] = []
        self.code = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.tags.append(tag)
        self.ids += [str(named["id"])] if "id" in named else []
        addresses = [str(named[key]) for key in ("src", "href") if key in named]
        (self.links if tag == "a" else self.loaded).extend(addresses)
        self.code = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self.code = False

    def handle_data(self, data: str) -> None:
        self.text += [] if self.code else [data]

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())  # a space that does not break is a space too


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return build()


def said(comparison: Comparison, topic: str) -> list[str]:
    return [finding.text for finding in findings(comparison) if finding.topic == topic]


def test_the_page_is_complete_in_itself(comparison: Comparison) -> None:
    html = render(comparison)
    page = Page(html)
    assert page.loaded == []
    assert len(page.links) == 7
    assert all(link[1:] in page.ids for link in page.links)
    assert len(page.ids) == len(set(page.ids))
    assert "default-src 'none'" in html
    assert "url(" not in html[html.index("<style>") : html.index("</style>")]
    assert page.tags.count("h1") == 1
    assert "For research use only. Not for diagnosis." in page.words


def test_the_page_shows_every_run_method_measure_and_pair(comparison: Comparison) -> None:
    words = Page(render(comparison)).words
    for name in (
        "A · brain-small",
        "B · brain-resnet",
        "C · chest",
        "Grad-CAM",
        "RISE",
        "Infidelity",
        "B − A",
        "C − B",
    ):
        assert name in words
    assert "1 more measure" in words
    assert "lower is better" in words
    assert "Methods of A and B only: LIME." in words


def test_names_from_outside_are_escaped(comparison: Comparison) -> None:
    def hostile(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
        return table.assign(**dict.fromkeys(columns, HOSTILE))

    own = dict(comparison.performance["A"], auroc={HOSTILE: {"value": 0.5, "low": 0.4, "high": 0.6}})
    measure = replace(comparison.measures["evidence"], description=HOSTILE)
    html = render(
        replace(
            comparison,
            runs={"A": HOSTILE, "B": "b", "C": "c"},
            facts=hostile(comparison.facts, "fact", "value"),
            settings=hostile(comparison.settings, "name", "setting", "value"),
            left_out=hostile(comparison.left_out, "name"),
            pairs=hostile(comparison.pairs, "reason"),
            differences=hostile(comparison.differences, "reason"),
            rankings=hostile(comparison.rankings, "reason"),
            performance={**comparison.performance, "A": own},
            measures={**comparison.measures, "evidence": measure},
        )
    )
    assert "<img" not in html
    assert html.count("&lt;img src=x onerror=alert(1)&gt;") > 10


def test_folders_are_left_out(comparison: Comparison) -> None:
    place = "/home/somebody/secret/brain"
    table = comparison.facts.assign(value=place)
    html = render(replace(comparison, facts=table, settings=comparison.settings.assign(value=place)))
    assert "somebody" not in html
    assert "…/brain" in html


@pytest.mark.parametrize(
    ("verdict", "text"),
    [
        ("higher", "B is more accurate than A on the same images: B less A is 10.0 percentage points (6.0 to 14.0)"),
        ("lower", "A is more accurate than B on the same images: B less A is −10.0 percentage points (−14.0 to −6.0)"),
        ("not shown", "Neither of A and B is shown to be more accurate"),
    ],
)
def test_the_better_model_is_named_as_the_numbers_say(comparison: Comparison, verdict: str, text: str) -> None:
    found = said(replace(comparison, differences=differences(accuracy=verdict)), "Models")
    assert found[0].startswith(text)
    assert ("one of 5.0 would have been shown" in found[0]) == (verdict == "not shown")
    assert "0.700 [0.650, 0.750] in C. It was not tested between runs of other images." in found[1]


def test_methods_follow_their_verdicts(comparison: Comparison) -> None:
    evidence = said(comparison, "Methods")[0]
    assert evidence == (
        "Evidence, from A to B (higher is better): higher for Grad-CAM; lower for Gradient; no difference shown for "
        "RISE (a difference of 0.050 would have been shown)."
    )
    turned = differences({("evidence", "grad_cam"): "lower", ("evidence", "gradient"): "higher"})
    other = said(replace(comparison, differences=turned), "Methods")[0]
    assert "higher for Gradient; lower for Grad-CAM" in other
    assert all(", from A to B (" in text for text in said(comparison, "Methods")), "C was not tested"


def test_controls_are_no_finding(comparison: Comparison) -> None:
    told = differences({("evidence", "random"): "higher"})
    assert not any("Random" in text for text in said(replace(comparison, differences=told), "Methods"))


def test_what_may_be_relied_on_in_every_run_and_in_some(comparison: Comparison) -> None:
    assert said(comparison, "Relied on") == [
        "In every run Grad-CAM beats random maps on Evidence and fails no criterion.",
        "In A and C only: Gradient.",
        "In B and C only: RISE.",
    ]
    never = dict.fromkeys("ABC", dict.fromkeys([(method, "beats_random") for method in METHODS[:3]], "fail"))
    assert said(replace(comparison, trust=trust(**never)), "Relied on") == [
        "No method beats random maps on Evidence and fails no criterion in every run."
    ]
    once = {run: {("rise", "stable"): "fail"} for run in "ABC"}
    assert said(replace(comparison, trust=trust(**once)), "Relied on")[-1] == "In no run: RISE."


def test_a_control_that_is_not_shown_to_be_beaten_is_enough_not_to_be_relied_on(comparison: Comparison) -> None:
    both = replace(comparison, controls=frozenset({"random", "edge"}))
    assert said(both, "Relied on") == [
        "No method beats random maps and the edge map on Evidence and fails no criterion in every run."
    ]


def test_contradictions_of_the_cards_are_named_and_silence_is_no_agreement(comparison: Comparison) -> None:
    (text,) = said(comparison, "Trust cards")
    assert "Of 6 cells" in text, "three methods x two criteria; of stable nothing is shown in any run"
    assert "same verdict in 4." in text
    assert "contradict each other, pass against fail, on “localizes” of RISE" in text
    (plain,) = said(replace(comparison, trust=trust()), "Trust cards")
    assert "same verdict in 6." in plain
    assert "contradict" not in plain


@pytest.mark.parametrize(
    ("verdicts", "state"),
    [
        (["pass", "pass"], "same"),
        (["not shown", "pass"], "differs"),
        (["not shown", "fail"], "differs"),
        (["pass", "not shown", "fail"], "opposite"),
    ],
)
def test_agreement_of_verdicts(verdicts: list[str], state: str) -> None:
    assert agreement(verdicts) == state


def test_disagreement_on_the_card_is_told_by_sign_and_word(comparison: Comparison) -> None:
    matrix = trust_matrix(comparison)
    states = {row["method"]: [cell["state"] for cell in row["cells"]] for row in matrix["rows"]}
    assert states == {"Gradient": ["differs", "same"], "Grad-CAM": ["same", "same"], "RISE": ["same", "opposite"]}
    assert matrix["silent"] == ["stable"]
    words = Page(render(comparison)).words
    assert "≠ differs" in words
    assert "‼ opposite" in words


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(0.1, 0.9, "carries over on"), (-0.9, -0.1, "is turned around on"), (-0.1, 0.9, "is not shown to carry over on")],
)
def test_the_ranking_is_told_as_its_interval_says(comparison: Comparison, low: float, high: float, text: str) -> None:
    rankings = comparison.rankings.assign(tau=(low + high) / 2, low=low, high=high)
    told = said(replace(comparison, rankings=rankings), "Ranking")
    assert [sentence.startswith(f"Between {run} the ranking of methods {text}") for run, sentence in zip(
        ("A and B", "A and C", "B and C"), told, strict=True)] == [True] * 3  # fmt: skip


def test_a_ranking_that_is_undefined_is_no_finding_and_says_why_in_its_table(comparison: Comparison) -> None:
    rankings = comparison.rankings.assign(tau=NAN, low=NAN, high=NAN, reason="all means of one run are equal")
    changed = replace(comparison, rankings=rankings)
    assert said(changed, "Ranking") == []
    assert ranking_rows(changed)[0]["cells"][0] == {
        "mean": "undefined", "interval": "", "methods": "3 methods", "reason": "all means of one run are equal",
    }  # fmt: skip


def test_a_difference_is_written_with_sign_and_words() -> None:
    def written(verdict: str, reason: str = "") -> dict[str, object]:
        row = row_of("A", "B", "evidence", "rise", verdict, reason)
        return difference(dict(zip(COLUMNS["differences"].split(), row, strict=True)))

    assert written("higher") == {
        "value": "+0.100", "interval": "[0.060, 0.140]", "verdict": "higher", "sign": "↑", "words": "higher",
        "more": "p < 0.001",
    }  # fmt: skip
    assert written("lower")["words"] == "lower"
    assert written("not shown")["more"] == "p = 0.610; detectable 0.050"
    untested = written("", "other settings of the method")
    assert (untested["words"], untested["more"]) == ("not tested", "other settings of the method")


def test_marks_stand_where_the_numbers_are(comparison: Comparison) -> None:
    shown = measure_tables(comparison)[0]
    # From -0.04 (B's random, its lower end) to 0.67 (B's RISE, its upper end), within margins of 5 of 160 units.
    assert shown["ends"] == ["−0.040", "0.670"]
    rise = next(row for row in shown["rows"] if row["method"] == "RISE")
    mark = next(mark for mark in rise["marks"] if mark["run"] == 1)
    assert mark["high"] == 155
    assert mark["x"] == pytest.approx(5 + 150 * (0.62 + 0.04) / 0.71, abs=0.06)
    assert [mark["shape"] for mark in rise["marks"]] == [0, 1, 2], "runs are told apart by shape"


def test_undefined_means_are_said_to_be(comparison: Comparison) -> None:
    means = comparison.means.copy()
    means.loc[means["metric"] == "gini", ["mean", "low", "high"]] = NAN
    shown = next(table for table in measure_tables(replace(comparison, means=means)) if table["name"] == "Gini")
    assert {cell["mean"] for row in shown["rows"] for cell in row["cells"]} == {"undefined"}
    assert (shown["ends"], [row["marks"] for row in shown["rows"]]) == ([], [[]] * 4)
    assert "undefined" in render(replace(comparison, means=means))


def test_facts_say_whether_they_differ(comparison: Comparison) -> None:
    assert {row["fact"]: row["differs"] for row in fact_rows(comparison)} == {"Data": True, "Image size": False}
    assert left_out(comparison) == ["Methods of A and B only: LIME.", "Measures of C only: ROAD."]


def test_the_overview_is_of_the_measure_read_first(comparison: Comparison) -> None:
    title, heads, rows = overview(comparison)
    assert title == "Evidence, higher is better"
    assert heads == ["mean of", "A", "B", "C", "B to A", "C to A", "C to B"]
    assert rows[0] == ["Gradient", "0.100", "0.200", "0.500", "lower", "not tested", "not tested"]
    assert rows[-1][0] == "Random"


def test_runs_without_differences_have_no_empty_tables(comparison: Comparison) -> None:
    empty: Callable[[str], pd.DataFrame] = lambda name: table(name, [])  # noqa: E731
    words = Page(
        render(replace(comparison, settings=empty("settings"), left_out=empty("left_out"), trust=empty("trust")))
    ).words
    assert "None: the runs have the same settings." in words
    assert "Nothing: all runs have the same methods and measures." in words
    assert "No run gives a pass or a fail on any criterion." in words


def test_markup_is_well_balanced(comparison: Comparison) -> None:
    html = render(comparison)
    for tag in ("section", "table", "tr", "td", "th", "div", "p", "span", "svg", "details"):
        assert len(re.findall(rf"<{tag}[ >]", html)) == html.count(f"</{tag}>"), tag


FRAMES = """<!doctype html><body><script>
const page = PAGE, seen = {trouble: []};
window.report = (text) => seen.trouble.push(text);
async function look(width) {
  const frame = document.createElement("iframe");
  frame.style = `width:${width}px;height:900px;border:0`;
  document.body.append(frame);
  await new Promise((done) => { frame.onload = done; frame.srcdoc = page; });
  const root = frame.contentDocument.documentElement;
  for (const details of frame.contentDocument.querySelectorAll("details")) details.open = true;
  const loaded = frame.contentWindow.performance.getEntriesByType("resource").length;
  seen[width] = {scroll: root.scrollWidth, width: root.clientWidth, loaded};
}
(async () => {
  for (const width of [400, 768, 1400]) await look(width);
  const result = document.createElement("pre");
  result.id = "result";
  result.textContent = JSON.stringify(seen);
  document.body.append(result);
})();
</script></body>"""
WATCH = """<script>
addEventListener("error", (event) => parent.report(event.message));
document.addEventListener("securitypolicyviolation", (event) => parent.report(event.blockedURI));
</script>"""


def test_the_page_fits_every_width_and_runs_without_trouble(comparison: Comparison, tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        message = "the page is checked in a browser: install chromium (Debian: apt install chromium)"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    page = render(comparison).replace("<title>", WATCH + "<title>", 1)
    harness = tmp_path / "harness.html"
    harness.write_text(FRAMES.replace("PAGE", json.dumps(page).replace("<", "\\u003c"), 1), encoding="utf-8")
    done = subprocess.run(
        [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
            "--disable-background-networking", "--disable-component-update", "--window-size=1500,1000", "--dump-dom",
            "--virtual-time-budget=10000", f"--user-data-dir={tmp_path / 'profile'}", harness.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    found = re.search(r'<pre id="result">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-500:]
    seen = json.loads(unescape(found[1]))
    assert seen["trouble"] == []
    for width in ("400", "768", "1400"):
        assert seen[width]["scroll"] <= seen[width]["width"] <= int(width)
        assert seen[width]["loaded"] == 0
