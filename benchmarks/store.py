"""References on disk: they take many passes, and several methods and runs need the same."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from cases import Case

Arrays = Mapping[str, np.ndarray]
VERSION = 2
"""Of what is kept, and of how it is made."""


def kept(file: Path, make: Callable[[], Arrays]) -> Arrays:
    """What the file has, or what is made now and kept there."""
    if file.is_file():
        with np.load(file) as there:
            return dict(there)
    found = make()
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".npz", delete=False) as beside:
        np.savez(beside, **found)
    Path(beside.name).rename(file)
    return found


def file_of(cache: Path, case: Case, index: int, what: str, used: Mapping[str, object]) -> Path:
    """Where something of one image is kept: its name tells of all that it depends on."""
    digest = hashlib.sha256(case.images[index].cpu().numpy().tobytes())
    told = [VERSION, what, case.fingerprint, case.layer, case.targets[index], case.ids[index], dict(used)]
    digest.update(json.dumps(told).encode())
    return cache / "references" / f"{case.name}-{what}-{digest.hexdigest()[:16]}.npz"
