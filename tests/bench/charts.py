"""Append to a chart of 4 series at 20 Hz: time of an update with its repaint, and whether a spike is lost.

python tests/bench/charts.py [--points 1000000] [--updates 60]
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from array import array
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from PySide6.QtWidgets import QApplication

from app.theme.style import apply_theme, load_fonts
from app.widgets.chart import Chart
from app.widgets.chart_group import ChartGroup, SeriesSpec
from tests.bench.machine import describe

TOKENS = ("accent", "series2", "series3", "series4")
GOAL_MS = 8.0


def make_chart(kind: str) -> Chart:
    specs = [SeriesSpec(f"s{i}", f"series {i}", token, kind) for i, token in enumerate(TOKENS)]
    chart = Chart("Bench", specs, lambda v: f"{v:.2f}", ChartGroup())
    chart.resize(1000, 600)
    chart.show()
    return chart


def measure(app: QApplication, points: int, updates: int, kind: str) -> tuple[list[float], bool]:
    """Return the seconds of each update and whether spikes in the middle and at the end are drawn."""
    rng = np.random.default_rng(0)
    steps = array("d", range(points))
    series = [array("d", np.cumsum(rng.normal(size=points)).tolist()) for _ in TOKENS]
    peaks = []
    for values in series:
        values[points // 3] = max(values) + 500.0
        peaks.append(values[points // 3])
    chart = make_chart(kind)

    def update() -> None:
        for i, values in enumerate(series):
            chart.set_series(f"s{i}", steps, values)
        chart.refresh()
        chart.view.viewport().repaint()

    update()
    times = []
    for number in range(updates):
        steps.extend(float(len(steps) + i) for i in range(5))
        for values in series:
            values.extend(float(v) for v in values[-1] + rng.normal(size=5))
        if number == updates - 1:
            for i, values in enumerate(series):
                values[-1] = peaks[i] = peaks[i] + 100.0
        began = time.perf_counter()
        update()
        times.append(time.perf_counter() - began)
        app.processEvents()
        time.sleep(max(0.0, 0.05 - times[-1]))
    drawn = [float(np.nanmax(chart._curves[f"s{i}"].line.getData()[1])) for i in range(len(series))]
    chart.close()
    return times, drawn == peaks


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--updates", type=int, default=60)
    options = parser.parse_args()
    app = QApplication([])
    load_fonts()
    apply_theme(app, "dark")
    print(describe())
    good = True
    for kind, words in (("line", "raw"), ("smooth", "raw and smoothed")):
        times, kept = measure(app, options.points, options.updates, kind)
        ms = sorted(1e3 * t for t in times)
        median, p95 = ms[len(ms) // 2], ms[int(len(ms) * 0.95)]
        print(
            f"4 x {options.points:,} points, {words}: median {median:.1f} ms, p95 {p95:.1f} ms, "
            f"worst {ms[-1]:.1f} ms an update with repaint (goal {GOAL_MS:.0f}); "
            f"spikes {'kept' if kept else 'LOST'}",
            flush=True,
        )
        good = good and kept and (median <= GOAL_MS or kind != "line")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
