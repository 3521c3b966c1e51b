"""Start the window: seconds from process start to its first paint, and which heavy modules it holds then.

python tests/bench/first_paint.py [--times 5]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
GOAL_SECONDS = 0.5

CHILD = """
import json, sys, time
import psutil
from app.application import choose_platform, make_application, make_window, parse
choose_platform()
app = make_application()
window = make_window(app, parse([]))
window.show()
for _ in range(3):
    app.processEvents()
seconds = time.time() - psutil.Process().create_time()
heavy = [n for n in ("torch", "transformers", "peft", "numpy", "pyqtgraph") if n in sys.modules]
memory = psutil.Process().memory_info().rss
print(json.dumps({"seconds": seconds, "cpu": time.process_time(), "heavy": heavy, "memory": memory}))
sys.stdout.flush()
import os
os._exit(0)
"""


def one(home: str) -> dict[str, object]:
    """Start the window once and return what it told."""
    environment = {**os.environ, "TUNESMITH_HOME": home, "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run(
        [sys.executable, "-c", CHILD], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    told: dict[str, object] = json.loads(done.stdout.strip().split("\n")[-1])
    return told


def main() -> int:
    """Measure and print."""
    from tests.bench.machine import describe

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tunesmith-bench-") as home:
        one(home)  # files into the page cache, bytecode onto the disk
        told = [one(home) for _ in range(options.times)]
    seconds = sorted(float(str(each["seconds"])) for each in told)
    heavy = sorted({name for each in told for name in each["heavy"]})  # type: ignore[attr-defined]
    median = seconds[len(seconds) // 2]
    cpu = sorted(float(str(each["cpu"])) for each in told)[len(told) // 2]
    print(describe())
    print(
        f"process start to first paint: median {median:.2f} s, best {seconds[0]:.2f} s of {len(seconds)} "
        f"(goal {GOAL_SECONDS}), of processor time {cpu:.2f} s; {float(str(told[0]['memory'])) / 1e6:.0f} MB"
    )
    print(f"heavy modules loaded by then: {', '.join(heavy) or 'none'}")
    return 0 if median <= GOAL_SECONDS and not heavy else 1


if __name__ == "__main__":
    raise SystemExit(main())
