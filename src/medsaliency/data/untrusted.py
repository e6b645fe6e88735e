"""Text from outside: which names are taken, and YAML and JSON read within limits, each refused in one line."""

from __future__ import annotations

import json
import math
import unicodedata
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode

from medsaliency.types import MedsaliencyError

MOST_BYTES = 128 * 1024
"""Of a configuration: one that writes out every default has some 4 KiB."""
MOST_NODES = 10_000
"""Of a YAML text: values, keys and collections together."""
DEEPEST = 32
"""Collections within one another."""
LONGEST = 4_096
"""Characters of one value."""
JOINERS = "\u200c\u200d"
"""Of the invisible characters, those that names in Persian or Hindi need."""


def unfit(text: str) -> str:
    """The first character that a name may not have, as ``U+202E``; empty where all may stand.

    Refused are control characters (line ends and tabs among them), line separators, invisible and bidirectional marks,
    and halves of surrogate pairs (file names that are not UTF-8): by them two names look alike, one name looks like
    another, or a name becomes two lines.
    """
    if text.isascii() and text.isprintable():
        return ""
    for sign in text:
        if unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp") and sign not in JOINERS:
            return f"U+{ord(sign):04X}"
    return ""


def visible(text: str) -> str:
    """The text in one line, with each character that :func:`unfit` names written as an escape."""
    return "".join(sign.encode("unicode_escape").decode() if unfit(sign) else sign for sign in text)


def require_name(text: str, longest: int, what: str, where: str, *, shown: bool = True) -> None:
    """See that a text may be a name.

    Args:
        text: From outside.
        longest: Characters that it may have.
        what: It is, for the error.
        where: It stands, for the error.
        shown: Whether the error may show the text; of patients it may not.

    Raises:
        MedsaliencyError: If it is too long, or has a character that :func:`unfit` names.
    """
    sign = unfit(text)
    if not sign and len(text) <= longest:
        return
    got = f" in '{visible(text[:80])}'" if shown else ""
    if sign:
        raise MedsaliencyError(
            f"{visible(where)}: expected {what} without control and invisible characters, got {sign}{got}; remove it"
        )
    raise MedsaliencyError(
        f"{visible(where)}: expected {what} of at most {longest:,} characters, got {len(text):,}{got}; shorten it"
    )


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    """A file of at most ``most`` bytes as text, UTF-8 with or without a byte order mark.

    Raises:
        MedsaliencyError: If it is no file, is larger, or is not UTF-8.
    """
    try:
        if not path.is_file():  # a pipe or a device would never end
            raise MedsaliencyError(f"{path}: no such file; check the path")
        with path.open("rb") as file:
            content = file.read(most + 1)
        if len(content) > most:
            raise MedsaliencyError(f"{path}: expected at most {most:,} bytes, got more; name another file")
        return content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise MedsaliencyError(f"{path}: cannot be read as UTF-8 text ({error}); save it as UTF-8") from error


def parse_yaml(text: str, name: str) -> Any:
    """YAML of plain values; ``{}`` of a blank text.

    Mappings have strings as keys, each once. There are no aliases (a short text could stand for an endless one), no
    tags, no merge keys; dates stay text. Integers have 64 bits and other numbers are finite.

    Args:
        text: At most ``MOST_BYTES`` characters.
        name: Of the text, for errors.

    Raises:
        MedsaliencyError: If it is anything else; one line that names line and column.
    """
    if len(text) > MOST_BYTES:
        raise MedsaliencyError(f"{name}: expected at most {MOST_BYTES:,} characters of YAML, got {len(text):,}")
    try:
        found = yaml.load(text, Loader=_PlainLoader)  # noqa: S506  # nosec B506 # derived from the safe loader, and stricter
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
        raise MedsaliencyError(f"{name}: not valid YAML: {place}{visible(str(error.problem))}; correct it") from error
    except (yaml.YAMLError, ValueError, IndexError) as error:  # e.g. characters that YAML may not have
        said = visible(" ".join(str(error).split()))
        raise MedsaliencyError(f"{name}: not valid YAML: {said[:200]}; correct it") from error
    return found if text.strip() else {}


def parse_json(text: str, name: str) -> Any:
    """JSON of finite numbers, in which every name of an object occurs once.

    Args:
        text: Of any length; the caller limits it.
        name: Of the text, for errors.

    Raises:
        MedsaliencyError: If it is anything else, or too deep to be read.
    """
    try:
        return json.loads(text, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        said = visible(" ".join(str(error).split()))
        raise MedsaliencyError(f"{name}: not valid JSON: {said[:200]}; correct it") from error


class _PlainLoader(yaml.SafeLoader):
    """PyYAML's safe loader without what a configuration has no use for; it counts while it reads."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.depth = self.count = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            raise _refusal("expected no alias, write the value out", event.start_mark)
        if event.tag is not None:
            raise _refusal(f"expected no tag, got {str(event.tag)[:80]!r}", event.start_mark)
        self.count += 1
        self.depth += 1
        if self.count > MOST_NODES or self.depth > DEEPEST:
            raise _refusal(
                f"expected at most {MOST_NODES:,} values, at most {DEEPEST} within one another", event.start_mark
            )
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > LONGEST:
            raise _refusal(f"expected values of at most {LONGEST:,} characters", event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                got = f", got {key.value[:80]!r} without quotes" if isinstance(key, ScalarNode) else ""
                raise _refusal(f"expected text as a key{got}", key.start_mark)
            if key.value in seen:
                raise _refusal(f"expected the key {key.value[:80]!r} once, got it again", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_integer(self, node: ScalarNode) -> int:
        try:
            value = int(self.construct_yaml_int(node))
        except ValueError:  # more digits than Python reads
            value = 2**64
        if not -(2**63) <= value < 2**63:
            raise _refusal("expected a whole number of at most 64 bits", node.start_mark)
        return value

    def construct_finite(self, node: ScalarNode) -> float:
        value = float(self.construct_yaml_float(node))
        if not math.isfinite(value):
            raise _refusal(f"expected a finite number, got {node.value[:80]!r}", node.start_mark)
        return value


_PLAIN = ("null", "bool", "int", "float")
_PlainLoader.yaml_implicit_resolvers = {
    sign: [(tag, pattern) for tag, pattern in known if tag.rpartition(":")[2] in _PLAIN]
    for sign, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_PlainLoader.add_constructor("tag:yaml.org,2002:int", _PlainLoader.construct_integer)
_PlainLoader.add_constructor("tag:yaml.org,2002:float", _PlainLoader.construct_finite)


def _refusal(problem: str, mark: Any) -> ConstructorError:
    return ConstructorError(None, None, problem, mark)


def _no_constant(text: str) -> float:
    raise ValueError(f"expected a finite number, got {text}")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"expected a finite number, got {text[:80]}")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"expected the name {key[:80]!r} once, got it again")
        found[key] = value
    return found
