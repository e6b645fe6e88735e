"""``maps.zarr``: the explained images, their lesions, and the maps of every method, one chunk an image."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import zarr

from medsaliency.types import BoolArray, FloatArray

NAME = "maps.zarr"
Precision = Literal["float32", "float16"]
ROUNDING = "at most 2**-11 of a value, or 2**-25 of the largest of its map"
"""How far a map that is kept in float16 is from what the method gave."""
MOST = 4 - 2.0**-9
"""The largest number of float16 that a power of at most 2**126 leaves within float32."""


class Maps:
    """The arrays of a run, read image by image.

    All have the explained images as their first axis, in the order of :attr:`samples`. The images of one shard lie in
    one file an array, in chunks of one image, so that an image is read alone and a shard is written at once.

    Args:
        folder: Of the run.
        mode: "r" to read, "a" to write.
    """

    def __init__(self, folder: Path, mode: Literal["r", "a"] = "r") -> None:
        self.folder = folder
        self.group: zarr.Group = zarr.open_group(folder / NAME, mode=mode)
        self._opened: dict[str, Any] = {}

    @property
    def samples(self) -> list[str]:
        """The ids of the images."""
        return list(cast("Iterable[str]", self.group.attrs["samples"]))

    @property
    def batch(self) -> int:
        """Images in a shard."""
        return cast(int, self.group.attrs["batch"])

    @property
    def methods(self) -> list[str]:
        """The methods that have maps."""
        return list(cast(zarr.Group, self.group["maps"]).array_keys()) if "maps" in self.group else []

    def image(self, place: int) -> FloatArray:
        """(C, H, W) or (C, D, H, W) float32 in [0, 1]; NaN where the image could not be read."""
        if "image" not in self.group:  # none could be read
            return np.full((1, 1, 1), np.nan, dtype=np.float32)
        found: FloatArray = self._read("image", place)
        return found

    def lesion(self, place: int) -> BoolArray | None:
        """(H, W) or (D, H, W), or None where no mask was given."""
        return self.lesions(place, place + 1)[0]

    def marker(self, place: int) -> BoolArray | None:
        """The pixels of a planted marker, or None where the image carries none."""
        if "marker" not in self.group:
            return None
        found = self._read("marker", place)
        return found if found.any() else None

    def map(self, method: str, place: int) -> FloatArray:
        """(H, W) or (D, H, W) float32, signed where the method is."""
        found: FloatArray = self.maps(method, place, place + 1)[0]
        return found

    def maps(self, method: str, start: int, stop: int) -> FloatArray:
        """Those of several images (N, ...), as :meth:`map` gives each; those of one shard come from one file.

        All are NaN of a method of which nothing could be made.
        """
        if f"maps/{method}" not in self.group:
            rest = self._array("image").shape[2:] if "image" in self.group else (1, 1)
            return np.full((stop - start, *rest), np.nan, dtype=np.float32)
        kept = self._read(f"maps/{method}", slice(start, stop))
        return kept if kept.dtype == np.float32 else unpack(kept, self._read(f"scales/{method}", slice(start, stop)))

    def lesions(self, start: int, stop: int) -> list[BoolArray | None]:
        """Those of several images, as :meth:`lesion` gives each."""
        if "lesion" not in self.group:  # no image could be explained
            return [None] * (stop - start)
        has = self._read("has_lesion", slice(start, stop))
        found = self._read("lesion", slice(start, stop))
        return [own if known else None for own, known in zip(found, has, strict=True)]

    def shards(self) -> Iterator[tuple[int, int]]:
        """Where the images of each shard begin and end, by which all images are read without opening a file twice."""
        count = len(self.samples)
        for start in range(0, count, self.batch):
            yield start, min(start + self.batch, count)

    def _read(self, name: str, place: int | slice) -> Any:
        return np.asarray(self._array(name)[place])

    def _array(self, name: str) -> Any:
        """An array, opened once: its description is a file, and there is one read for each image else."""
        if name not in self._opened:
            # Chunks that hold only zeros are written too: a file that is missing is then always a loss.
            with zarr.config.set({"array.write_empty_chunks": True}):
                self._opened[name] = self.group[name]
        return self._opened[name]

    def _remove(self, name: str) -> None:
        self._opened.pop(name, None)
        del self.group[name]

    def arrange(self, samples: Sequence[str], batch: int) -> None:
        """Make room for these images, in shards of ``batch``; what lies in other shards is removed."""
        kept = self.group.attrs.get("batch")
        if kept is not None and kept != batch:
            for name in list(self.group.keys()):
                del self.group[name]
        self._opened.clear()
        for array in self._arrays():
            array.resize((len(samples), *array.shape[1:]))
        self.group.attrs.update({"samples": list(samples), "batch": batch})

    def keep(self, name: str, start: int, values: np.ndarray) -> str:
        """Write the values of a shard that begins at image ``start``, and return their file, relative to the run."""
        batch, count = self.batch, len(cast("Sequence[str]", self.group.attrs["samples"]))
        rest = values.shape[1:]
        known = self._array(name) if name in self._opened or name in self.group else None
        if known is not None and (known.dtype != values.dtype or known.shape[1:] != rest):  # kept otherwise before
            self._remove(name)
            known = None
        if known is None:
            self.group.create_array(
                name,
                shape=(count, *rest),
                chunks=(1, *rest),
                shards=(batch, *rest),
                dtype=values.dtype,
                fill_value=np.nan if values.dtype.kind == "f" else None,
            )
        place = self.file(name, start, batch, len(rest))
        # Else zarr reads what lies there, to keep the rest of it, and fails where that is damaged.
        (self.folder / place).unlink(missing_ok=True)
        self._array(name)[start : start + len(values)] = values
        return place

    def keep_map(self, method: str, start: int, maps: FloatArray, precision: Precision) -> list[str]:
        """Write a shard's maps (N, ...) of a method, and return their files."""
        if precision == "float32":
            if f"scales/{method}" in self.group:  # kept in the other precision before
                self._remove(f"scales/{method}")
            return [self.keep(f"maps/{method}", start, maps.astype(np.float32, copy=False))]
        halves, scales = pack(maps)
        return [self.keep(f"maps/{method}", start, halves), self.keep(f"scales/{method}", start, scales)]

    def forget(self, method: str, start: int) -> None:
        """Remove a method's maps of the shard that begins at image ``start``: they are then NaN."""
        for name in (f"maps/{method}", f"scales/{method}"):
            if name in self.group:
                place = self.file(name, start, self.batch, self._array(name).ndim - 1)
                (self.folder / place).unlink(missing_ok=True)

    @staticmethod
    def file(name: str, start: int, batch: int, axes: int) -> str:
        """The file, relative to the run, that holds an array's values of the shard that begins at ``start``."""
        return "/".join((NAME, name, "c", str(start // batch), *("0" * axes)))

    def keep_only(self, methods: Iterable[str]) -> None:
        """Remove the maps of other methods, which the study had before."""
        for method in set(self.methods) - set(methods):
            for name in (f"maps/{method}", f"scales/{method}"):
                if name in self.group:
                    self._remove(name)
        if "scales" in self.group and not list(cast(zarr.Group, self.group["scales"]).array_keys()):
            self._remove("scales")

    def _arrays(self, group: zarr.Group | None = None) -> list[Any]:
        group = group or self.group
        inner = [array for _, each in group.groups() for array in self._arrays(each)]
        return [*(array for _, array in group.arrays()), *inner]


def mend(folder: Path, spoiled: Iterable[str] = ()) -> None:
    """Remove arrays whose description cannot be read or is one of those ``spoiled``; they are then made again.

    Args:
        folder: Of the run.
        spoiled: Files, relative to the run.
    """
    root, bad = folder / NAME, set(spoiled)
    levels = ("", "*/", "*/*/")
    described = {path for level in levels for path in root.glob(f"{level}zarr.json")}
    described |= {path.parent / "zarr.json" for level in levels for path in root.glob(f"{level}c")}
    described |= {folder / name for name in bad if name.endswith("/zarr.json")}
    for path in sorted(described):
        if path.relative_to(folder).as_posix() in bad or not _is_json(path):
            shutil.rmtree(path.parent, ignore_errors=not path.parent.is_dir())
    if root.is_dir() and not (root / "zarr.json").is_file():
        shutil.rmtree(root)


def _is_json(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_bytes()), dict)
    except (ValueError, FileNotFoundError):
        return False


def pack(maps: FloatArray) -> tuple[np.ndarray, FloatArray]:
    """Maps (N, ...) in float16, each divided by a power of two that brings its largest magnitude to 1 or just below 2.

    Dividing by a power of two rounds nothing, so that small maps lose no more than large ones (see :data:`ROUNDING`).

    Returns:
        The maps, and the power of each (N,) float32.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        largest = np.max(np.abs(np.where(np.isfinite(maps), maps, 0)), axis=tuple(range(1, maps.ndim)))
        # The exponent stays where the power itself and its inverse are normal numbers of float32.
        exponents = np.clip(np.frexp(largest)[1] - 1, -126, 126)
        scales = np.where(largest > 0, np.ldexp(np.float32(1), exponents), 1).astype(np.float32)
        # The largest numbers of float32 would be rounded up to infinity.
        held = np.where(np.isinf(maps), maps, np.clip(maps / _along(scales, maps.ndim), -MOST, MOST))
        return held.astype(np.float16), scales


def unpack(halves: np.ndarray, scales: FloatArray) -> FloatArray:
    """The maps (N, ...), or one of them with its scale, as float32."""
    return halves.astype(np.float32) * _along(np.asarray(scales), halves.ndim)


def as_kept(maps: FloatArray, precision: Precision) -> FloatArray:
    """Maps (N, ...) float32 with the values that they are read back with."""
    return maps if precision == "float32" else unpack(*pack(maps))


def _along(scales: FloatArray, axes: int) -> FloatArray:
    return scales.reshape(*scales.shape, *(1,) * (axes - scales.ndim))
