"""One row of the table: a method of ours and its peers, in turns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from cases import Case, Settings
from errors import collected, compare, medians, of_peer_itself
from goals import missed
from medsaliency.types import FloatArray
from ours import AGAIN, explain, ours
from peers import PEERS, Peer
from reference import REFERENCES, limit_of
from timing import Call, folded, passes, pure_seconds, recorded, timed

Result = dict[str, Any]
SLOW, QUICK = 10.0, 1.0
"""Seconds an image from which on a few repetitions must do, and up to which one more costs nothing."""
FAR = 3.0
"""Times as slow as another peer on its first run: such a peer will not count, and once must do."""


@dataclass
class Trial:
    """One side of a comparison: ``run`` explains ``images`` images, ``repeats`` times."""

    run: Callable[[int], FloatArray]
    device: torch.device
    images: int
    repeats: int
    seconds: list[float] = field(default_factory=list)
    maps: FloatArray | None = None

    def go(self) -> None:
        """Once more."""
        seconds, self.maps = timed(lambda: self.run(self.images), self.device)
        self.seconds.append(seconds / self.images)

    def afresh(self, images: int, repeats: int) -> None:
        """What has run was but a warm-up."""
        self.images, self.repeats, self.seconds = images, repeats, []

    @property
    def wanted(self) -> bool:
        """Whether it has not run often enough."""
        return len(self.seconds) < self.repeats


@dataclass
class Own(Trial):
    """Our side, which also keeps its passes and, after each run, what they cost by themselves."""

    case: Case | None = None
    calls: list[Call] = field(default_factory=list)
    pure: list[float] = field(default_factory=list)

    def go(self) -> None:
        """Once more."""
        assert self.case is not None
        with recorded(self.case.classifier.module) as self.calls:
            super().go()
        self.pure.append(pure_seconds(self.case, self.calls) / self.images)

    def afresh(self, images: int, repeats: int) -> None:
        """What has run was but a warm-up."""
        super().afresh(images, repeats)
        self.pure = []


def measure_method(asked: str, case: Case, settings: Settings, cache: Path, before: Result) -> Result:
    """One row: seconds of both sides, passes, their pure cost, errors, and what falls short.

    The first run of a side says whether it is slow; then it stays with few images, and that run counts.
    """
    folded(case)  # what is found out once a network is no method's cost
    name = AGAIN.get(asked, asked)
    known = before.get(name, {}).get("peers") if name != asked else None
    mine = try_ours(asked, case, settings)
    peers = {} if known else {peer.name: peer for peer in PEERS[name] if peer.installed}
    tried, counts = try_peers(peers, case, settings)
    while any(trial.wanted for trial in (mine, *tried.values())):
        for trial in (mine, *tried.values()):
            if trial.wanted:
                trial.go()
    found = known or {
        key: {
            "call": peers[key].call,
            "seconds": median(trial.seconds),
            "images": trial.images,
            "repeats": len(trial.seconds),
            "passes": counts[key],
        }
        for key, trial in tried.items()
    }
    count = images_of_errors(mine, found)
    for key, trial in tried.items():
        found[key] |= errors(name, trial, count, case, settings, cache, theirs=True)
    row = {
        **cost(asked, mine),
        "reference": REFERENCES[name].text.format(**asdict(settings)),
        "error_images": count,
        **errors(name, mine, count, case, settings, cache),
        # What is known already may be of more images than ours ran on.
        "peers": {key: peer | medians(peer, min(count, len(peer["errors"]))) for key, peer in found.items()},
    }
    row = rounded(row | against_peers(row))
    return row | {"goal": missed(asked, row)}


def try_ours(asked: str, case: Case, settings: Settings) -> Own:
    """Our side after a first run on few images."""
    few = min(settings.peer_images, len(case.images))
    mine = Own(
        lambda count: explain(case, [asked], settings.seed, count)[asked].cpu().numpy(),
        case.device,
        few,
        settings.slow_repeats,
        case=case,
    )
    mine.go()
    if mine.seconds[0] <= SLOW:
        quick = mine.seconds[0] <= QUICK
        mine.afresh(len(case.images), settings.repeats)
        if quick:  # a batch of all images may need a warm-up of its own
            mine.go()
            mine.afresh(len(case.images), settings.repeats)
    return mine


def try_peers(peers: dict[str, Peer], case: Case, settings: Settings) -> tuple[dict[str, Trial], dict[str, float]]:
    """Peers after a first run of each on few images, and their passes an image."""
    few = min(settings.peer_images, len(case.images))
    tried: dict[str, Trial] = {}
    counts: dict[str, float] = {}
    for name, peer in peers.items():
        import_module(peer.module)
        run = peer.run
        tried[name] = Trial(lambda n, run=run: run(case, settings, n), case.device, few, settings.slow_repeats)
        with recorded(case.plain) as calls:
            tried[name].go()
        counts[name] = passes(calls, few)[0]
    plan_repetitions(list(tried.values()), len(case.images), settings.repeats)
    return tried, counts


def plan_repetitions(tried: list[Trial], images: int, repeats: int) -> None:
    """From the first run of each of several peers, how often they run and on how many images."""
    first = [trial.seconds[0] for trial in tried]
    for trial, seconds in zip(tried, first, strict=True):
        # The first peer pays for what all need once, so that a quick one's first run says little.
        if seconds > FAR * min(first) and seconds > QUICK:
            trial.repeats = 1
        elif seconds <= SLOW:
            trial.afresh(images, repeats)


def cost(asked: str, mine: Own) -> Result:
    """What our side took."""
    total, split = passes(mine.calls, mine.images)
    seconds, pure = median(mine.seconds), median(mine.pure)
    return {
        "method": repr(ours(asked)),
        "ours_seconds": seconds,
        "images": mine.images,
        "repeats": len(mine.seconds),
        "passes": total,
        "split": split,
        "pure_seconds": pure,
        "overhead": seconds / pure - 1,
    }


def images_of_errors(mine: Trial, peers: Result) -> int:
    """Images that both ours and the peer that counts explained: references of others would be made for nothing."""
    if not peers:
        return mine.images
    peer = peers[fastest(peers)]
    return min(mine.images, len(peer.get("errors", range(peer["images"]))))


def fastest(peers: Result) -> str:
    """The peer that counts: the one of the least seconds."""
    return min(peers, key=lambda name: peers[name]["seconds"])


def against_peers(row: Result) -> Result:
    """The ratio, what the fastest peer took and its errors, and the least error of any."""
    peers = row["peers"]
    kept = ("seconds", "images", "repeats", "passes", "error", "deviation", "spearman")
    if not peers:
        none = dict.fromkeys(["peer", *(f"peer_{key}" for key in kept), "ratio"])
        return none | dict.fromkeys(["exact_peer", "exact_peer_error", "exact_peer_deviation"])
    name = fastest(peers)
    exact = min(peers, key=lambda name: _or_infinity(peers[name]["deviation"]))
    return {
        "peer": name,
        "ratio": peers[name]["seconds"] / row["ours_seconds"],
        **{f"peer_{key}": peers[name][key] for key in kept},
        "exact_peer": exact,
        "exact_peer_error": peers[exact]["error"],
        "exact_peer_deviation": peers[exact]["deviation"],
    }


def _or_infinity(value: float) -> float:
    return value if np.isfinite(value) else np.inf


def errors(
    name: str, trial: Trial, count: int, case: Case, settings: Settings, cache: Path, *, theirs: bool = False
) -> Result:
    """Distances of a side's maps from the references on the first ``count`` images that it explained.

    Where the reference is the peer's own map, ``theirs`` is how far that is from itself.
    """
    assert trial.maps is not None
    scaled, found = REFERENCES[name].scaled, []
    for i, values in enumerate(trial.maps[:count]):
        limit = limit_of(name, case, settings, i, cache)
        if theirs and len(limit.repeated):
            found.append(of_peer_itself(limit, scaled=scaled))
        else:
            found.append(compare(values, limit.values, scaled=scaled, variance=limit.variance))
    return collected(found)


def rounded(values: Any) -> Any:
    """Five digits that count, and None for what is undefined, as JSON takes it."""
    if isinstance(values, dict):
        return {key: rounded(value) for key, value in values.items()}
    if isinstance(values, list):
        return [rounded(value) for value in values]
    if isinstance(values, float):
        return float(f"{values:.5g}") if np.isfinite(values) else None
    return values
