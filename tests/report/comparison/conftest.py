import pytest

from medsaliency.report.comparison import Comparison

from .made import build


@pytest.fixture(scope="session")
def comparison() -> Comparison:
    return build()
