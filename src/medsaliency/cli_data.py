"""The commands of data: ``medsaliency data check`` and ``data fetch``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from medsaliency.progress import bars, loading
from medsaliency.terminal import out, print_findings, print_problems

data_app = typer.Typer(help="Look at data before a model does.", no_args_is_help=True)
Query = Annotated[
    list[str] | None,
    typer.Option("--query", metavar="KEY=VALUE", help="Keyword of a DICOM attribute and its value; repeatable."),
]
Limit = Annotated[int, typer.Option(min=1, help="Most images; more matches are an error.")]


@data_app.command("check", epilog="Example: medsaliency data check ../data/brain-mri")
def data_check(
    source: Annotated[Path, typer.Argument(help="Manifest, or folder in one of the known layouts.")],
    kind: Annotated[
        str | None, typer.Option(help="manifest, folder, dicom, medmnist, figshare or radiography.")
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="NAME=VALUE", help="Option of the source, as in data.options; repeatable."),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="JSON file for everything that was found.")] = None,
) -> None:
    """Report what a model would trip over: counts, sizes, unreadable files, duplicates, leaks between splits."""
    with loading():
        from medsaliency.data import open_source
        from medsaliency.data.check import check
        from medsaliency.study.config import parse_options
        from medsaliency.study.store import write_text

    findings = check(open_source(source, kind, **parse_options(options or [])), track=bars)
    if output is not None:
        write_text(output, json.dumps(findings.to_dict(), indent=2) + "\n")
    print_findings(findings)
    print_problems(findings.notes(), findings.problems())


@data_app.command(
    "fetch", epilog="Example: medsaliency data fetch https://pacs.example/dicom-web --query Modality=DX --output images"
)
def data_fetch(
    url: Annotated[str, typer.Argument(help="DICOMweb archive.")],
    output: Annotated[Path, typer.Option(help="New folder for the images.")],
    query: Query = None,
    limit: Limit = 100,
) -> None:
    """Fetch the images that match a query from an archive, as image-0001.dcm and so on."""
    fetch_images(url, query or [], output, limit)


def fetch_images(url: str, query: list[str], folder: Path, limit: int) -> Path:
    """Fetch images into a folder and say how many came."""
    with loading():
        from medsaliency.study.dicomweb import fetch
        from medsaliency.study.dicomweb_search import parse_query

    fetched = fetch(url, parse_query(query), folder, limit=limit, track=bars)
    out.print(f"Fetched: {len(fetched.paths)} images, {folder}", soft_wrap=True, highlight=False, markup=False)
    for kind, count in sorted(fetched.left_out.items()):
        out.print(f"left out: {kind} ({count})", highlight=False, markup=False)
    return folder
