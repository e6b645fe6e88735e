"""The commands that run a study, train its model, and see whether its folder is whole."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from medsaliency.progress import bars, loading
from medsaliency.terminal import out, print_accuracy, print_end, print_failures
from medsaliency.types import MedsaliencyError

if TYPE_CHECKING:
    from medsaliency.study.config import Study
    from medsaliency.study.engines import Engine
    from medsaliency.study.failures import Failure
    from medsaliency.study.store import Store

Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Override a field of the configuration; repeatable."),
]
DataRoot = Annotated[Path | None, typer.Option(help="Folder or file of the images; sets data.root.")]
Seed = Annotated[int | None, typer.Option(help="Sets seed.")]
FAILURES, INTERRUPTED = 3, 130
"""Exit codes of a study that is finished though something failed in it, and of one that was stopped."""


def _run_to_the_end(
    study: Study,
    output: Path,
    engine: Engine,
    *,
    strict: bool = False,
    profile: bool = False,
    after: Callable[[Store], str] | None = None,
) -> None:
    """Run a study and say how it went; the process ends with a code where something failed or it was stopped.

    Args:
        study: Its configuration.
        output: Its folder.
        engine: Has the workers.
        strict: Whether the first failure ends it.
        profile: Whether traces are written.
        after: Called with the finished run; gives the id under which it is known elsewhere.
    """
    from medsaliency.study.pipeline import Stopped, run_study

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what ends jobs of a cluster is answered like Ctrl-C
    try:
        store = run_study(study, output, bars, engine=engine, strict=strict, profile=profile)
    except Stopped as error:
        sys.stderr.write(f"medsaliency: {error}\n")
        sys.exit(INTERRUPTED)
    print_end(store)
    if after is not None:
        out.print(f"MLflow run: {after(store)}", highlight=False)
    if print_failures(store):
        sys.exit(FAILURES)


def demo(
    output: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/demo"), seed: Seed = None
) -> None:
    """Make the sandbox, train a small network, explain it with every method, evaluate, and write a report."""
    with loading():
        from medsaliency.study.config import load_study
        from medsaliency.study.engines import make_engine

    _run_to_the_end(load_study(None, seed=seed), output, make_engine("local"))


def study(
    config: Annotated[Path, typer.Argument(help="YAML file; see configs/.")],
    data_root: DataRoot = None,
    output: Annotated[Path | None, typer.Option(help="Folder of the run; runs/NAME if not given.")] = None,
    seed: Seed = None,
    overrides: Overrides = None,
    engine: Annotated[Literal["local", "ray"], typer.Option(help="Who has the workers.")] = "local",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Most workers; one a core, or two a GPU, if not given.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Of a Ray cluster; with --engine ray one is started here if not given.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first thing that fails.")] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Write traces of where the time goes into OUTPUT/profile.")
    ] = False,
    mlflow: Annotated[
        str | None, typer.Option(metavar="URI", help="Log the finished study to this MLflow server.")
    ] = None,
) -> None:
    """Run a study, or go on with it where it stopped: train, explain, evaluate, compare, report.

    Exit codes: 0 where all is well, 2 for an error, 3 where the study is finished but something failed for some image,
    130 where it was stopped by Ctrl-C.
    """
    if address is not None and engine != "ray":
        raise MedsaliencyError("study: expected --engine ray with --address, got none; add it, or leave --address out")
    with loading():
        from medsaliency.study.config import load_study
        from medsaliency.study.engines import make_engine
        from medsaliency.study.mlflow_tracking import check_server, log_study

    root = None if data_root is None else str(data_root.resolve())
    settings = load_study(config, overrides or [], **{"data.root": root, "seed": seed})
    after = None
    if mlflow is not None:
        check_server(mlflow)  # before the hours that the study may take
        after = partial(log_study, uri=mlflow, experiment="medsaliency")
    _run_to_the_end(
        settings,
        output or Path("runs") / settings.name,
        make_engine(engine, workers, address),
        strict=strict,
        profile=profile,
        after=after,
    )


def verify(run: Annotated[Path, typer.Argument(help="Folder of a run.")]) -> None:
    """Read every file of a run and see that it is as it was written, and that none is missing; exit code 1 if not."""
    with loading():
        from medsaliency.study.verify import verify as look

    verdict = look(run, bars)
    for line in verdict.lines():
        out.print(line, highlight=False, markup=False, soft_wrap=True)
    if not verdict.whole:
        sys.exit(1)


def train(
    config: Annotated[Path, typer.Argument(help="YAML file of a study; its data, model and training are used.")],
    output: Annotated[Path, typer.Option(help="New folder for the checkpoint.")],
    data_root: DataRoot = None,
    seed: Seed = None,
    overrides: Overrides = None,
) -> None:
    """Train a classifier and save its checkpoint: weights as safetensors, the rest as JSON."""
    with loading():
        from medsaliency.data.splits import split_table
        from medsaliency.report.spreadsheet import csv_text
        from medsaliency.study.classifier import train_model
        from medsaliency.study.config import load_study
        from medsaliency.study.failures import as_rows
        from medsaliency.study.reading import load_data
        from medsaliency.study.results import measure
        from medsaliency.study.store import write_text

    if output.exists():
        raise MedsaliencyError(f"{output}: expected a new folder for the checkpoint, it exists; name another")
    root = None if data_root is None else str(data_root.resolve())
    settings = load_study(config, overrides or [], **{"data.root": root, "seed": seed})
    dataset = load_data(settings)
    failures: list[Failure] = []
    tables = train_model(settings, dataset, output, bars, failures.append)
    print_accuracy(measure(settings, tables["predictions"], dataset.classes))
    write_text(output / "splits.csv", csv_text(split_table(dataset)))
    out.print(f"Checkpoint: {output}", soft_wrap=True)
    failures += as_rows(tables["failures"])
    for failure in failures:
        out.print(f"failed: {failure}", highlight=False, markup=False, soft_wrap=True)
    if failures:
        sys.exit(FAILURES)
