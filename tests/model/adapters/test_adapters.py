from __future__ import annotations

from pathlib import Path

import pytest

from medsaliency.model.adapters import ADAPTERS, adapter_of


@pytest.mark.parametrize(
    ("files", "place", "expected"),
    [
        ((), "xrv:densenet121-res224-all", "torchxrayvision"),
        (("model.onnx",), "model.onnx", "onnx"),
        ((), "missing/model.ONNX", "onnx"),
        (("bert/config.json",), "bert", "hugging_face"),
        (("bundle/configs/metadata.json",), "bundle", "monai_bundle"),
        (("ours/model.json", "ours/config.json"), "ours", None),
        (("other/weights.pt",), "other", None),
        ((), "nowhere", None),
    ],
)
def test_what_a_place_holds_says_which_adapter_takes_it(
    files: tuple[str, ...], place: str, expected: str | None, tmp_path: Path
) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / file).touch()
    found = adapter_of(place if place.startswith("xrv:") else str(tmp_path / place))
    assert found == (None if expected is None else ADAPTERS[expected])


def test_every_adapter_says_what_it_takes() -> None:
    assert len({adapter.description for adapter in ADAPTERS.values()}) == len(ADAPTERS) == 4
