"""Configurations of someone who means harm: a study or one line, at once, and nothing is written."""

import copy
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medsaliency.study.config import Study, load_study, parse_options
from medsaliency.types import MedsaliencyError

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
WHOLE: dict[str, Any] = Study().model_dump(mode="json")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LAUGHS, "expected no alias"),
        ("name: " + "[" * 100_000, "at most 32 within one another"),
        (
            "training: {epochs: 3}\nname: x\ntraining: {epochs: 30}\n",
            "line 3, column 1: expected the key 'training' once",
        ),
        ("training:\n  epochs: 3\n  epochs: 30\n", "line 3, column 3: expected the key 'epochs' once"),
        ("base: &base {epochs: 3}\ntraining:\n  <<: *base\n", "expected no alias"),
        ("training:\n  <<: {epochs: 3}\n", "unknown key 'training.<<'"),
        ("!!python/object/apply:os.system ['touch ran']", "expected no tag"),
        ("name: !!python/object/new:os.system [touch ran]", "expected no tag"),
        ("1: x", "expected text as a key, got '1'"),
        ("seed: .nan", "expected a finite number"),
        ("training: {learning_rate: .inf}", "expected a finite number"),
        ("training: {learning_rate: nan}", "training"),
        ("statistics: {level: nan}", "statistics.level"),
        (f"seed: {'9' * 4_000}", "expected a whole number of at most 64 bits"),
        ("seed: 1e400", "seed"),
        ("name: 2020-13-45\nseed: x", "seed: input should be a valid integer"),
        ("name: ../elsewhere", "name: string should match pattern"),
        ('name: "a\\nb"', "name: string should match pattern"),
        ("name: <script>alert(1)</script>", "name: string should match pattern"),
        ("name: =1+1", "name: string should match pattern"),
        ("name: '" + "x" * 5_000 + "'", "expected values of at most 4,096 characters"),
        ("{", "not valid YAML: line"),
        ("just text", "expected a mapping of sections, got str"),
        ("# nothing", "expected a mapping of sections, got NoneType"),
    ],
)
def test_a_file_that_means_harm_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")
    before = time.process_time()
    with pytest.raises(MedsaliencyError) as caught:
        load_study(path)
    assert time.process_time() - before < 1.5
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_of_another_encoding_or_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    for content in ("name: größe".encode("latin-1"), "name: x".encode("utf-16")):
        path.write_bytes(content)
        with pytest.raises(MedsaliencyError, match="cannot be read as UTF-8 text"):
            load_study(path)
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(MedsaliencyError, match="expected at most 131,072 bytes"):
        load_study(path)


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("\ufeffname: mine\n", encoding="utf-8")
    assert load_study(path).name == "mine"


@pytest.mark.parametrize(
    "value", ["[*a]", "!!python/name:os.system", "[" * 5_000, "{a: 1, a: 2}", ".nan", "9" * 4_000, "\x1b", "'"]
)
def test_an_override_and_an_option_are_read_as_strictly(value: str) -> None:
    for read in (lambda text: load_study(None, [text]), lambda text: parse_options([text])):
        with pytest.raises(MedsaliencyError) as caught:
            read(f"seed={value}")
        assert "not valid YAML" in str(caught.value)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "key", ["", ".", "..", "a..b", "seed.x", "explain.methods.gradient.sign.x", "\x1b[2J", "x" * 5_000]
)
def test_an_odd_key_is_refused_in_one_line(key: str) -> None:
    with pytest.raises(MedsaliencyError) as caught:
        load_study(None, [f"{key}=1"])
    assert len(str(caught.value).splitlines()) == 1


def places(tree: Any, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    inner = tree.items() if isinstance(tree, dict) else ()
    return ([above] if above else []) + [place for key, value in inner for place in places(value, (*above, key))]


odd = (
    st.sampled_from(["nan", "inf", "1e999", "..", "../x", "=1", "\u202e", "", "x" * 500, "<b>", "cuda:99", "0x10"])
    | st.sampled_from([0, -1, 2**63 - 1, -(2**63), 1e308, 5e-324, 0.5, True, None, [], {}, [[]], [None], {"": {}}])
    | st.sampled_from([["gradient", "gradient"], {"gradient": [1]}, {"gradient": None}, {"rise": {"masks": "nan"}}])
    | st.text(max_size=10)
    | st.integers(-(2**63), 2**63 - 1)
    | st.lists(st.integers(-9, 9) | st.text(max_size=3), max_size=4)
)  # fmt: skip


def assert_study_or_one_line(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    found: Study | str
    try:
        found = load_study(path)
    except MedsaliencyError as error:
        found = str(error)
    assert isinstance(found, Study) or len(found.splitlines()) == 1
    assert [other.name for other in path.parent.iterdir()] == [path.name]


QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("configuration") / "study.yaml"


@QUICK
@given(st.sampled_from(places(WHOLE)), odd, st.booleans())
def test_any_value_in_any_place_is_a_study_or_one_line(
    path: Path, place: tuple[str, ...], value: Any, kept: bool
) -> None:
    whole = copy.deepcopy(WHOLE)
    section = whole
    for key in place[:-1]:
        section = section[key]
    if not kept:
        section[f"{place[-1]}_"] = section.pop(place[-1])
    section[place[-1] if kept else f"{place[-1]}x"] = value
    assert_study_or_one_line(path, yaml.safe_dump(whole).encode())


@QUICK
@given(st.binary(max_size=200))
def test_any_bytes_are_a_study_or_one_line(path: Path, content: bytes) -> None:
    assert_study_or_one_line(path, content)


@QUICK
@given(
    st.lists(
        st.tuples(st.integers(0, 3_000), st.integers(0, 4), st.text("&*!{}[]:,-<> \n'\"#|?%@0x.", max_size=4)),
        max_size=3,
    )
)
def test_a_changed_file_is_a_study_or_one_line(path: Path, changes: list[tuple[int, int, str]]) -> None:
    text = yaml.safe_dump(WHOLE)
    for place, gone, put in changes:
        text = text[:place] + put + text[place + gone :]
    assert_study_or_one_line(path, text.encode())


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e999", "'nan'"])
@pytest.mark.parametrize(
    "place",
    [
        *(
            "training.shift",
            "training.learning_rate",
            "trust.randomization_margin",
            "statistics.level",
            "data.validation",
        ),
        *("explain.methods.smoothgrad.noise", "explain.methods.integrated_gradients.baseline"),
        *("explain.methods.integrated_gradients.tolerance", "explain.methods.blurred.sigma"),
        *("evaluate.metrics.evidence_curves.sigma", "data.validation"),
    ],
)
def test_no_number_of_a_study_is_without_end_or_none(place: str, number: str) -> None:
    with pytest.raises(MedsaliencyError) as caught:
        load_study(None, [f"{place}={number}"])
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["..", ".", "...", " x", "-x", "./x", "x/..", "a\\b", "~", "", "x\n"])
def test_the_name_of_a_study_leads_nowhere_else(name: str) -> None:
    with pytest.raises(MedsaliencyError, match="name: string should"):
        load_study(None, name=name)


def test_what_was_got_is_shown_in_part() -> None:
    with pytest.raises(MedsaliencyError, match=r"seed: input should be a valid integer, got \[1, 1") as caught:
        load_study(None, [f"seed=[{'1,' * 4_000} 1]"])
    assert len(str(caught.value)) < 300
