from dataclasses import replace

import numpy as np
import pytest

from medsaliency.data import geometry as geometries_of
from medsaliency.data import open_source
from medsaliency.data.dataset import Dataset, Raw, Record, prepare
from medsaliency.data.round_trip import MOST_CHAINS, round_trip
from medsaliency.types import MedsaliencyError, Turn

TURN = Turn((2, 0, 1), (True, False, True))


def made(raws: list[Raw]) -> Dataset:
    records = tuple(Record(str(i), 0, str(i)) for i in range(len(raws)))
    return Dataset("made", ("x",), records, lambda record: raws[int(record.id)])


def result(dataset: Dataset, size, fit="pad", channels=1):
    samples = [dataset.sample(record, size, channels, fit) for record in dataset.records]
    return round_trip(dataset, dataset.records, [s.geometry for s in samples], size, channels, fit)


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
@pytest.mark.parametrize(
    ("shape", "size", "more"),
    [
        ((1, 300, 200), 64, {}),
        ((3, 90, 90), 128, {}),
        ((1, 2048, 1500), 48, {"spacing": (0.14, 0.14)}),
        ((1, 100, 60), 64, {"spacing": (1.0, 2.5), "turn": Turn((1, 0), (False, True))}),
        ((1, 20, 64, 48), 32, {"spacing": (4.0, 1.0, 1.2), "turn": TURN}),
        ((1, 40, 64, 48), (16, 32, 32), {}),
    ],
)
def test_markers_come_back_within_a_pixel(shape, size, more, fit):
    found = result(made([Raw(np.zeros(shape, np.float32), **more)]), size, fit)
    assert found.largest <= 1
    assert found.markers >= 3
    assert (found.chains, found.tested, found.sample) == (1, 1, "0")


def test_along_a_side_too_short_for_corners_the_marker_stands_in_the_middle():
    strip = made([Raw(np.zeros((1, 7, 300), np.float32))])
    assert result(strip, 64).markers == 3
    assert result(strip, 64, "crop").markers == 1


def test_images_of_one_way_are_tested_once_and_of_many_ways_a_part():
    raws = [Raw(np.zeros((1, 20 + i // 2, 30), np.float32)) for i in range(2 * MOST_CHAINS + 10)]
    found = result(made(raws), 16)
    assert (found.chains, found.tested) == (MOST_CHAINS + 5, MOST_CHAINS)
    assert set(found.to_dict()) == {"markers", "chains", "tested", "largest", "sample"}


@pytest.mark.parametrize(
    "wrong",
    [
        lambda values: np.flip(values, 0),
        lambda values: np.rot90(values, 2),
        lambda values: np.roll(values, 2, axis=1),
        lambda values: np.zeros_like(values),
        lambda values: np.full_like(values, np.nan),
    ],
)
def test_a_map_that_comes_back_elsewhere_stops_the_study(monkeypatch, wrong):
    true = geometries_of.to_native
    monkeypatch.setattr("medsaliency.data.round_trip.to_native", lambda *given: wrong(true(*given)))
    with pytest.raises(MedsaliencyError, match=r"^0: expected a marker at native pixel \(.*\) to come back within 1"):
        result(made([Raw(np.zeros((1, 40, 50), np.float32))]), 32)


def test_an_image_prepared_in_another_way_than_its_geometry_says_is_found(monkeypatch):
    dataset = made([Raw(np.zeros((1, 40, 50), np.float32))])

    def flipped(*given):
        sample = prepare(*given)
        return replace(sample, image=sample.image[:, ::-1])

    monkeypatch.setattr("medsaliency.data.round_trip.prepare", flipped)
    with pytest.raises(MedsaliencyError, match="come back within 1 pixel"):
        result(dataset, 32)


def test_the_sandbox_is_tested_as_any_source():
    dataset = open_source(kind="sandbox", training=4, evaluation=4, size=64)
    assert result(dataset, 64).largest < 0.01
    assert result(dataset, 32).largest < 0.5
