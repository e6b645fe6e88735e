"""Print a constraint for each dependency of a user: the lowest version that pyproject.toml allows.

What only the tests need is left to pip: no user installs it.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
NOT_OF_USERS = ("test", "peers")
"""The extras that are for developers."""


def minimum_versions(project: dict[str, object]) -> dict[str, str]:
    """Return the lower bound of each dependency by name, that of an extra included.

    Args:
        project: The table ``project`` of pyproject.toml.

    Raises:
        ValueError: If a dependency has no lower bound, or two that differ.
    """
    extras: dict[str, list[str]] = project["optional-dependencies"]  # type: ignore[assignment]
    wanted: list[str] = [*project["dependencies"]]  # type: ignore[misc]
    for extra, requirements in extras.items():
        wanted += [] if extra in NOT_OF_USERS else requirements
    found: dict[str, str] = {}
    for text in wanted:
        requirement = Requirement(text)
        bounds = [bound.version for bound in requirement.specifier if bound.operator == ">="]
        if len(bounds) != 1 or found.setdefault(requirement.name, bounds[0]) != bounds[0]:
            raise ValueError(f"pyproject.toml: expected one lower bound of {requirement.name}, got {text!r}")
    return found


if __name__ == "__main__":
    table = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    sys.stdout.writelines(f"{name}=={version}\n" for name, version in minimum_versions(table).items())
