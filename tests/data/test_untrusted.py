"""Text of someone who means harm: plain values or one line, at once, and in little memory."""

import json
import math
import os
import sys
import time
import tracemalloc
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from medsaliency.data.untrusted import (
    DEEPEST,
    LONGEST,
    MOST_BYTES,
    MOST_NODES,
    parse_json,
    parse_yaml,
    read_text,
    require_name,
    unfit,
    visible,
)
from medsaliency.types import MedsaliencyError

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
"""Billion laughs: 9 to the 10th values in some 500 bytes."""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LAUGHS, "line 2, column 8: expected no alias, write the value out"),
        ("a: &a [*a]", "expected no alias"),
        ("a: &a {x: 1}\nb:\n  <<: *a\n", "line 3, column 7: expected no alias"),
        ("[" * 100_000, "expected at most 10,000 values, at most 32 within one another"),
        ("{a: " * 30_000, "at most 32 within one another"),
        ("- " * 60_000, "at most 32 within one another"),
        ("? " * 60_000, "at most 32 within one another"),
        ("\n".join(" " * i + "a:" for i in range(300)), "at most 32 within one another"),
        ("- a\n" * 30_000, "expected at most 10,000 values"),
        ("[" + "," * 100_000 + "]", "not valid YAML"),
        ("[" + "a," * 60_000 + "]", "expected at most 10,000 values"),
        ("a" * 130_000, "expected values of at most 4,096 characters"),
        ("a: |\n" + " x\n" * 40_000, "expected values of at most 4,096 characters"),
        ("a\n" * 65_000, "expected values of at most 4,096 characters"),
        ("x" * (MOST_BYTES + 1), "expected at most 131,072 characters of YAML, got 131,073"),
        ("!!python/object/apply:os.system [id]", "expected no tag, got 'tag:yaml.org,2002:python/object/apply:os.sys"),
        ("a: !!python/name:os.system", "expected no tag"),
        ("a: !!timestamp never", "expected no tag"),
        ("a: !!bool perhaps", "expected no tag"),
        ("a: !!int ''", "expected no tag"),
        ("a: !own b", "expected no tag, got '!own'"),
        ("%TAG ! tag:elsewhere,2000:\n---\n!x a", "expected no tag"),
        ("a: 1\na: 2\n", "line 2, column 1: expected the key 'a' once, got it again"),
        ("{a: {b: 1, b: 1}}", "expected the key 'b' once"),
        ("1: a", "expected text as a key, got '1' without quotes"),
        ("on: a", "expected text as a key, got 'on' without quotes"),
        ("~: a", "expected text as a key"),
        ("? [a, b]\n: c", "expected text as a key"),
        ("a: .nan", "expected a finite number, got '.nan'"),
        ("a: -.inf", "expected a finite number"),
        ("a: 1.0e+999", "expected a finite number"),
        ("a: 9223372036854775808", "expected a whole number of at most 64 bits"),
        (f"a: {'9' * 4_090}", "expected a whole number of at most 64 bits"),
        (f"a: 0x{'f' * 4_000}", "expected a whole number of at most 64 bits"),
        ("a: 1\n---\nb: 2", "but found another document"),
        ("a: \0", "special characters are not allowed"),
        ("a: \x1b[2J", "special characters are not allowed"),
        ("a: \ud800", "special characters are not allowed"),
        ("a: '", "found unexpected end of stream"),
        ("a: b: c", "mapping values are not allowed here"),
        ("%YAML 9.9\n---\na: 1", "incompatible YAML document"),
    ],
)
def test_yaml_that_means_harm_is_refused_at_once_and_in_little_memory(text: str, said: str) -> None:
    before = time.process_time()
    with pytest.raises(MedsaliencyError) as caught:
        parse_yaml(text, "study.yaml")
    assert time.process_time() - before < 20, "less than a second, where the lines that run are not counted"
    assert str(caught.value).startswith("study.yaml: ")
    assert said in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400
    tracemalloc.start()
    with pytest.raises(MedsaliencyError):
        parse_yaml(text[:20_000] if len(text) > 20_000 and "\n" not in text else text, "study.yaml")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def test_plain_values_are_what_the_safe_loader_makes_of_them() -> None:
    text = "a: 1\nb: [1.5, true, no, ~, 'x y', -3, 1e3]\nc: {d: \"\u00e4\", e: {}}\nf: >\n  long\n  text\n"
    assert parse_yaml(text, "x") == yaml.safe_load(text)
    assert parse_yaml("a: 9223372036854775807", "x") == {"a": 2**63 - 1}


def test_dates_and_merge_keys_are_text() -> None:
    assert parse_yaml("a: 2020-13-45\nb: 2020-01-01\n<<: {c: =}", "x") == {
        "a": "2020-13-45",
        "b": "2020-01-01",
        "<<": {"c": "="},
    }


def test_a_blank_text_is_an_empty_mapping_and_null_is_none() -> None:
    assert parse_yaml(" \n", "x") == {}
    assert parse_yaml("null", "x") is None


def test_what_is_just_within_the_limits_is_read() -> None:
    assert parse_yaml("[" * (DEEPEST - 1) + "a" + "]" * (DEEPEST - 1), "x")
    assert len(parse_yaml("- a\n" * (MOST_NODES - 1), "x")) == MOST_NODES - 1
    assert len(parse_yaml("a" * LONGEST, "x")) == LONGEST


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=20,
)  # fmt: skip


@given(plain)
def test_what_is_dumped_is_read_back(value: object) -> None:
    assert parse_yaml(yaml.safe_dump(value), "x") == value
    assert parse_json(json.dumps(value), "x") == value


def assert_value_or_one_line(parse: object, text: str) -> None:
    said = "x: "
    try:
        parse(text, "x")  # type: ignore[operator]
    except MedsaliencyError as error:
        said = str(error)
    assert len(said.splitlines()) == 1
    assert said.startswith("x: ")


signs = st.text(st.sampled_from("[]{}:,-?!&*#|>'\"%@`\n ab01.e+~=<\t\\x"), max_size=60)


@settings(max_examples=400, deadline=None)
@given(signs | st.text(max_size=60))
def test_any_text_is_a_value_or_one_line(text: str) -> None:
    assert_value_or_one_line(parse_yaml, text)
    assert_value_or_one_line(parse_json, text)


pieces = st.sampled_from(
    ["a: ", "b: ", "- ", "[", "]", "{", "}", ", ", "\n", "  ", "&x ", "*x", "!!int ", "<<: ", "? ", "---\n", ".nan",
     "0x", "1_0", "190:20:30", "2001-01-01", "|\n", "'", '"', "# c", "%YAML 1.1\n", "true", "~", "\\u0000", "\ud83d"]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(pieces, max_size=25).map("".join))
def test_any_pieces_of_yaml_are_a_value_or_one_line(text: str) -> None:
    assert_value_or_one_line(parse_yaml, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 200_000, "not valid JSON"),
        ('{"a":' * 100_000, "not valid JSON"),
        ("[NaN]", "expected a finite number, got NaN"),
        ("[-Infinity]", "expected a finite number, got -Infinity"),
        ("[1e999]", "expected a finite number, got 1e999"),
        ("9" * 5_000, "not valid JSON"),
        ('{"a": 1, "a": 2}', "expected the name 'a' once, got it again"),
        ("{", "not valid JSON"),
        ("", "not valid JSON"),
        ("\ufeff{}", "not valid JSON"),
    ],
)
def test_json_that_means_harm_is_refused(text: str, said: str) -> None:
    with pytest.raises(MedsaliencyError) as caught:
        parse_json(text, "model.json")
    assert said in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def test_a_number_that_json_has_is_kept() -> None:
    found = parse_json('{"a": 1.5, "b": -3, "c": 1e3, "d": [true, null]}', "x")
    assert found == {"a": 1.5, "b": -3, "c": 1000.0, "d": [True, None]}
    assert math.isfinite(found["c"])


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbf\xc3\xa4: 1")
    assert read_text(path) == "ä: 1"
    path.write_bytes(b"x" * 11)
    assert read_text(path, 11) == "x" * 11
    with pytest.raises(MedsaliencyError, match="expected at most 10 bytes, got more"):
        read_text(path, 10)


def test_what_is_no_text_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    for content in ("größe".encode("latin-1"), "a: 1".encode("utf-16"), b"\xed\xa0\x80"):
        path.write_bytes(content)
        with pytest.raises(MedsaliencyError, match="cannot be read as UTF-8 text"):
            read_text(path)
    os.mkfifo(tmp_path / "pipe")
    for other in (tmp_path / "none", tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(MedsaliencyError, match="no such file"):
            read_text(other)


def test_a_file_without_end_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a terabyte of nothing
    with pytest.raises(MedsaliencyError, match="expected at most"):
        read_text(path)


@given(st.text())
def test_what_is_made_visible_is_a_name(text: str) -> None:
    assert not unfit(visible(text))
    assert len(visible(text).splitlines()) <= 1
    if not unfit(text):
        assert visible(text) == text


UNFIT = "\0\n\r\t\x1b\x7f\x85\u200b\u200e\u202e\u2028\u2069\ufeff\u00ad\ud800\U000e0041"


@pytest.mark.parametrize("sign", UNFIT)
def test_a_sign_that_no_name_may_have_is_named(sign: str) -> None:
    assert unfit(f"a{sign}b") == f"U+{ord(sign):04X}"
    with pytest.raises(MedsaliencyError) as caught:
        require_name(f"a{sign}b", 10, "a label", f"row{sign} 3")
    assert str(caught.value).isprintable()
    with pytest.raises(MedsaliencyError, match=r"^row 3: expected a label of at most 2 characters, got 3 in 'abc'; "):
        require_name("abc", 2, "a label", "row 3")


@pytest.mark.parametrize(
    "text", ["", "plain", "größe", "腫瘍", "توده\u200cی", "क्\u200dष", "a b", "a\u00a0b", "=1", "🫁"]
)
def test_names_of_any_script_may_stand(text: str) -> None:
    assert unfit(text) == ""


def test_nothing_of_what_is_parsed_is_imported_or_run() -> None:
    before = set(sys.modules)
    with pytest.raises(MedsaliencyError):
        parse_yaml("a: !!python/module:antigravity", "x")
    assert set(sys.modules) == before
