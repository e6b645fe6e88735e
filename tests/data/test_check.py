import json

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from medsaliency.data import open_source
from medsaliency.data.check import Issue, Pair, check
from medsaliency.data.dataset import Dataset, Raw, Record
from medsaliency.data.dicom.source import dicom
from medsaliency.data.manifest import manifest
from medsaliency.types import MedsaliencyError


def picture(seed, shape=(48, 64)):
    """A smooth 8-bit picture on black, unlike that of any other seed, far from clipped."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 4)
    array = np.interp(noise, (noise.min(), noise.max()), (30, 220)).astype(np.uint8)
    array[:2] = 0
    return array


@pytest.fixture
def write(tmp_path):
    """Writes images given by name, and a manifest of the rows given; opens it."""

    def make(files, rows, header="image,label,split"):
        for name, array in files.items():
            if isinstance(array, bytes):
                (tmp_path / name).write_bytes(array)
            else:
                Image.fromarray(array).save(tmp_path / name)
        (tmp_path / "manifest.csv").write_text("\n".join([header, *rows]) + "\n")
        return manifest(tmp_path)

    return make


def test_a_clean_dataset_has_counts_and_no_problems(write):
    files = {f"{i}.png": picture(i) for i in range(5)}
    rows = ["0.png,x,train,a", "1.png,x,train,a", "2.png,y,train,b", "3.png,y,test,c", "4.png,x,test,d"]
    findings = check(write(files, rows, "image,label,split,patient_id"))
    assert findings.problems() == []
    assert findings.notes() == []
    assert findings.images == 5
    assert findings.counts == {"x": {"training": 2, "evaluation": 1}, "y": {"training": 1, "evaluation": 1}}
    assert findings.patients == {"x": {"training": 1, "evaluation": 1}, "y": {"training": 1, "evaluation": 1}}
    assert (findings.height, findings.width, findings.sizes) == ((48, 48, 48), (64, 64, 64), 1)
    assert findings.channels == {"gray": 5}


def test_sizes_and_kinds_are_counted(write):
    color = np.stack([picture(1, (32, 32)), picture(2, (32, 32)), picture(3, (32, 32))], axis=2)
    stored = np.repeat(picture(4, (40, 100))[..., None], 3, axis=2)
    findings = check(write({"1.png": picture(0), "2.png": color, "3.png": stored}, [f"{i}.png,x," for i in (1, 2, 3)]))
    assert (findings.height, findings.width, findings.sizes) == ((32, 40, 48), (32, 64, 100), 3)
    assert findings.channels == {"gray": 1, "color": 1, "gray stored as color": 1}
    assert any("several kinds" in note for note in findings.notes())
    assert findings.counts == {"x": {"none": 3}}


def test_unreadable_images_are_listed_with_the_reason(write):
    findings = check(write({"1.png": picture(0), "2.png": b"none"}, ["1.png,x,", "2.png,x,", "3.png,x,"]))
    assert [issue.sample for issue in findings.unreadable] == ["2.png", "3.png"]
    assert "expected an image" in findings.unreadable[0].reason
    assert "no such image file" in findings.unreadable[1].reason
    assert findings.problems()[0].startswith("unreadable images: 2, first 2.png: ")


def test_nothing_readable_is_a_finding_and_not_a_crash(write):
    findings = check(write({}, ["1.png,x,", "2.png,x,"]))
    assert len(findings.unreadable) == 2
    assert findings.height is None
    assert findings.near_duplicates.count == 0
    json.dumps(findings.to_dict(), allow_nan=False)


def test_masks_that_do_not_fit_are_told_from_those_that_do(write):
    fits = np.zeros((48, 64), np.uint8)
    fits[5, 5] = 1
    masks = {
        "fits.png": fits,
        "empty.png": fits * 0,
        "full.png": fits * 0 + 1,
        "small.png": fits[:9, :9],
        "cut.png": b"",
    }
    names = [*masks, "missing.png"]
    rows = [f"{i}.png,x,{name}" for i, name in enumerate(names)]
    findings = check(write({f"{i}.png": picture(i) for i in range(6)} | masks, rows, "image,label,mask"))
    assert (findings.masks, findings.empty_masks, findings.unreadable) == (1, 1, ())
    reasons = {issue.sample: issue.reason for issue in findings.bad_masks}
    assert set(reasons) == {"2.png", "3.png", "4.png", "5.png"}
    assert reasons["2.png"] == "covers the whole image"
    assert "(48, 64) (height, width), got (9, 9)" in reasons["3.png"]
    assert "mask cut.png" in reasons["4.png"]
    assert "no such image" in reasons["5.png"]


def test_identical_pixels_are_found_within_and_across_splits_and_labels(write):
    files = {"a.png": picture(0), "b.bmp": picture(0), "c.tif": picture(0), "d.png": picture(1), "e.png": picture(2)}
    rows = ["a.png,x,train", "b.bmp,x,train", "c.tif,y,test", "d.png,y,train", "e.png,y,train"]
    findings = check(write(files, rows))
    assert findings.duplicates_within.closest == (Pair("a.png", "b.bmp", "training", "training", 0),)
    assert findings.duplicates_across.count == 2
    assert findings.duplicates_across.images == {"training": 2, "evaluation": 1}
    assert findings.conflicting.count == 2
    assert findings.near_duplicates.count == 0
    assert len(findings.problems()) == 3


def test_near_duplicates_count_only_where_a_split_parts_them(write):
    base = picture(0, (96, 96))
    dim = (base * 0.8).astype(np.uint8)
    small = np.asarray(Image.fromarray(base).resize((70, 70), Image.Resampling.LANCZOS))
    files = {"a.png": base, "b.png": dim, "c.png": small, "d.png": picture(1, (96, 96))}
    rows = ["a.png,x,train", "b.png,x,train", "c.png,x,test", "d.png,x,test"]
    findings = check(write(files, rows))
    assert findings.near_duplicates.count == 2
    assert findings.near_duplicates.images == {"training": 2, "evaluation": 1}
    assert {(p.first, p.second) for p in findings.near_duplicates.closest} == {("a.png", "c.png"), ("b.png", "c.png")}
    assert check(write(files, rows), distance=64).near_duplicates.count == 4


def test_without_splits_near_duplicates_of_two_patients_count(write):
    base = picture(0, (96, 96))
    files = {"a.png": base, "b.png": (base * 0.8).astype(np.uint8), "c.png": (base * 0.9).astype(np.uint8)}
    rows = ["a.png,x,p", "b.png,x,p", "c.png,x,q"]
    findings = check(write(files, rows, "image,label,patient_id"))
    assert findings.near_duplicates.count == 2
    assert findings.near_duplicates.images == {"none": 3}


def test_blocks_give_what_all_pairs_at_once_give():
    rng = np.random.default_rng(0)
    images = [rng.random((1, 8, 8), dtype=np.float32) for _ in range(1100)]
    records = [Record(str(i), 0, str(i), ("training", "evaluation")[i % 2]) for i in range(len(images))]
    dataset = Dataset("made", ("x",), tuple(records), lambda record: Raw(images[int(record.id)]))
    assert check(dataset, distance=64).near_duplicates.count == 550 * 550
    closest = check(dataset, distance=64).near_duplicates.closest
    assert len(closest) == 20
    assert [p.distance for p in closest] == sorted(p.distance for p in closest)


def test_patients_in_two_splits_are_given_by_image_and_not_by_name(write):
    rows = ["0.png,x,train,Jane", "1.png,x,test,Jane", "2.png,x,test,Jane", "3.png,x,train,Joe"]
    findings = check(write({f"{i}.png": picture(i) for i in range(4)}, rows, "image,label,split,patient_id"))
    assert findings.straddling == (Pair("0.png", "1.png", "training", "evaluation", None),)
    assert "Jane" not in json.dumps(findings.to_dict())


def test_constant_images_are_named_and_are_no_duplicates(write):
    flat = np.full((20, 20), 90, np.uint8)
    findings = check(write({"a.png": flat, "b.png": flat, "c.png": picture(0)}, [f"{n}.png,x,train" for n in "abc"]))
    assert findings.constant == ("a.png", "b.png")
    assert findings.duplicates_within.count == 0
    assert findings.clipped == ()


def test_clipping_is_a_share_of_the_foreground(write):
    half = np.zeros((10, 20), np.uint8)  # half background, of the rest 30 of 100 at the highest value
    half[:, 10:] = np.arange(100).reshape(10, 10) + 50
    half[:3, 10:] = 200
    dataset = write({"a.png": half, "b.png": picture(0)}, ["a.png,x,", "b.png,x,"])
    assert check(dataset).clipped == (Issue("a.png", "30% of the foreground at the highest value"),)
    assert check(dataset, clipped_share=0.31).clipped == ()


def test_progress_is_tracked_and_arguments_are_checked(write):
    dataset = write({"a.png": picture(0), "b.png": picture(1)}, ["a.png,x,", "b.png,x,"])
    seen = []

    def track(items, description, total=None):
        seen.append((description, total))
        return items

    assert check(dataset, track=track).images == 2
    assert seen == [("checking images", 2)]
    for wrong in ({"distance": 65}, {"distance": -1}, {"clipped_share": 0}):
        with pytest.raises(MedsaliencyError, match=r"^check: expected"):
            check(dataset, **wrong)


def test_every_slice_of_a_series_is_asked_for_what_its_header_says(tmp_path, write_dicom):
    for z in range(3):
        write_dicom(
            tmp_path / f"{z}.dcm",
            picture(z),
            SeriesInstanceUID="1.2.3",
            ImagePositionPatient=[0, 0, z],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            PixelSpacing=[1, 1],
            BurnedInAnnotation="YES" if z == 2 else "NO",
            **({"PatientName": "Secret"} if z == 1 else {}),
        )
    findings = check(dicom(tmp_path, volume=True))
    assert findings.unreadable == ()
    assert (findings.dicom.images, findings.dicom.burned_in) == (1, 1)
    assert findings.dicom.identifiers == {"PatientName": 1}


def test_real_brain_slices_have_near_duplicates_across_splits(real_data):
    brain = open_source(real_data / "brain-mri")
    pituitary = [r for r in brain.records if brain.classes[r.label] == "pituitary"]
    findings = check(brain.with_records(pituitary[::2]))
    assert findings.unreadable == ()
    assert findings.near_duplicates.count > 10
    assert any("near duplicates" in problem for problem in findings.problems())
    assert any("names its patient" in note for note in findings.notes())
