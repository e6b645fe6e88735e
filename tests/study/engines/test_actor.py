import pickle
import tempfile
from pathlib import Path

import pytest

from medsaliency.model.execution import Execution
from medsaliency.study.engines.actor import Actor, versions
from medsaliency.study.engines.processes import Refused
from medsaliency.study.work import Outcome, Setup, Task


@pytest.fixture
def actor(monkeypatch: pytest.MonkeyPatch) -> Actor:
    """In this process, whose folder for temporary files is put back."""
    monkeypatch.setattr(tempfile, "tempdir", tempfile.gettempdir())
    return Actor()


def test_it_does_tasks_and_leaves_nothing_behind(actor: Actor, setup: Setup, predictions: list[Task]) -> None:
    assert actor.prepare(pickle.dumps(setup.packed()), "cpu", versions()) is None
    folder = Path(tempfile.gettempdir())
    assert list(folder.rglob("model.safetensors"))  # the model's files are in a folder of its own
    outcome = pickle.loads(actor.do(pickle.dumps(predictions[1])))  # noqa: S301
    assert isinstance(outcome, Outcome)
    assert list(outcome.tables["predictions"]["sample"]) == [record.id for record in predictions[1].records]
    actor.leave()
    assert not folder.exists()


def test_other_versions_are_refused_before_anything_is_read(actor: Actor) -> None:
    refused = actor.prepare(b"not even a pickle", "cpu", {**versions(), "torch": "1.0"})
    assert refused is not None
    assert refused.ours
    assert "expected python" in refused.message
    assert "torch 1.0" in refused.message


def test_a_users_error_and_a_fault_of_the_program_are_told_apart(actor: Actor, setup: Setup) -> None:
    assert actor.prepare(pickle.dumps(setup.packed()), "cpu", versions()) is None

    class NoBatch:
        def __reduce__(self) -> tuple[type, tuple[int]]:
            return Execution, (0,)

    ours = pickle.loads(actor.do(pickle.dumps(NoBatch())))  # noqa: S301
    assert isinstance(ours, Refused)
    assert ours.ours
    assert ours.message.startswith("classifier: expected a batch_size")
    fault = pickle.loads(actor.do(b"no pickle"))  # noqa: S301
    assert not fault.ours
    assert "Traceback" in fault.message
    assert "UnpicklingError" in fault.message
