import pytest

from medsaliency.data.reading import Reading
from medsaliency.types import MedsaliencyError


def test_files_are_read_as_they_are_unless_told_otherwise():
    assert Reading() == Reading(window=None, view="axial", planes=None, volume=False)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"window": (40.0, 0.0)}, r"expected a window as center and width above 0, got \(40.0, 0.0\)"),
        ({"window": (40.0, float("nan"))}, "expected a window"),
        ({"view": "axail"}, "expected a view, got 'axail'; did you mean 'axial'"),
        ({"planes": "middel"}, "expected planes all, middle or lesion, got 'middel'; did you mean 'middle'"),
        ({"planes": "all", "volume": True}, r"expected planes or a volume, got both \(planes 'all'\)"),
    ],
)
def test_what_cannot_be_is_refused(given, message):
    with pytest.raises(MedsaliencyError, match=message):
        Reading(**given)
