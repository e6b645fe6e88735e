"""The command line: parse, call, print. Heavy imports wait until a command needs them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.table import Column, Table

from medsaliency.cli_data import Limit, Query, data_app, fetch_images
from medsaliency.cli_study import demo, study, train, verify
from medsaliency.progress import bars, loading
from medsaliency.terminal import out, print_agreement, print_problems
from medsaliency.types import MedsaliencyError

if TYPE_CHECKING:
    from medsaliency.data.reading import Planes

app = typer.Typer(
    name="medsaliency",
    help="Explain a medical image classifier, and measure how far the explanation can be trusted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data_app, name="data")
for command, example in (
    (demo, "medsaliency demo --output runs/demo"),
    (study, "medsaliency study configs/brain-mri.yaml --data-root ../data/brain-mri --set training.epochs=4"),
    (verify, "medsaliency verify runs/demo"),
    (train, "medsaliency train configs/brain-mri.yaml --data-root ../data/brain-mri --output models/brain"),
):
    app.command(epilog=f"Example: {example}")(command)


def main() -> None:
    """Run the command line; a user's error is one line on standard error and exit code 2."""
    try:
        app()
    except (MedsaliencyError, OSError) as error:
        sys.stderr.write(f"medsaliency: {' '.join(str(error).split())}\n")
        sys.exit(2)


@app.command(epilog="Example: medsaliency doctor runs/demo/model my-images/ --output findings.json")
def doctor(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint, or what else explain takes for one.")],
    data: Annotated[
        Path | None, typer.Argument(help="Images, as data check takes them; with --config the study's if not given.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of a study, for how its images are read.")] = None,
    output: Annotated[Path | None, typer.Option(help="JSON file for everything that was found.")] = None,
) -> None:
    """Find in seconds what would spoil a model's explanations: wrong scaling, lost weights, dead layers, blank maps."""
    with loading():
        from medsaliency.study.doctor import examine_files
        from medsaliency.study.store import write_text

    diagnosis = examine_files(checkpoint, data, config, bars)
    if output is not None:
        write_text(output, json.dumps(diagnosis.to_dict(), indent=2) + "\n")
    out.print(f"{diagnosis.model} on {diagnosis.images} images of {diagnosis.dataset}", highlight=False, markup=False)
    print_problems(diagnosis.notes(), diagnosis.problems())


@app.command(epilog="Example: medsaliency explain scan.png --checkpoint runs/demo/model --methods grad_cam,gradient")
def explain(
    checkpoint: Annotated[
        Path,
        typer.Option(help="Checkpoint or run folder, Hugging Face folder, MONAI bundle, .onnx file, or xrv:WEIGHTS."),
    ],
    images: Annotated[
        list[Path] | None, typer.Argument(help="Image files of any known format, or folders of DICOM files.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for figures and maps.")] = Path("explanations"),
    qido: Annotated[
        str | None, typer.Option(metavar="URL", help="DICOMweb archive whose images are fetched into OUTPUT/originals.")
    ] = None,
    query: Query = None,
    limit: Limit = 100,
    methods: Annotated[
        str | None, typer.Option(help="Names, separated by commas; all that need no extra if not given.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="Class explained; the predicted one if not given.")] = None,
    against: Annotated[str | None, typer.Option(help="Explain why not this class: the difference of logits.")] = None,
    probability: Annotated[bool, typer.Option("--probability", help="Explain the probability, not the logit.")] = False,
    target_layer: Annotated[str | None, typer.Option(help="Layer that CAM methods read.")] = None,
    list_layers: Annotated[
        bool, typer.Option("--describe-layers", help="Only say which layers CAM methods could read, and which they do.")
    ] = False,
    tune: Annotated[bool, typer.Option("--tune", help="Measure first how the model runs fastest here.")] = False,
    exact: Annotated[bool, typer.Option("--exact", help="With --tune: stay with float32.")] = False,
    window: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="CENTER WIDTH", help="Of the file's units; the checkpoint's or the file's if not given."),
    ] = None,
    plane: Annotated[int | None, typer.Option(min=0, help="Number of the slice or frame, from 0.")] = None,
    planes: Annotated[str | None, typer.Option(help="all or middle: which slices or frames of a file.")] = None,
    seed: Annotated[int, typer.Option(help="Of methods that draw.")] = 0,
) -> None:
    """Explain images: for each a PNG figure, its maps on its own pixels (.npz), and what these are of (.json)."""
    if bool(images) == (qido is not None):
        raise MedsaliencyError("explain: expected image files, or --qido with --query KEY=VALUE, and not both")
    if query and qido is None:
        raise MedsaliencyError("explain: expected --qido URL with --query, got none; name the archive")
    with loading():
        from medsaliency.study.files import describe_layers, explain_files, what_is_asked

    if qido is not None:
        if list_layers:
            raise MedsaliencyError(
                "explain: expected an image file with --describe-layers, got --qido; fetch one first"
            )
        # Before patients' images are fetched for nothing.
        what_is_asked(checkpoint, _names(methods), target, against, probability, target_layer)
        images = [fetch_images(qido, query or [], output / "originals", limit)]
    assert images  # noqa: S101  # one of both was given
    if list_layers:
        table = Table("", "layer", "kind", "feature maps", "grid", "why")
        for layer in describe_layers(images[0], checkpoint):
            grid = " x ".join(map(str, layer.grid)) if layer.channels else ""
            count = str(layer.channels or "")
            table.add_row("*" if layer.chosen else "", layer.name, layer.kind, count, grid, layer.why)
        out.print(table)
        out.print("* read by CAM methods unless --target-layer names another", highlight=False)
        return
    written = explain_files(
        images,
        checkpoint,
        output,
        methods=_names(methods),
        target=target,
        against=against,
        probability=probability,
        target_layer=target_layer,
        tune=tune,
        exact=exact,
        seed=seed,
        window=window,
        plane=plane,
        planes=cast("Planes | None", planes),
        track=bars,
    )
    for one in written:
        out.print(f"{one.figure}  {one.maps}  {one.prediction}", soft_wrap=True, highlight=False, markup=False)


@app.command(epilog="Example: medsaliency report runs/demo --format html,pdf,md")
def report(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    formats: Annotated[str, typer.Option("--format", help="html, pdf, md, or several, separated by commas.")] = "html",
    cases: Annotated[int | None, typer.Option(help="Images shown one by one; as the study says if not given.")] = None,
    others: Annotated[
        list[Path] | None,
        typer.Option("--with", metavar="RUN", help="Run of a network trained anew on the same data; repeatable."),
    ] = None,
    figures: Annotated[bool, typer.Option(help="Also write figures/ and tables/ for papers.")] = True,
) -> None:
    """Make a run's statistics and report again, from its tables and maps alone."""
    with loading():
        from medsaliency.study.ledger import seal, sealed, unseal
        from medsaliency.study.lock import locked
        from medsaliency.study.networks import keep_networks
        from medsaliency.study.reporting import formats_of, write_report
        from medsaliency.study.results import write_statistics
        from medsaliency.study.store import Store
        from medsaliency.study.verify import require_sound

    wanted = formats_of(formats)
    store = Store.open(run)
    with locked(run):
        require_sound(store)
        finished = sealed(store) is not None
        unseal(store)
        try:
            if others:
                keep_networks(store, others, bars)
            steps: list[Callable[[Store], object]] = [
                write_statistics,
                partial(write_report, formats=wanted, cases=cases, figures=figures),
            ]
            for finish in bars(steps, "statistics and report", len(steps)):
                finish(store)
        finally:
            if finished:  # else its tables may not be those of its shards; each file is written whole, or not at all
                seal(store)
    for name in wanted:
        out.print(f"Report: {(run / f'report.{name}').resolve()}", soft_wrap=True)
    if figures:
        out.print(f"Figures and tables: {run / 'figures'}, {run / 'tables'}", soft_wrap=True)


@app.command(epilog="Example: medsaliency compare runs/seed-0 runs/seed-1 --output comparison.html")
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Folders of two or more finished runs.")],
    output: Annotated[Path, typer.Option(help="HTML file; a CSV file is written beside it.")] = Path("comparison.html"),
) -> None:
    """Put the models, methods and trust cards of several runs side by side."""
    with loading():
        from medsaliency.report.comparison import overview
        from medsaliency.study.compare import compare_runs, write_comparison

    comparison = compare_runs(runs)
    page, table = write_comparison(comparison, output)
    for letter, name in comparison.runs.items():
        out.print(f"{letter}: {name}", highlight=False, markup=False)
    title, heads, rows = overview(comparison)
    shown = Table(*(Column(head, no_wrap=True) for head in heads), title=title, box=None, padding=(0, 1, 0, 0))
    for row in rows:
        shown.add_row(*row)
    out.print(shown)
    out.print(f"Comparison: {page.resolve()}", soft_wrap=True)
    out.print(f"Table: {table.resolve()}", soft_wrap=True)


@app.command(epilog="Example: medsaliency agreement runs/seed-0 runs/seed-1 --output agreement.csv")
def agreement(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Folders of two or more finished runs of the same data.")
    ],
    output: Annotated[Path | None, typer.Option(help="CSV file for the table.")] = None,
) -> None:
    """Measure how far networks trained anew, or of other architectures, have the same maps of the same images."""
    with loading():
        from medsaliency.report.spreadsheet import csv_text
        from medsaliency.study.agreement import compare_runs, left_aside, open_runs
        from medsaliency.study.store import write_text

    opened = open_runs(runs)
    table = compare_runs(opened, bars)
    if output is not None:
        write_text(output, csv_text(table))
    for kind, rows in table.groupby("kind", sort=False):
        print_agreement(str(kind), rows, opened[0].study.statistics.level)
    out.print("Two images: the same measure between one network's maps of different images.", highlight=False)
    for note in left_aside(opened):
        out.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)


@app.command(epilog="Example: medsaliency methods")
def methods() -> None:
    """List the attribution methods with their parameters."""
    from medsaliency.attribution import CONTROLS, METHODS

    table = Table("method", "parameters and defaults", "what it is", show_lines=False)
    for name, factory in METHODS.items():
        first = (factory.__doc__ or "").strip().splitlines()[0]
        table.add_row(name + (" (control)" if name in CONTROLS else ""), _parameters(factory()), first)
    out.print(table)


@app.command(epilog="Example: medsaliency metrics")
def metrics() -> None:
    """List the metrics with their measures and parameters."""
    from medsaliency.evaluation import METRICS

    table = Table("metric", "measure", "better", "range", "what it is")
    for name, factory in METRICS.items():
        metric = factory()
        for measure in metric.measures:
            bounds = f"{measure.bounds[0]:g} to {measure.bounds[1]:g}"
            better = "higher" if measure.higher_is_better else "lower"
            table.add_row(name, measure.name, better, bounds, measure.description)
    out.print(table)


@app.command(epilog="Example: medsaliency models densenet")
def models(
    part: Annotated[str, typer.Argument(help="Show only names that contain this.")] = "",
) -> None:
    """List the architectures: the demo's, the paper's nine, MONAI's and all of timm's."""
    from medsaliency.model.zoo import PAPER, architectures

    found = [name for name in architectures() if part.lower() in name.lower()]
    if not found:
        raise MedsaliencyError(f"no architecture's name contains {part!r}; run `medsaliency models` for all")
    for name in found:
        out.print(name + ("  (of the paper)" if name in PAPER else ""), highlight=False)


@app.command(epilog="Example: medsaliency export runs/demo --nifti --output exports")
def export(
    source: Annotated[
        Path, typer.Argument(metavar="RUN_OR_MAPS", help="Folder of a finished run, or one that explain has written.")
    ],
    dicom: Annotated[
        bool, typer.Option("--dicom", help="DICOM objects beside the original images, which they reference.")
    ] = False,
    nifti: Annotated[bool, typer.Option("--nifti", help="NIfTI files on the original images' grids.")] = False,
    output: Annotated[Path, typer.Option(help="Folder for the exports.")] = Path("exports"),
    methods: Annotated[
        str | None, typer.Option(help="Names, separated by commas; all that are no controls if not given.")
    ] = None,
    images: Annotated[str | None, typer.Option(help="Samples, separated by commas; all if not given.")] = None,
    threshold: Annotated[float, typer.Option(help="Share of a map's pixels, the highest, that are segmented.")] = 0.1,
    de_identify: Annotated[
        bool, typer.Option("--de-identify", help="Apply the basic profile of DICOM PS3.15, into a new folder.")
    ] = False,
    data_root: Annotated[Path | None, typer.Option(help="Where the original images lie, if they have moved.")] = None,
    stow: Annotated[
        str | None, typer.Option(metavar="URL", help="DICOMweb archive in which the DICOM objects are stored.")
    ] = None,
) -> None:
    """Take maps out: as DICOM objects beside the original images, or as NIfTI on their grids."""
    with loading():
        from medsaliency.study.exporting import export as export_maps

    if stow is not None and not dicom:
        raise MedsaliencyError("export: expected --dicom with --stow, which stores DICOM objects; add it")
    written = export_maps(
        source,
        output,
        dicom=dicom,
        to_nifti=nifti,
        methods=_names(methods),
        images=_names(images),
        threshold=threshold,
        de_identify=de_identify,
        data_root=data_root,
        track=bars,
    )
    for path in written:
        out.print(str(path), soft_wrap=True, highlight=False, markup=False)
    if stow is not None:
        _store([path for path in written if path.suffix == ".dcm"], stow)


def _store(files: list[Path], url: str) -> None:
    """Store exported objects in an archive and say how many it took."""
    with loading():
        from medsaliency.study.dicomweb import push

    pushed = push(files, url, track=bars)
    for warning in pushed.warnings:
        out.print(f"note: {warning}", highlight=False, markup=False, soft_wrap=True)
    out.print(f"Stored: {pushed.stored} objects", highlight=False)


def _names(text: str | None) -> list[str] | None:
    """Names separated by commas."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _parameters(instance: object) -> str:
    text = repr(instance)
    return text[text.index("(") + 1 : -1]
