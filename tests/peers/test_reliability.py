"""Intraclass correlation against pingouin's."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pingouin
import pytest

from medsaliency.statistics.reliability import icc


def peer(values: np.ndarray) -> float:
    long = pd.DataFrame(values).reset_index().melt("index", var_name="rater", value_name="value")
    found = pingouin.intraclass_corr(long, targets="index", raters="rater", ratings="value").set_index("Type")
    return float(found.loc[next(name for name in found.index if name in ("ICC2", "ICC(A,1)")), "ICC"])


@pytest.mark.parametrize("seed", range(4))
def test_as_pingouin_with_things_repeats_and_noise_in_other_shares(seed: int) -> None:
    rng = np.random.default_rng(seed)
    things, repeats = rng.normal(size=(15, 1)), seed * rng.normal(size=(1, 4))
    values = things + repeats + rng.normal(size=(15, 4)) * 0.5
    assert icc(values) == pytest.approx(peer(values), abs=1e-4)
