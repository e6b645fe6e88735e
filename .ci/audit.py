"""Look every package that medsaliency installs up among the known vulnerabilities (OSV), with pip-audit.

Every package: what the extras and the tests bring along as well, as far as it is installed; pip and what else happens
to lie in the environment is not the project's. Exit codes: 0 no vulnerability, or only accepted ones; 1 a
vulnerability; 3 not audited, because the service cannot be asked (0 with ``--allow-unreachable``).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import requests
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

SERVICE = "https://api.osv.dev/v1/query"
ACCEPTED = Path(__file__).parent / "accepted-vulnerabilities.txt"
KNOWN = ("jinja2", "2.4.1")
"""A release that OSV's documentation gives as an example of a vulnerable one: who finds nothing in it is no OSV."""
VULNERABLE, NOT_AUDITED = 1, 3
SECONDS = 30
"""Of waiting for one answer."""


class NotAuditedError(Exception):
    """The service cannot be asked."""


def installed(root: str) -> tuple[dict[str, str], list[str]]:
    """Walk what a package requires, with all of its extras.

    Args:
        root: The package; it is not among what is returned.

    Returns:
        Version by name, and the names of what is not installed (packages of an extra).
    """
    extras = distribution(root).metadata.get_all("Provides-Extra") or []
    found: dict[str, str] = {}
    missing = set()
    seen: set[tuple[str, str]] = set()
    waiting = [(root, extra) for extra in ["", *extras]]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            package = distribution(name)
        except PackageNotFoundError:
            missing.add(name)
            continue
        found[name] = package.version
        for text in package.requires or []:
            wanted = Requirement(text)
            if wanted.marker is None or wanted.marker.evaluate({"extra": extra}):
                waiting += [(canonicalize_name(wanted.name), each) for each in ["", *wanted.extras]]
    del found[root]
    return found, sorted(missing)


def accepted(path: Path) -> dict[str, str]:
    """Read the accepted vulnerabilities: ``ID  # reason`` in each line.

    Returns:
        Reason by identifier.

    Raises:
        SystemExit: If one has no reason.
    """
    reasons = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        identifier, _, reason = (part.strip() for part in line.partition("#"))
        if identifier and not reason:
            raise SystemExit(f"{path}, line {number}: expected 'ID  # reason', got {line!r}; write why it is accepted")
        if identifier:
            reasons[identifier] = reason
    return reasons


def ask(service: str, name: str, version: str) -> dict[str, Any]:
    """Ask for the vulnerabilities of one release.

    Raises:
        NotAuditedError: If there is no answer in JSON.
    """
    question: dict[str, Any] = {"package": {"name": name, "ecosystem": "PyPI"}, "version": version}
    try:
        answer = requests.post(service, json=question, timeout=SECONDS)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
    except requests.RequestException as error:
        raise NotAuditedError(f"{service} cannot be asked ({type(error).__name__})") from error
    return found


def vulnerabilities(service: str, packages: dict[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Look packages up with pip-audit.

    Args:
        service: The address of OSV's queries.
        packages: Version by name.

    Yields:
        A package with its version, and the record of a vulnerability: ``id``, ``aliases``, ``fix_versions``.

    Raises:
        NotAuditedError: If pip-audit did not come to its end, or left packages out.
    """
    if not ask(service, *KNOWN).get("vulns"):
        raise NotAuditedError(f"{service} knows nothing of {' '.join(KNOWN)}, which is vulnerable")
    with tempfile.TemporaryDirectory() as folder:
        wanted, answer = Path(folder) / "packages.txt", Path(folder) / "answer.json"
        wanted.write_text("".join(f"{name}=={version}\n" for name, version in packages.items()), encoding="utf-8")
        command = [sys.executable, "-m", "pip_audit", "--strict", "--progress-spinner=off", f"--timeout={SECONDS}"]
        command += ["--no-deps", "--disable-pip", f"--requirement={wanted}", f"--cache-dir={folder}"]
        command += ["--vulnerability-service=osv", f"--osv-url={service}", "--format=json", f"--output={answer}"]
        done = subprocess.run(  # noqa: S603  # nosec B603 # no shell; the arguments are written here
            command,
            capture_output=True,
            text=True,
            check=False,
        )
        if not answer.is_file():
            said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise NotAuditedError(f"pip-audit broke off ({said})")
        audited = json.loads(answer.read_text(encoding="utf-8"))["dependencies"]
    if left := {canonicalize_name(name) for name in packages} - {
        canonicalize_name(each["name"]) for each in audited if "vulns" in each
    }:
        raise NotAuditedError(f"pip-audit left out {', '.join(sorted(left))}")
    for each in audited:
        yield from ((f"{each['name']} {each['version']}", record) for record in each["vulns"])


def report(found: Iterable[tuple[str, dict[str, Any]]], reasons: dict[str, str], of: int) -> int:
    """Print what was found, and return the exit code."""
    open_ones, used = 0, set()
    for package, record in found:
        names = {record["id"], *record["aliases"]}
        mended = ", ".join(record["fix_versions"]) or "no release"
        if known := names & reasons.keys():
            used |= known
            print(f"accepted: {package}: {', '.join(sorted(names))}: {reasons[min(known)]}")
        else:
            open_ones += 1
            print(f"VULNERABLE: {package}: {', '.join(sorted(names))}; mended in {mended}")
    for identifier in sorted(reasons.keys() - used):
        print(f"no longer found, so its exception can go: {identifier}")
    print(f"{of} packages audited: {open_ones} vulnerabilities, {len(used)} exceptions used")
    return VULNERABLE if open_ones else 0


def main() -> int:
    """Audit the environment of this interpreter."""
    parser = argparse.ArgumentParser(description="Look the installed packages up among the known vulnerabilities.")
    parser.add_argument("--service", default=SERVICE, help="address of OSV's queries")
    parser.add_argument("--accepted", type=Path, default=ACCEPTED, help="file of lines 'ID  # reason'")
    parser.add_argument("--allow-unreachable", action="store_true", help="end with 0 where nothing could be audited")
    given = parser.parse_args()
    packages, missing = installed("medsaliency")
    if missing:
        print(f"not installed, so not audited: {', '.join(missing)}")
    try:
        return report(vulnerabilities(given.service, packages), accepted(given.accepted), len(packages))
    except NotAuditedError as error:
        print(f"NOT AUDITED for known vulnerabilities: {error}")
        return 0 if given.allow_unreachable else NOT_AUDITED


if __name__ == "__main__":
    sys.exit(main())
