import dataclasses
from pathlib import Path

import pytest

from medsaliency.attribution import PANEL, make_method
from medsaliency.attribution.smoothgrad import SmoothGrad
from medsaliency.study.config import MAGNITUDES, Study, dump_study, load_study, parse_options
from medsaliency.types import MedsaliencyError

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


def test_every_example_configuration_is_valid() -> None:
    assert [path.stem for path in CONFIGS] == [
        *("brain-mri", "breast-ultrasound", "chest-xray", "sandbox-shortcut", "sandbox-volumes"),
    ]
    for path in CONFIGS:
        study = load_study(path, **{"data.root": "somewhere"})
        assert study.name == path.stem
        assert study.data.root == "somewhere"


def test_what_is_saved_is_what_ran(tmp_path: Path) -> None:
    study = load_study(None, ["explain.methods=[gradient, random]", "seed=4"])
    path = tmp_path / "study.yaml"
    path.write_text(dump_study(study))
    assert load_study(path) == study
    assert study.explain.methods == {"gradient": {"sign": "signed"}, "random": {}}
    assert study.evaluate.metrics["evidence_curves"]["placements"] == 6


def test_every_field_can_be_overridden() -> None:
    study = load_study(CONFIGS[0], ["training.epochs=3", "explain.methods.smoothgrad.samples=7", "data.channels=3"])
    assert study.training.epochs == 3
    assert study.data.channels == 3
    assert list(study.explain.methods) == list(load_study(CONFIGS[0]).explain.methods)
    assert study.explain.methods["smoothgrad"] == dataclasses.asdict(SmoothGrad(samples=7, sign="absolute"))


def test_without_names_the_panel_runs_and_ranks_magnitudes_where_methods_are_signed() -> None:
    methods = Study().explain.methods
    assert tuple(methods) == PANEL
    assert set(PANEL) >= MAGNITUDES
    other = {"blurred": {"parameters": {"sign": "absolute"}}, "rise": {"masks": 200}}
    for name, parameters in methods.items():
        changed = {"sign": "absolute"} if name in MAGNITUDES else other.get(name, {})
        assert repr(make_method(name, parameters)) == repr(make_method(name, changed))


def test_what_is_explained_and_how_it_runs_can_be_set() -> None:
    bare = Study().explain
    assert (bare.score, bare.tune, bare.exact) == ("logit", True, False)
    assert (bare.micro_batch, bare.memory_format, bare.precision, bare.gradient_precision) == (None,) * 4
    given = load_study(
        None,
        [
            *("explain.score=contrast", "explain.tune=false", "explain.exact=true", "explain.micro_batch=4"),
            *("explain.memory_format=contiguous", "explain.precision=bfloat16", "explain.gradient_precision=float32"),
        ],
    ).explain
    assert (given.score, given.tune, given.exact) == ("contrast", False, True)
    assert (given.micro_batch, given.memory_format) == (4, "contiguous")
    assert (given.precision, given.gradient_precision) == ("bfloat16", "float32")


def test_one_parameter_of_a_list_of_names_can_be_overridden() -> None:
    study = load_study(None, ["explain.methods=[gradient, smoothgrad]", "explain.methods.smoothgrad.samples=7"])
    assert list(study.explain.methods) == ["gradient", "smoothgrad"]
    assert study.explain.methods["smoothgrad"] == dataclasses.asdict(SmoothGrad(samples=7))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainin.epochs=3", "unknown key 'trainin'; did you mean 'training'?"),
        ("training.epoch=3", "unknown key 'training.epoch'; did you mean 'epochs'?"),
        ("data.siz=3", "unknown key 'data.siz'; did you mean 'size'"),
        (
            "data.size=3",
            "data.size: expected 8 to 2048 pixels a side, or three such numbers (D, H, W) for volumes, got 3",
        ),
        ("data.size=[32,64]", "data.size: expected 8 to 2048 pixels a side, or three such numbers"),
        ("data.fit=squeeze", "data.fit: input should be 'pad', 'crop' or 'stretch'"),
        ("training.epochs=0", "expected epochs, batch_size and patience >= 1"),
        ("training.learning_rate=-1", "learning_rate > 0"),
        ("device=cudda", "'cudda' cannot be used here"),
        ("training.epochs=many", "training.epochs: input should be a valid integer"),
        ("explain.methods=[gradcam]", "unknown method 'gradcam'; did you mean 'grad_cam'"),
        ("explain.methods={smoothgrad: {sample: 3}}", "no parameter 'sample'; did you mean 'samples'?"),
        ("explain.methods={smoothgrad: {samples: few}}", "samples: input should be a valid integer"),
        ("explain.methods={smoothgrad: {samples: 0}}", "expected samples >= 1"),
        ("explain.methods={smoothgrad: {of: score_cam}}", "expected a method that gives every pixel a value"),
        ("explain.methods={gradient: {sign: abs}}", "sign: input should be 'signed', 'absolute' or 'positive'"),
        ("explain.score=margin", "explain.score: input should be 'logit', 'probability' or 'contrast', got 'margin'"),
        ("explain.micro_batch=0", "explain.micro_batch: input should be greater than or equal to 1, got 0"),
        ("statistics.draws=1000000000000", "statistics.draws: input should be less than or equal to 100000"),
        ("statistics.permutations=99999999", "statistics.permutations: input should be less than or equal to 10000000"),
        ("evaluate.repeats=1001", "evaluate.repeats: input should be less than or equal to 1000"),
        ("explain.memory_format=nchw", "explain.memory_format: input should be 'channels_last' or 'contiguous'"),
        ("explain.precision=float16", "explain.precision: input should be 'float32' or 'bfloat16', got 'float16'"),
        ("explain.methods={}", "expected methods as a list of names or a mapping"),
        ("evaluate.metrics=[lesion_auroc]", "unknown metric 'lesion_auroc'; did you mean 'lesion_auprc'"),
        ("data.source=manifesto", "unknown source 'manifesto'; did you mean 'manifest'"),
        ("seed", "expected section.field=value"),
        ("seed=[", "not valid YAML"),
        ("seed.x=1", None),
        ("name=../elsewhere", "name: string should match pattern"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(override: str, message: str | None) -> None:
    with pytest.raises(MedsaliencyError) as caught:
        load_study(None, ["seed=1", override])
    assert "\n" not in str(caught.value)
    assert message is None or message in str(caught.value)


def test_a_missing_or_odd_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MedsaliencyError, match="no such configuration file"):
        load_study(tmp_path / "none.yaml")
    path = tmp_path / "list.yaml"
    path.write_text("- 1\n")
    with pytest.raises(MedsaliencyError, match="expected a mapping"):
        load_study(path)


def test_a_network_is_trained_anew_by_a_seed_of_its_own() -> None:
    assert load_study(None, ["seed=3"]).training_seed == 3
    assert load_study(None, ["seed=3", "training.seed=0"]).training_seed == 0


def test_a_study_does_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Study().seed = 3  # type: ignore[misc]


def test_options_of_a_source_are_parsed_as_yaml() -> None:
    given = parse_options(["volume=true", "window=[40, 400]", " planes = middle"])
    assert given == {"volume": True, "window": [40, 400], "planes": "middle"}
    with pytest.raises(MedsaliencyError, match=r"--option volume: expected NAME=VALUE"):
        parse_options(["volume"])
    with pytest.raises(MedsaliencyError, match=r"--option window=\[: not valid YAML"):
        parse_options(["window=["])
