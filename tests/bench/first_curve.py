"""Open a run of 1,000,000 events: time to a first curve and to the whole; longest stall of the window.

python tests/bench/first_curve.py [--events 1000000]
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
HOME = Path(tempfile.mkdtemp(prefix="tunesmith-bench-"))
os.environ["TUNESMITH_HOME"] = str(HOME)

from PySide6.QtCore import QEventLoop  # noqa: E402  (the home and the platform are chosen first)
from PySide6.QtWidgets import QApplication  # noqa: E402

from app.services import make_services  # noqa: E402
from app.theme.style import load_fonts  # noqa: E402
from tests.bench.machine import describe  # noqa: E402
from tests.gui.monitor_runs import Script, made_run  # noqa: E402

GOAL_SECONDS = 1.0


def write_run(events: int) -> Path:
    """Write a finished run of so many events: the steps of a short one, renumbered."""
    script = Script(made_run("long"), total=events)
    script.begin()
    script.steps(1, 1000, every=500)
    script.write()
    path = script.folder / "events.jsonl"
    lines = path.read_bytes().split(b"\n")
    step = next(line for line in lines if b'"type":"step"' in line and b'"step":700,' in line)
    parts = step.decode().split('"step":700,')
    with open(path, "ab") as file:
        block = []
        for number in range(1001, events - len(lines) + 1001):
            block.append(
                f'{parts[0]}"step":{number},{parts[1]}\n'.replace('"loss":0.9', f'"loss":{number % 7}.9')
            )
            if len(block) == 10_000:
                file.write("".join(block).encode())
                block = []
        file.write("".join(block).encode())
    (script.folder / "exit.json").write_text('{"status": "finished"}')
    return script.folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    options = parser.parse_args()
    try:
        return measure(options.events)
    finally:
        shutil.rmtree(HOME, ignore_errors=True)


def measure(events: int) -> int:
    folder = write_run(events)
    app = QApplication([])
    load_fonts()
    services = make_services(app, "dark")
    from app.application import import_charts

    import_charts()
    from app.pages.monitor import MonitorPage
    from app.workers.run_queue import RunQueue

    services.run_queue = RunQueue(services)
    page = MonitorPage(services)
    page.resize(1240, 844)
    page.show()
    page.shown()
    app.processEvents()
    began = time.perf_counter()
    page.open_with({"run": folder})
    first, stall, last = 0.0, 0.0, began
    while not page.watch.whole:
        app.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 5)
        now = time.perf_counter()
        stall, last = max(stall, now - last), now
        item = page.charts.loss.chart._curves["loss"].line
        if not first and item.xData is not None and len(item.xData) > 300:
            page.charts.loss.chart.grab()
            first = time.perf_counter() - began
        time.sleep(0.001)
    whole = time.perf_counter() - began
    size = (folder / "events.jsonl").stat().st_size / 1e6
    steps = len(page.watch.history.series["loss"])
    services.run_queue.close()
    print(describe())
    print(f"{events:,} events, {size:.0f} MB: first curve after {first:.2f} s (goal {GOAL_SECONDS:.0f})")
    print(f"whole file, {steps:,} steps, after {whole:.1f} s; longest stall {stall * 1e3:.0f} ms")
    return 0 if 0 < first <= GOAL_SECONDS else 1


if __name__ == "__main__":
    raise SystemExit(main())
