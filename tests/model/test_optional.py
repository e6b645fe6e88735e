from __future__ import annotations

import math
import sys

import pytest

from medsaliency.model.optional import optional
from medsaliency.types import MedsaliencyError


def test_a_library_that_is_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "missing_library", None)
    with pytest.raises(MedsaliencyError, match=r"A model needs the extra some: pip install 'medsaliency\[some\]'"):
        optional("missing_library", "some", "A model")


def test_a_library_that_is_there_is_given() -> None:
    assert optional("math", "some", "A model") is math
