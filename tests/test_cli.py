import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from medsaliency import cli
from medsaliency.cli import app
from medsaliency.model.checkpoint import save
from medsaliency.model.classifier import Classifier
from medsaliency.model.zoo import build

COMMANDS = (
    ["demo"], ["study"], ["train"], ["doctor"], ["explain"], ["export"], ["report"], ["compare"], ["agreement"],
    ["data", "check"], ["data", "fetch"], ["methods"], ["metrics"], ["models"],
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command in an empty folder, in this process so that libraries are loaded once."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["medsaliency", *arguments])
        monkeypatch.setattr(cli, "out", Console(width=200))
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        shown = capsys.readouterr()
        return Result(code, shown.out, shown.err)

    return call


def write_images(folder: Path, per_class: int = 12, size: int = 48) -> None:
    """Two classes that differ in brightness."""
    rng = np.random.default_rng(0)
    for k, name in enumerate(("dark", "bright")):
        (folder / name).mkdir(parents=True)
        for i in range(per_class):
            pixels = rng.integers(0, 100, (size, size)) + 120 * k
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{name}{i:02d}.png")


def test_the_installed_command_exits_with_two_on_a_user_error(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("medsaliency")
    done = subprocess.run([command, "models", "resnot"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert done.stderr.startswith("medsaliency: no architecture's name contains 'resnot'")
    assert done.stdout == ""


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert "Example: medsaliency " + " ".join(command) in re.sub(r"\s+", " ", result.output)


def test_lists_name_every_method_metric_and_architecture() -> None:
    for command, names in (("methods", ("score_cam", "random")), ("metrics", ("sic_webp", "lesion_auprc"))):
        text = CliRunner().invoke(app, [command], env={"COLUMNS": "200"}).output
        assert all(name in text for name in names)
    text = CliRunner().invoke(app, ["models", "xception"]).output
    assert "legacy_xception" in text
    assert "xception  (of the paper)" in text


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--methods", "gradcam"], "did you mean 'grad_cam'"),
        (["--describe-layers"], "expected an image file with --describe-layers"),
        (["scan.png"], "expected image files, or --qido with --query KEY=VALUE, and not both"),
    ],
)
def test_nothing_is_fetched_from_an_archive_for_a_call_that_cannot_be(
    run: Run, tmp_path: Path, more: list[str], said: str
) -> None:
    classifier = Classifier(build("small_cnn", classes=2), ["a", "b"], size=32)
    save(classifier, tmp_path / "model", architecture="small_cnn")
    done = run("explain", "--checkpoint", "model", "--qido", "http://127.0.0.1:9/dicom-web", *more)
    assert done.code == 2
    assert said in done.err
    assert not (tmp_path / "explanations").exists()


def test_a_study_of_ones_own_folder_then_explain_report_and_train(run: Run, tmp_path: Path) -> None:
    write_images(tmp_path / "images")
    (tmp_path / "own.yaml").write_text(
        "name: own\ndata: {source: folder, size: 48}\ntraining: {epochs: 3, batch_size: 8}\n"
        "explain: {images: 4, methods: [gradient, grad_cam, random]}\nstatistics: {draws: 100}\n"
    )
    done = run("study", "own.yaml", "--data-root", "images", "--set", "training.learning_rate=0.005")
    assert done.code == 0, done.err
    assert "Accuracy on" in done.out
    assert "runs/own/report.html" in done.out.replace("\n", "")
    assert (tmp_path / "runs/own/scores.parquet").is_file()
    report = tmp_path / "runs/own/report.html"
    report.unlink()
    assert run("report", "runs/own").code == 0
    assert report.stat().st_size > 10_000
    done = run("explain", "images/bright/bright00.png", "--checkpoint", "runs/own", "--methods", "gradient, grad_cam")
    assert done.code == 0, done.err
    assert {p.name for p in (tmp_path / "explanations").iterdir()} == {"bright00.png", "bright00.npz", "bright00.json"}
    done = run("train", "own.yaml", "--data-root", "images", "--output", "model")
    assert done.code == 0, done.err
    assert {p.name for p in (tmp_path / "model").iterdir()} == {"model.safetensors", "model.json", "splits.csv"}
    again = run("study", "own.yaml", "--data-root", "images", "--set", "seed=9")
    assert again.code == 2
    assert "another study (it differs in seed" in again.err


def test_runs_of_two_seeds_are_compared(run: Run, tmp_path: Path) -> None:
    write_images(tmp_path / "images")
    (tmp_path / "own.yaml").write_text(
        "name: own\ndata: {source: folder, size: 48}\ntraining: {epochs: 1, batch_size: 8}\n"
        "explain: {images: 4, target: label, tune: false}\nevaluate: {metrics: [gini]}\nstatistics: {draws: 100}\n"
    )
    for seed in "01":
        chosen = (f"training.seed={seed}", f"explain.methods=[{'edge, ' * (seed == '0')}random, gradient]")
        done = run("study", "own.yaml", "--data-root", "images", "--output", seed, *(f"--set={one}" for one in chosen))
        assert done.code == 0, done.err
    done = run("agreement", "0", "1", "--output", "tables/agreement.csv")
    assert done.code == 0, done.err
    table = pd.read_csv(tmp_path / "tables/agreement.csv")
    assert list(table.columns) == [
        *("kind", "method", "measure", "images", "pairs", "mean", "low", "high"),
        *("between_images", "left_out", "reason"),
    ]
    assert table["method"].tolist() == ["gradient"] * 3 + ["random"] * 3
    assert (table["images"] == 4).all()
    first = table.iloc[0]
    shown = f"{first['mean']:.3f} [{first['low']:.3f}, {first['high']:.3f}]".replace("-", "−")
    assert shown in done.out
    assert "Repeatability, 1 pair of runs" in done.out
    assert done.out.count("Gradient") == done.out.count("Random") == 1
    assert "note: not in every run, so not compared: edge" in done.out
    assert "1.000 [no spread]" in done.out


@pytest.fixture
def checkpoint_and_scan(tmp_path: Path) -> None:
    """An untrained network in ``m`` and an image ``scan.png``."""
    from medsaliency.model import checkpoint
    from medsaliency.model.classifier import Classifier
    from medsaliency.model.zoo import build

    checkpoint.save(
        Classifier(build("small_cnn", classes=2), ["dark", "bright"], size=48), tmp_path / "m", architecture="small_cnn"
    )
    pixels = np.random.default_rng(0).integers(0, 255, (48, 40), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "scan.png")


def test_layers_are_described_and_nothing_is_written(run: Run, tmp_path: Path, checkpoint_and_scan: None) -> None:
    done = run("explain", "scan.png", "--checkpoint", "m", "--describe-layers")
    assert done.code == 0, done.err
    rows = [re.split(r"\s*[│┃]\s*", line)[1:5] for line in done.out.splitlines() if "│" in line]
    named = {row[1]: row for row in rows if row[1]}
    assert [name for name, row in named.items() if row[0] == "*"] == ["stage3"]
    assert named["stage1"] == ["", "stage1", "_Block", "32"]
    assert "12 x 12" in done.out
    assert "--target-layer" in done.out
    assert not (tmp_path / "explanations").exists()


def test_a_contrast_is_explained_and_the_measurement_kept(
    run: Run, tmp_path: Path, checkpoint_and_scan: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDSALIENCY_CACHE", str(tmp_path / "cache"))
    command = ("explain", "scan.png", "--checkpoint", "m", "--methods", "gradient", "--target", "bright")

    def gradient(output: str, *options: str) -> np.ndarray:
        done = run(*command, "--output", output, *options)
        assert done.code == 0, done.err
        return np.asarray(np.load(tmp_path / output / "scan.npz")["gradient"])

    bright, dark = gradient("bright"), gradient("dark", "--target", "dark")
    np.testing.assert_allclose(gradient("contrast", "--against", "dark"), bright - dark, atol=1e-6)
    # Of two classes' probabilities one rises as the other falls, along the contrast.
    probability = gradient("probability", "--probability")
    assert np.corrcoef(probability.ravel(), (bright - dark).ravel())[0, 1] == pytest.approx(1, abs=1e-4)
    assert not (tmp_path / "cache").exists()
    np.testing.assert_allclose(gradient("tuned", "--tune", "--exact"), bright, atol=1e-6)
    (file,) = (tmp_path / "cache/tuning").iterdir()
    assert json.loads(file.read_text())["exact"] is True


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--against", "dark", "--probability"], "expected a probability or a contrast to be explained, got both"),
        (["--target", "dark", "--against", "dark"], "expected two classes to contrast, got 'dark' twice"),
        (["--against", "drak"], "unknown class 'drak'; did you mean 'dark'?"),
        (["--output", "."], "scan.png would replace the image"),
    ],
)
def test_what_cannot_be_explained_is_one_line(
    run: Run, tmp_path: Path, checkpoint_and_scan: None, options: list[str], message: str
) -> None:
    before = sorted(tmp_path.rglob("*"))
    done = run("explain", "scan.png", "--checkpoint", "m", "--methods", "edge", *options)
    assert done.code == 2
    (line,) = done.err.splitlines()
    assert line.startswith("medsaliency: ")
    assert message in line
    assert sorted(tmp_path.rglob("*")) == before


def _bad_manifest(folder: Path, text: str) -> None:
    write_images(folder, per_class=3)
    (folder / "manifest.csv").write_text(text)


def _weights(folder: Path, bias: float = 0.0) -> None:
    import torch

    from medsaliency.model import checkpoint
    from medsaliency.model.classifier import Classifier
    from medsaliency.model.zoo import build

    module = build("small_cnn", classes=2)
    with torch.no_grad():
        module.head[2].bias.fill_(bias)  # type: ignore[index, union-attr, operator]
    checkpoint.save(Classifier(module, ["a", "b"], size=48), folder, architecture="small_cnn")


def _masked_manifest(folder: Path) -> None:
    write_images(folder)
    Image.new("1", (20, 20)).save(folder / "mask.png")
    rows = [f"{c}/{c}{i:02d}.png,{c},mask.png" for c in ("dark", "bright") for i in range(12)]
    (folder / "manifest.csv").write_text("image,label,mask\n" + "\n".join(rows) + "\n")


def _five_channels(path: Path) -> None:
    tifffile.imwrite(path, np.zeros((48, 48, 5), np.uint8), photometric="minisblack")


def _nan_image(path: Path) -> None:
    Image.fromarray(np.full((48, 48), np.nan, dtype=np.float32)).save(path)


def _rename_architecture(folder: Path) -> None:
    text = (folder / "model.json").read_text()
    (folder / "model.json").write_text(text.replace("small_cnn", "resnet10t"))


ROWS = "image,label\n" + "".join(f"{c}/{c}{i:02d}.png,{c}\n" for c in ("dark", "bright") for i in range(3))
BAD: dict[str, tuple[Callable[[Path], object], list[str], str]] = {
    "no manifest": (lambda _: None, ["data", "check", "none"], "no such file or folder"),
    "empty manifest": (
        lambda p: _bad_manifest(p / "d", "image,label\n"), ["data", "check", "d"], "manifest.csv"),
    "label with one image": (
        lambda p: _bad_manifest(p / "d", ROWS + "dark/dark00.png,rare\n".replace("dark00", "dark02x")),
        ["data", "check", "d"], "'rare'"),
    "unreadable image": (
        lambda p: (write_images(p / "d"), (p / "d/dark/dark03.png").write_bytes(b"not an image")),
        ["study", "c.yaml", "--data-root", "d", "--strict"], "dark/dark03.png: expected an image"),
    "unknown architecture": (
        lambda p: write_images(p / "d"),
        ["study", "c.yaml", "--data-root", "d", "--set", "model.architecture=resnet81"], "did you mean 'resnet18'"),
    "unknown method": (
        lambda _: None, ["study", "c.yaml", "--set", "explain.methods=[grad_camp]"], "did you mean 'grad_cam'"),
    "unknown layer": (
        lambda p: write_images(p / "d"),
        ["study", "c.yaml", "--data-root", "d", "--set", "model.target_layer=stage7"], "unknown layer 'stage7'"),
    "mask of another size": (
        lambda p: _masked_manifest(p / "d"),
        ["study", "c.yaml", "--data-root", "d", "--set", "data.source=manifest"], "lesion mask of the image's size"),
    "image of five channels": (
        lambda p: (write_images(p / "d"), _five_channels(p / "d/dark/dark03.png")),
        ["study", "c.yaml", "--data-root", "d", "--strict"], "dark/dark03.png"),
    "NaN in the image": (
        lambda p: (write_images(p / "d"), _nan_image(p / "d/dark/dark03.tif")),
        ["study", "c.yaml", "--data-root", "d", "--strict"], "NaN or infinity"),
    "weights of another architecture": (
        lambda p: (_weights(p / "m"), _rename_architecture(p / "m")),
        ["explain", "c.yaml", "--checkpoint", "m"], "the weights do not fit the architecture"),
    "output of something else": (
        lambda p: write_images(p / "d"),
        ["study", "c.yaml", "--data-root", "d", "--output", "d"], "exists and is not a run of a study"),
    "no data root": (lambda _: None, ["study", "c.yaml", "--set", "data.source=folder"], "--data-root"),
    "not a checkpoint": (
        lambda p: write_images(p / "d"), ["explain", "d/dark/dark00.png", "--checkpoint", "d"], "a checkpoint folder"),
    "NaN in the weights": (
        lambda p: (write_images(p / "d"), _weights(p / "m", float("nan"))),
        ["explain", "d/dark/dark00.png", "--checkpoint", "m"], "expected finite"),
    "missing image to explain": (
        lambda p: _weights(p / "m"), ["explain", "none.png", "--checkpoint", "m"], "none.png: no such image file"),
    "no such run": (lambda _: None, ["report", "runs/none"], "expected the folder of a finished study"),
    "one run only": (lambda _: None, ["agreement", "runs/one"], "expected two runs or more, got 1"),
    "unknown model": (lambda _: None, ["models", "resnot"], "no architecture's name contains 'resnot'"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_exit_code_two_and_leaves_nothing(case: str, run: Run, tmp_path: Path) -> None:
    prepare, arguments, message = BAD[case]
    (tmp_path / "c.yaml").write_text(
        "name: c\ndata: {source: folder, size: 48}\ntraining: {epochs: 1, batch_size: 4}\n"
    )
    prepare(tmp_path)
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    result = run(*arguments)
    assert result.code == 2, result.out + result.err
    lines = [line for line in result.err.splitlines() if line.startswith("medsaliency: ")]
    assert len(lines) == 1, result.err
    assert message in lines[0]
    assert "Traceback" not in result.err
    left = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert left == set()
    assert not (tmp_path / "runs" / "c").exists()


def test_data_check_reports_counts_and_problems(run: Run, tmp_path: Path) -> None:
    write_images(tmp_path / "d")
    (tmp_path / "d/dark/copy.png").write_bytes((tmp_path / "d/bright/bright00.png").read_bytes())
    Image.new("L", (48, 48), 7).save(tmp_path / "d/dark/flat.png")
    (tmp_path / "d/dark/torn.png").write_bytes(b"\x89PNG")
    result = run("data", "check", "d", "--output", "findings.json")
    assert result.code == 0, result.err
    assert "27 images" in result.out
    assert "single value: dark/flat.png" in result.out
    assert "unreadable: dark/torn.png: " in result.out
    assert "identical, other label: bright/bright00.png (none), dark/copy.png (none)" in result.out
    assert json.loads((tmp_path / "findings.json").read_text())["images"] == 27
    assert "problem: pairs of identical images" in result.out
