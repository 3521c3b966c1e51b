"""Pyramids and smoothing against the plain definition."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.widgets.chart_series import CurveData, Pyramid, Smoother


def filled(y, pieces=7):
    made = Pyramid()
    x = np.arange(len(y), dtype=float)
    edges = np.linspace(0, len(y), pieces + 1).astype(int)
    for a, b in zip(edges, edges[1:], strict=False):
        made.append(x[a:b], y[a:b])
    return made


@settings(max_examples=40, deadline=None)
@given(
    size=st.integers(1, 30_000),
    spike=st.integers(0, 29_999),
    pieces=st.integers(1, 40),
    columns=st.integers(20, 900),
)
def test_that_no_spike_is_lost_at_any_size_and_width(size, spike, pieces, columns):
    y = np.random.default_rng(size).normal(size=size)
    y[spike % size] = 1000.0
    y[(spike * 7) % size] = -1000.0 if (spike * 7) % size != spike % size else 1000.0
    x, drawn = filled(y, pieces).points(0, size, columns)
    assert drawn.max() == y.max()
    assert drawn.min() == y.min()
    assert np.all(np.diff(x) >= 0)
    assert len(x) <= 6 * max(16, columns) + 8


def test_that_every_column_shows_its_own_extremes():
    y = np.cumsum(np.random.default_rng(1).normal(size=100_000))
    x, drawn = filled(y).points(0, 100_000, 500)
    starts = x[0::2].astype(int)
    for index in range(len(starts) - 1):
        part = y[starts[index] : starts[index + 1]]
        assert drawn[2 * index] == part.min()
        assert drawn[2 * index + 1] == part.max()


def test_that_zooming_in_shows_the_points_themselves():
    y = np.random.default_rng(2).normal(size=50_000)
    x, drawn = filled(y).points(20_000, 20_100, 800)
    assert x[0] <= 20_000 and x[-1] >= 20_100
    assert np.array_equal(drawn, y[int(x[0]) : int(x[-1]) + 1])


def test_that_gaps_do_not_hide_values():
    y = np.full(10_000, np.nan)
    y[5_000] = 3.0
    x, drawn = filled(y).points(0, 10_000, 300)
    assert np.nanmax(drawn) == 3.0
    assert np.isnan(drawn).sum() == len(drawn) - 2


def test_that_a_cut_pyramid_forgets_what_was_behind():
    y = np.zeros(10_000)
    y[9_000] = 5.0
    made = filled(y)
    made.cut(8_000)
    assert len(made) == 8_000
    assert made.points(0, 10_000, 300)[1].max() == 0.0


def plain_average(values, share):
    out, carry, count = [], 0.0, 0
    for value in values:
        if math.isnan(value):
            out.append(math.nan)
            continue
        carry = share * carry + (1 - share) * value
        count += 1
        out.append(carry / (1 - share**count))
    return np.array(out)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.99])
@pytest.mark.parametrize("pieces", [1, 3, 211])
def test_that_smoothing_is_the_bias_corrected_average(share, pieces):
    y = np.random.default_rng(3).normal(size=3_000) + 2
    y[100:105] = np.nan
    smoother = Smoother(share)
    got = np.concatenate([smoother.extend(part) for part in np.array_split(y, pieces)])
    assert np.allclose(got, plain_average(y, share), rtol=1e-9, equal_nan=True)


def test_that_a_flat_curve_stays_flat_when_smoothed():
    assert np.allclose(Smoother(0.99).extend(np.full(500, 0.7)), 0.7)


def test_that_curve_data_follows_growth_and_begins_anew_with_another_version():
    data = CurveData(0.9)
    x = np.arange(100.0)
    data.extend(x[:60], x[:60], 0)
    assert data.known(0) == 60
    data.extend(x[60:], x[60:], 0)
    assert len(data.raw) == len(data.smooth) == 100
    assert data.known(1) == 0
    data.extend(x[:10], x[:10], 1)
    assert len(data.raw) == 10
    data.set_smoothing(0.0)
    assert len(data.smooth) == 0
