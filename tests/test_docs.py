"""The documentation says what the code does: pages, parameters, fields, links and examples."""

from __future__ import annotations

import ast
import dataclasses
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml
from pydantic import BaseModel
from typer.main import get_command

from medsaliency import __version__
from medsaliency.attribution import METHODS, PANEL
from medsaliency.cli import app
from medsaliency.data.sandbox import CLASSES
from medsaliency.evaluation import METRICS
from medsaliency.evaluation.checks import CHECKS
from medsaliency.model.checkpoint import save
from medsaliency.model.classifier import Classifier
from medsaliency.model.small_cnn import SmallCNN
from medsaliency.report.contents import COLUMNS
from medsaliency.study import config, results, store
from medsaliency.study.config import Study

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = sorted(DOCS.rglob("*.md"))
LINKED = [*PAGES, *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))]
ENTRIES = [
    *(("methods", name, factory) for name, factory in METHODS.items()),
    *(("metrics", name, factory) for name, factory in METRICS.items()),
    *(("checks", name, factory) for name, factory in CHECKS.items()),
]
SECTIONS = {
    "methods": ("Definition", "Parameters", "Cost", "What it does not show", "Differences to other implementations"),
    "metrics": (
        *("Definition", "Range and direction", "Parameters", "Undefined when", "Cost"),
        *("What it does not establish", "Source"),
    ),
}
SECTIONS["checks"] = SECTIONS["metrics"]
SCORED = [entry for entry in ENTRIES if entry[0] != "methods"]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| `([\w.]+)` \| `([^`]*)` \|", re.MULTILINE)


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def _section(text: str, title: str) -> str:
    """The text below a heading, up to the next one of any level."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"no section {title!r}"
    return found[1]


def _prose(page: Path) -> str:
    return FENCE.sub("", page.read_text())


@pytest.mark.parametrize(("kind", "known"), [("methods", METHODS), ("metrics", METRICS), ("checks", CHECKS)])
def test_every_key_has_its_page_and_every_page_its_key(kind: str, known: dict[str, Any]) -> None:
    assert {page.stem for page in (REFERENCE / kind).glob("*.md")} == set(known)


@pytest.mark.parametrize(("kind", "name", "factory"), ENTRIES, ids=[name for _, name, _ in ENTRIES])
def test_a_page_gives_every_parameter_with_its_default(kind: str, name: str, factory: Any) -> None:
    text = (REFERENCE / kind / f"{name}.md").read_text()
    rows = ROW.findall(_section(text, "Parameters"))
    given = {parameter: ast.literal_eval(default) for parameter, default in rows}
    assert given == {field.name: getattr(factory(), field.name) for field in dataclasses.fields(factory)}
    assert len(rows) == len(given), "a parameter is listed twice"
    if not given:
        assert _section(text, "Parameters").strip().startswith("None.")


@pytest.mark.parametrize(("kind", "name", "factory"), ENTRIES, ids=[name for _, name, _ in ENTRIES])
def test_a_page_has_its_sections(kind: str, name: str, factory: Any) -> None:
    text = (REFERENCE / kind / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    assert all(_section(text, title).strip() for title in SECTIONS[kind])
    assert "arXiv:" in text or "doi:" in text


@pytest.mark.parametrize(("kind", "name", "factory"), SCORED, ids=[name for _, name, _ in SCORED])
def test_a_page_gives_its_measures_and_range(kind: str, name: str, factory: Any) -> None:
    text = (REFERENCE / kind / f"{name}.md").read_text()
    stated = _section(text, "Range and direction")
    for measure in factory().measures:
        assert measure.name in text
        assert f"{measure.bounds[0]:g} to {measure.bounds[1]:g}" in stated
        assert ("Higher" if measure.higher_is_better else "Lower") + " is better" in stated


@pytest.mark.parametrize(
    ("name", "sources"),
    [
        ("evidence_curves", ["evidence_curves.py"]),
        ("information_curves", ["information_curves.py", "curve.py"]),
        *((name, [f"{name}.py"]) for name in ("insertion_deletion", "road", "infidelity")),
        ("published_curves", ["published_curves.py", "curve.py"]),
        ("pointing_game", ["pointing_game.py", "lesion.py"]),
        *((name, [f"{name}.py", "lesion.py"]) for name in ("lesion_auprc", "relevance_mass", "relevance_rank")),
        *((name, [f"{name}.py", "lesion.py"]) for name in ("energy_in_lesion", "lesion_overlap")),
        *((name, [f"{name}.py", "magnitudes.py"]) for name in ("gini", "entropy", "effective_fraction")),
    ],
)
def test_a_metric_page_lists_the_reasons_in_its_code(name: str, sources: list[str]) -> None:
    code = "".join((ROOT / "src/medsaliency/evaluation" / source).read_text() for source in sources)
    reasons = set(re.findall(r'Score\.undefined\("([^"]+)"\)', code))
    listed = _section((REFERENCE / "metrics" / f"{name}.md").read_text(), "Undefined when")
    assert reasons
    assert set(re.findall(r"^\| `([^`]+)` \|", listed, re.MULTILINE)) == reasons


@pytest.mark.parametrize(
    ("name", "sources", "of_others"),  # of_others: reasons of similarities that the check does not use
    [
        (
            "parameter_randomization",
            ["parameter_randomization.py", "own_baseline.py", "similarity.py"],
            {"the share is no pixel, or all of them"},
        ),
        (
            "data_randomization",
            ["data_randomization.py", "own_baseline.py", "similarity.py"],
            {"the share is no pixel, or all of them"},
        ),
        ("max_sensitivity", ["max_sensitivity.py"], set()),
        (
            "equivariance",
            ["equivariance.py", "similarity.py"],
            {"the maps are too small", "a map has no gradient where HOG looks"},
        ),
    ],
)
def test_a_check_page_lists_the_reasons_in_its_code(name: str, sources: list[str], of_others: set[str]) -> None:
    code = "".join((ROOT / "src/medsaliency/evaluation" / source).read_text() for source in sources)
    reasons = set(re.findall(r'Score\.undefined\("([^"]+)"\)', code)) - of_others
    listed = _section((REFERENCE / "checks" / f"{name}.md").read_text(), "Undefined when")
    assert set(re.findall(r"^\| `([^`]+)` \|", listed, re.MULTILINE)) == reasons


@pytest.mark.parametrize("page", LINKED, ids=_name)
def test_relative_links_resolve(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", _prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)
    assert broken == []


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", _prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_can_be_reached_from_the_index() -> None:
    reached, waiting = set(), [DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md" or not page.is_relative_to(DOCS) or not page.exists():
            continue
        reached.add(page)
        links = re.findall(r"\]\(([^)#\s]+)", _prose(page))
        waiting += [(page.parent / link).resolve() for link in links if not re.match(r"[a-z]+:", link)]
    # The record of the design stands apart, for those who change the code.
    assert {_name(p) for p in PAGES if p.parent.name != "explanation"} <= {_name(p) for p in reached}


def _python(page: Path) -> list[str]:
    return [code for language, code in FENCE.findall(page.read_text()) if language == "python"]


@pytest.fixture(scope="session")
def demo_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which ``runs/demo/model`` is an untrained network of the demo's kind."""
    folder = tmp_path_factory.mktemp("reader")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = SmallCNN(len(CLASSES))
    save(Classifier(module, CLASSES, size=128), folder / "runs" / "demo" / "model", architecture="small_cnn")
    return folder


def _tutorial(folder: Path, names: dict[str, Any]) -> bool:
    written = [folder / "slice.png", folder / "maps.png"]
    return all(file.is_file() for file in written) and set(names["maps"]) == {"gradient", "edge"}


EXAMPLES = {
    "docs/tutorial/first-report.md": _tutorial,
    "docs/how-to/own-model.md": lambda _, names: (
        names["model"].classes == names["again"].classes == ("normal", "tumor")
        and names["grouped"]["gradient"].abs().amax(dim=(1, 2)).gt(0).tolist() == [True, True]
    ),
    "README.md": lambda _, names: (
        len(names["maps"]) == len(PANEL) and names["figure"] and names["probabilities"].shape == (4, 2)
    ),
    "docs/how-to/add-a-method.md": lambda _, names: names["table"]["reason"].tolist() == ["", "no lesion mask"],
}
"""For each page with Python examples, whether they came to what the page says."""


def test_every_page_with_examples_is_run() -> None:
    assert {_name(page) for page in LINKED if _python(page)} == set(EXAMPLES)


@pytest.mark.parametrize("page", EXAMPLES)
def test_python_examples_run(page: str, demo_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(demo_model)
    example = ModuleType("example")
    monkeypatch.setitem(sys.modules, "example", example)  # where dataclasses look their annotations up
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for number, code in enumerate(_python(ROOT / page), start=1):
            exec(compile(code, f"{page}, example {number}", "exec"), vars(example))  # noqa: S102 - our own pages
    assert EXAMPLES[page](demo_model, vars(example))


def _shell() -> Iterator[tuple[str, list[str]]]:
    """Every medsaliency command of the pages, with the page's name."""
    for page in LINKED:
        for language, code in FENCE.findall(page.read_text()):
            for line in code.splitlines() if language in ("bash", "sh", "console") else ():
                words = line.removeprefix("$ ").split()
                if words and words[0] == "medsaliency":
                    yield _name(page), words[1:]


def test_commands_in_the_pages_exist_with_their_options() -> None:
    found = list(_shell())
    assert len(found) > 10
    for page, words in found:
        command: Any = get_command(app)
        while words and hasattr(command, "commands") and words[0] in command.commands:
            command, words = command.commands[words[0]], words[1:]
        options = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}
        unknown = [word for word in words if word.startswith("-") and word not in options]
        assert unknown == [], f"{page}: {words}"
        # What is left over without a command of its own name is an argument, which a group does not take.
        assert not (hasattr(command, "commands") and words and not words[0].startswith("-")), f"{page}: {words}"


def test_the_command_reference_is_complete() -> None:
    text = (REFERENCE / "command-line.md").read_text()
    for name, command in _commands(get_command(app), "medsaliency"):
        section = _section(text, name)
        wanted = {p.opts[0] if p.param_type_name == "option" else p.name for p in command.params} - {"--help"}
        assert set(re.findall(r"^\| `([\w-]+)` \|", section, re.MULTILINE)) == wanted, name
        assert f"```bash\n{name}" in section, name


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    if hasattr(command, "commands"):
        for key, inner in command.commands.items():
            yield from _commands(inner, f"{name} {key}")
    else:
        yield name, command


def _fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _fields(kind, f"{prefix}{name}.")
        else:
            yield prefix + name, field.get_default(call_default_factory=True)


def test_study_fields_are_documented_with_their_defaults() -> None:
    text = (DOCS / "how-to" / "studies.md").read_text()
    code = dict(_fields(Study))
    rows = ROW.findall(_section(text, "Fields"))
    for title in ("data", "model", "training", "explain", "evaluate", "statistics", "trust", "report"):
        rows += ROW.findall(_section(text, title))
    given = {name: yaml.safe_load(default) for name, default in rows}
    described_in_words = {"explain.methods", "evaluate.metrics"}
    assert all(f"| `{name}` | see below |" in text for name in described_in_words)
    assert given == {name: default for name, default in code.items() if name not in described_in_words}


def test_what_is_said_of_a_study_without_sections_holds() -> None:
    bare = config.load_study(None)
    assert list(bare.explain.methods) == list(PANEL)
    text = (DOCS / "how-to" / "studies.md").read_text()
    assert list(bare.evaluate.metrics) == re.findall(r"^- `(\w+)`", _section(text, "What is scored"), re.MULTILINE)
    absolute = {name for name, parameters in bare.explain.methods.items() if parameters.get("sign") == "absolute"}
    kinds = {name for name in METHODS if name.endswith("integrated_gradients")}
    assert absolute == {"gradient", "input_x_gradient", "smoothgrad"} | kinds
    assert bare.explain.methods["blurred"]["parameters"] == {"sign": "absolute"}
    assert bare.explain.methods["rise"]["masks"] == 200


def test_the_example_study_is_valid(tmp_path: Path) -> None:
    text = (DOCS / "how-to" / "studies.md").read_text()
    examples = [code for language, code in FENCE.findall(text) if language == "yaml"]
    assert examples
    for example in examples:
        (tmp_path / "study.yaml").write_text(example)
        assert config.load_study(tmp_path / "study.yaml").name == "my-study"


def test_the_files_of_a_run_are_documented() -> None:
    text = (DOCS / "how-to" / "studies.md").read_text()
    listed = set(re.findall(r"^\| `([\w./]+)` \|", _section(text, "The run folder"), re.MULTILINE))
    assert listed == set(re.findall(r"``([\w./]+)``", store.Store.__doc__ or ""))


def test_the_tables_of_statistics_are_documented_with_their_columns() -> None:
    text = (REFERENCE / "statistics.md").read_text()
    written = set(re.findall(r'"(statistics/\w+\.parquet)"', Path(results.__file__).read_text()))
    assert written
    assert all(f"## {table}\n" in text for table in written)
    for name, columns in COLUMNS.items():
        listed = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", _section(text, f"statistics/{name}.parquet"), re.MULTILINE)
        assert set(re.findall(r"`(\w+)`", " ".join(listed))) == set(columns.split()), name


def test_the_citation_is_complete() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["cff-version"] == "1.2.0"
    assert str(citation["version"]) == __version__
    paper = citation["preferred-citation"]
    assert {"type", "title", "authors", "journal", "year"} <= set(paper)
    assert paper["doi"] == "10.1186/s13040-024-00370-4"
    assert [author["family-names"] for author in paper["authors"]] == ["Brima", "Atemkeng"]


def test_the_changelog_has_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(rf"^## \[{re.escape(__version__)}\] - \d{{4}}-\d\d-\d\d$", text, re.MULTILINE)
    assert "## [Unreleased]" in text


def test_hooks_run_what_is_installed() -> None:
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"]
    hooks = repositories[0]["hooks"]
    assert {hook["entry"].split()[0] for hook in hooks} == {"ruff", "mypy", "lint-imports"}
    assert all(hook["language"] == "system" for hook in hooks)


@pytest.mark.parametrize("page", LINKED, ids=_name)
def test_no_path_of_a_machine(page: Path) -> None:
    assert re.findall(r"(?<![\w.])/(?:home|root|tmp|work|Users|mnt|var)/\S*", page.read_text()) == []
