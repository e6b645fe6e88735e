"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from threadpoolctl import threadpool_limits


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images; a test that needs it is skipped where it is missing, and fails in CI."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(os.environ.get("MEDSALIENCY_DATA", default))
    if not root.is_dir():
        reason = f"no real images at {root}; set MEDSALIENCY_DATA to the folder that holds brain-mri and the others"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return root


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is written into the user's cache, and nothing found there counts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDSALIENCY_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Networks this small run fastest on one thread, and far faster where other processes share the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def _hears_ctrl_c() -> Iterator[None]:
    """Let processes that tests start hear Ctrl-C, also where the tests run in the background and so ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
