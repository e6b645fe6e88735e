"""What medsaliency brings along is declared, bounded from below alone, and no exception stands without its reason."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
CONFIGURATION = tomllib.loads(TEXT)
PROJECT = CONFIGURATION["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
OF_USERS = [extra for extra in EXTRAS if extra not in ("test", "peers")]
THROUGH_OTHERS = {
    "pyarrow": "pandas writes and reads parquet with it",
    "python-gdcm": "pydicom decodes with it",
    "pylibjpeg": "pydicom decodes with it",
    "pylibjpeg-openjpeg": "pylibjpeg decodes with it",
    "einops": "MONAI's transformers import it",
}
"""What is declared and imported by no module of ours, with the reason."""


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def sources(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert found
    return found


def third_party() -> Iterator[tuple[str, str, str | None]]:
    """Each import of another project's module: where, the name of its distribution, the extra named beside it."""
    of = packages_distributions()
    for path in sources("src"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants = {
            node.targets[0].id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
        for node in ast.walk(tree):
            modules: list[str] = []
            extra = None
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules = [node.module]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "optional":
                module, named = (constants.get(a.id, a) if isinstance(a, ast.Name) else a for a in node.args[:2])
                if not isinstance(module, ast.Constant):
                    continue  # passed on; the callers' modules are of the one extra that is named there
                assert isinstance(named, ast.Constant)
                modules, extra = [module.value], named.value
            for module in modules:
                top = module.partition(".")[0]
                if top not in sys.stdlib_module_names and top != "medsaliency":
                    place = f"{path.relative_to(ROOT)}:{node.lineno}: {module}"
                    yield place, canonicalize_name(of.get(top, [top])[0]), extra


def test_every_import_is_declared() -> None:
    core = names(PROJECT["dependencies"])
    declared = core | {name for extra in OF_USERS for name in names(EXTRAS[extra])}
    found = list(third_party())
    assert {"torch", "pydicom", "markupsafe", "onnxruntime"} <= {name for _, name, _ in found}
    assert [place for place, name, _ in found if name not in declared] == []
    assert [place for place, name, extra in found if extra and name not in names(EXTRAS[extra])] == []


def test_every_dependency_is_imported_or_used_by_another() -> None:
    core = names(PROJECT["dependencies"])
    imported = {name for _, name, _ in third_party()}
    assert core - imported - THROUGH_OTHERS.keys() == set()


@pytest.mark.parametrize("group", ["dependencies", *EXTRAS])
def test_each_dependency_has_a_lower_bound_and_an_upper_one_only_with_a_reason(group: str) -> None:
    wanted = PROJECT["dependencies"] if group == "dependencies" else EXTRAS[group]
    for text in wanted:
        operators = {bound.operator for bound in Requirement(text).specifier}
        assert ">=" in operators, f"{text}: no lower bound"
        lines = [line for line in TEXT.splitlines() if f'"{text}"' in line]
        assert operators == {">="} or all("#" in line for line in lines), f"{text}: say beside it what breaks above"


def test_a_package_has_one_lower_bound_wherever_it_is_named() -> None:
    bounds: dict[str, set[str]] = {}
    for text in [*PROJECT["dependencies"], *(each for extra in EXTRAS.values() for each in extra)]:
        requirement = Requirement(text)
        bounds.setdefault(canonicalize_name(requirement.name), set()).add(str(requirement.specifier))
    assert {name: found for name, found in bounds.items() if len(found) > 1} == {}


def reasonless(lines: list[str]) -> list[str]:
    """The lines with an exception for bandit that names no rule, or that no comment beside or above explains."""
    found = []
    for number, line in enumerate(lines):
        if not (marked := re.search(r"#\s*nosec\b(?P<rules>[^#]*)(?P<reason>#.*)?", line)):
            continue
        above = number - 1
        while "nosec" in lines[above]:  # a comment stands for the lines that follow one another
            above -= 1
        explained = len((marked["reason"] or "").strip("# ")) > 10 or lines[above].lstrip().startswith("#")
        if not re.fullmatch(r"\s*B\d{3}(\s*,\s*B\d{3})*\s*", marked["rules"]) or not explained:
            found.append(line)
    return found


def test_each_exception_for_bandit_has_a_reason() -> None:
    files = sources("src", "benchmarks", ".ci")
    texts = {path: path.read_text(encoding="utf-8").splitlines() for path in files}
    assert sum("nosec" in line for lines in texts.values() for line in lines) > 5
    bare = [f"{path}: {line}" for path, lines in texts.items() for line in reasonless(lines)]
    assert bare == []
    for rule in CONFIGURATION["tool"]["bandit"]["skips"]:
        assert f"# {rule}: " in TEXT


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("import pickle  # nosec B403 # only its grammar is used", False),
        ("# The command is a browser's.\nrun(a)  # nosec B603\nrun(b)  # noqa: S603  # nosec B603", False),
        ("x = 1\nimport pickle  # nosec B403", True),
        ("x = 1\nimport pickle  # nosec B403 # why", True),
        ("# All of them.\nimport pickle  # nosec", True),
    ],
)
def test_a_reasonless_exception_is_found(text: str, refused: bool) -> None:
    assert bool(reasonless(["", *text.splitlines()])) == refused


@pytest.fixture(scope="module")
def script() -> ModuleType:
    specification = importlib.util.spec_from_file_location("minimum_versions", ROOT / ".ci" / "minimum_versions.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_minimum_of_every_dependency_of_a_user_is_installed(script: ModuleType) -> None:
    said = subprocess.run([sys.executable, script.__file__], capture_output=True, text=True, check=True).stdout
    pinned = dict(line.split("==") for line in said.splitlines())
    assert {canonicalize_name(name) for name in pinned} == names(PROJECT["dependencies"]).union(
        *(names(EXTRAS[extra]) for extra in OF_USERS)
    )
    assert f'"torch>={pinned["torch"]}"' in TEXT
    assert f'"ray[default]>={pinned["ray"]}"' in TEXT


@pytest.mark.parametrize("core", ["numpy", "numpy<3", "numpy>=2.1"])
def test_a_dependency_without_one_lower_bound_is_refused(script: ModuleType, core: str) -> None:
    project = {"dependencies": [core], "optional-dependencies": {"onnx": ["numpy>=2.0"], "test": ["numpy>=9"]}}
    with pytest.raises(ValueError, match="expected one lower bound of numpy"):
        script.minimum_versions(project)
