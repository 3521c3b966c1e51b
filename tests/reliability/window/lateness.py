"""Every file of a stranger through the real window, while a timer notes how late the window answers."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Qt, QTimer

TICK_MS = 10


class Lateness(QObject):
    """Ticks every 10 ms; `late` holds by how many milliseconds each tick came too late.

    `own` holds how much of that this thread computed itself, `held` all of it but the wait for a free core:
    both are the same on a busy machine.
    """

    def __init__(self) -> None:
        super().__init__()
        self.late: list[float] = []
        self.own: list[float] = []
        self.held: list[float] = []
        self._before = self._spent = self._waited = 0.0
        self._timer = QTimer(self, interval=TICK_MS, timerType=Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)

    def start(self) -> None:
        """Begin to measure."""
        self._before, self._spent, self._waited = time.perf_counter(), time.thread_time(), waited_seconds()
        self._timer.start()

    def stop(self) -> None:
        """Measure no more."""
        self._timer.stop()

    def _tick(self) -> None:
        now, spent, waited = time.perf_counter(), time.thread_time(), waited_seconds()
        late = max(0.0, (now - self._before) * 1e3 - TICK_MS)
        self.late.append(late)
        self.own.append(min(late, (spent - self._spent) * 1e3))
        self.held.append(max(0.0, late - (waited - self._waited) * 1e3))
        self._before, self._spent, self._waited = now, spent, waited


def share(values: list[float], part: float) -> float:
    """Return what a share of all values stays below, as 0.99."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


def waited_seconds() -> float:
    """Return how long this thread has waited for a core, 0 where the system does not say."""
    try:
        told = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat").read_text()
    except OSError:
        return 0.0
    return int(told.split()[1]) / 1e9


def malformed(place: Path) -> list[Path]:
    """Write files that are broken rather than wicked, of all kinds the window takes."""
    place.mkdir(parents=True, exist_ok=True)
    deep = b'{"messages": ' + b"[" * 200_000 + b"]" * 200_000 + b"}\n"
    files = {
        "empty.jsonl": b"",
        "binary.jsonl": os.urandom(200_000),
        "wide.jsonl": b'{"text": "' + b"a" * 2_000_000 + b'"}\n',
        "deep.jsonl": deep,
        "cut.jsonl": b'{"prompt": "a", "completion": "b"}\n{"prompt": "c", "comp',
        "nul.jsonl": b'{"text": "a\x00b"}\n' * 50,
        "utf16.jsonl": '{"text": "hello"}\n'.encode("utf-16"),
        "latin.csv": "prompt,completion\nfran\xe7ais,\xe9t\xe9\n".encode("latin-1"),
        "quote.csv": b'prompt,completion\n"never closed,b\n' + b"x,y\n" * 20_000,
        "many.csv": b",".join(b"c%d" % n for n in range(5_000)) + b"\n" + b",".join([b"1"] * 5_000) + b"\n",
        "footer.parquet": b"PAR1" + b"\x00" * 400 + b"PAR1",
        "book.xlsx": b"PK\x03\x04" + os.urandom(4_000),
        "bomb.yaml": b"a: &a [x,x]\n" + b"".join(b"b%d: &b%d [*a,*a]\n" % (n, n) for n in range(400)),
        "long.yaml": b"name: " + b"n" * 400_000,
        "names\u202eexe.jsonl": b'{"text": "a"}\n' * 3,
        "no-header.safetensors": b"\xff" * 64,
    }
    made = []
    for name, content in files.items():
        (place / name).write_bytes(content)
        made.append(place / name)
    return [*made, _many_names(place / "run-names"), _pipes(place / "run-pipes")]


def _many_names(run: Path) -> Path:
    """A run with very many metrics, endless numbers and a line of megabytes."""
    run.mkdir()
    (run / "job.json").write_text('{"format":1,"kind":"train","id":"x","name":"<b>x</b>","created":1}')
    (run / "recipe.yaml").write_text("data: {train: [a.jsonl]}\n")
    with open(run / "events.jsonl", "w") as file:
        file.write(
            '{"type":"started","job":"x","pid":1,"host":"h","device":"cpu","time":1,"mono":1,"seq":0}\n'
        )
        for step in range(1, 400):
            metrics = ",".join(f'"m{step}_{n}":1e308' for n in range(40))
            file.write(
                f'{{"type":"evaluated","step":{step},"split":"validation","loss":1e308,"perplexity":null,'
                f'"metrics":{{{metrics}}},"time":{step},"mono":{step},"seq":{step},"attempt":1}}\n'
            )
        file.write('{"type":"log","level":"info","message":"' + "x" * 3_000_000 + '"}\n')
        file.write('{"type":"step","step":1' + "0" * 400 + ',"total_steps":9,"epoch":0,"loss":1}\n')
        file.write('{"type":"step","step":-5,"total_steps":1e999,"loss":"nan"}\n' * 50)
    return run


def _pipes(run: Path) -> Path:
    """A run whose files are pipes: whoever opens one waits for ever."""
    run.mkdir()
    (run / "job.json").write_text('{"format":1,"kind":"train","id":"y","name":"y","created":1}')
    (run / "recipe.yaml").write_text("data: {train: [a.jsonl]}\n")
    for name in ("name.txt", "exit.json", "events.jsonl", "child.log", "environment.json"):
        os.mkfifo(run / name)
    return run


def through(window: Any, files: Iterable[Path], wait: Any) -> dict[str, float]:
    """Use each file as if dropped and return the seconds it took; `wait(calm, seconds)` turns the loop."""
    took = {}
    for file in files:
        began = time.monotonic()
        window.use(file)
        wait(lambda: window.page.settled() and not window.services.background.busy, 20)
        for toast in list(window.toasts.toasts):
            toast.close_now()
        if window.page_name == "wizard":  # one at a time, as a person would
            window.page.state.set_value("data.train", [])
        took[file.name] = time.monotonic() - began
    return took
