from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from medsaliency.model.weights import fit, read_state_dict
from medsaliency.types import MedsaliencyError


def test_weights_are_found_below_their_usual_keys_and_without_the_prefix_of_data_parallel(tmp_path: Path) -> None:
    state = nn.Linear(2, 3).state_dict()
    wrapped = {"model": {f"module.{name}": value for name, value in state.items()}}
    for content in (state, {"state_dict": state}, wrapped):
        torch.save(content, tmp_path / "weights.pt")
        found = read_state_dict(tmp_path / "weights.pt")
        assert found.keys() == state.keys()
        assert all(torch.equal(found[name], value) for name, value in state.items())


def test_a_network_that_was_pickled_whole_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 3), tmp_path / "weights.pt")
    with pytest.raises(MedsaliencyError, match="cannot be read as a state dict of plain tensors"):
        read_state_dict(tmp_path / "weights.pt")
    (tmp_path / "weights.pt").write_bytes(pickle.dumps(print, protocol=2))
    with pytest.raises(MedsaliencyError, match="cannot be read as a state dict of plain tensors"):
        read_state_dict(tmp_path / "weights.pt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("bias"), r"missing 'bias' and 0 more"),
        (lambda state: state.update(other=torch.zeros(1)), r"unexpected 'other' and 0 more"),
        (lambda state: state.update(bias=torch.zeros(4)), r"'bias' is \(4,\), expected \(3,\)"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_loaded(change: object, message: str) -> None:
    module, state = nn.Linear(2, 3), dict(nn.Linear(2, 3).state_dict())
    before = module.weight.detach().clone()
    change(state)  # type: ignore[operator]
    with pytest.raises(MedsaliencyError, match=f"file.pt: the weights do not fit the architecture.*{message}"):
        fit(module, state, "file.pt")
    assert torch.equal(module.weight, before)


def test_weights_that_fit_are_loaded() -> None:
    module, other = nn.Linear(2, 3), nn.Linear(2, 3)
    fit(module, other.state_dict(), "file.pt")
    assert torch.equal(module.weight, other.weight)
