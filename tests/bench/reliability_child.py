"""Long forms of the goals on a child's life: each returns its figure, or raises AssertionError."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from engine.events import Event
from engine.jobs import process
from engine.runs import store
from engine.runs.event_log import EventReader
from tests.reliability.harness.processes import Counts, cycle, end_early, first, race
from tests.reliability.harness.tiny_runs import Place

ENDS = 10
ROOMS = {3: (1, 2), 5: (1, 2, 3), 7: (1, 2, 3, 4, 6)}
CRASHES, STOPS = 5, 5
CYCLES = 100
RACES = 100
RANK_EVENTS = 100_000
WRITERS = Path(__file__).parents[1] / "reliability" / "harness" / "rank_writers.py"


@contextmanager
def place() -> Any:
    """Give a place to make runs in, for a while."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        yield Place(Path(folder))


def wait_for(folder: Path, wanted: Callable[[Event], bool], seconds: float = 120.0) -> Event:
    """Wait for an event of a run."""
    reader, deadline = EventReader(folder), time.monotonic() + seconds
    while time.monotonic() < deadline:
        for event in reader.read_new():
            if wanted(event):
                return event
        time.sleep(0.005)
    raise AssertionError(f"no such event; child.log: {process.last_words(folder)}")


def going_on_is_never_stopping() -> str:
    """R4: ends at ten random steps, by a kill in a micro-batch or by a stop, change not one bit."""
    import pytest
    import torch

    from engine.runtime import train
    from tests.integration.attempts import attempt, killed_attempt, same_bytes
    from tests.integration.conftest import losses

    torch.set_num_threads(1)
    draw = random.Random(4)
    options = {
        "adapter__lora_dropout": 0.1,
        "training__gradient_accumulation_steps": 2,
        "training__max_steps": 48,
        "checkpoint__save_steps": 3,
    }
    with place() as runs:
        whole, folder = runs.make(**options), runs.make(**options)
        attempt(whole)
        (folder / "control").mkdir(exist_ok=True)
        for step in sorted(draw.sample(range(2, 48), ENDS)):
            with pytest.MonkeyPatch.context() as patched:
                if draw.random() < 0.5:
                    killed_attempt(folder, patched, step, draw.randrange(2))
                    continue
                take_step = train.take_step

                def stops(run: Any, at: int = step, take_step: Any = take_step) -> None:
                    take_step(run)
                    if run.step == at:
                        process.send(run.job.folder, "stop")

                patched.setattr(train, "take_step", stops)
                assert attempt(folder).type == "stopped"
        assert attempt(folder).type == "finished"
        one, other = losses(folder), losses(whole)
        assert one == other and same_bytes(folder, whole, 48), "something differs"
    return f"{ENDS} ends in 48 steps with dropout, fp32, 1 thread: losses, weights and optimizer differ by 0"


def halved_batches_change_nothing() -> str:
    """R5: micro-batches of 3, 5 and 7 rows, cut wherever memory runs out, and a short last window."""
    import pytest
    import torch

    from engine.runtime import train
    from tests.integration.attempts import attempt
    from tests.integration.conftest import losses

    worst, runs_made = 0.0, 0
    with place() as runs:
        for micro, rooms in ROOMS.items():
            options = {
                "training__per_device_train_batch_size": micro,
                "training__gradient_accumulation_steps": 3,  # 48 rows: the last window is a short one
                "training__num_train_epochs": 2,
                "adapter__lora_dropout": 0.0,
                "training__learning_rate": 2e-4,
            }
            whole = runs.make(**options)
            attempt(whole)
            for rows in rooms:
                folder, real = runs.make(**options), train.loss_sum

                def small(base: Any, batch: Any, head: Any, rows: int = rows, real: Any = real) -> Any:
                    if len(batch.lengths) > rows:
                        raise torch.OutOfMemoryError("out of memory")
                    return real(base, batch, head)

                with pytest.MonkeyPatch.context() as patched:
                    patched.setattr(train, "loss_sum", small)
                    attempt(folder)
                found, expected = losses(folder), losses(whole)
                assert found.keys() == expected.keys()
                worst = max(worst, *(abs(found[s] - expected[s]) for s in found))
                runs_made += 1
    assert worst < 1e-6, worst
    return f"{runs_made} runs of micro-batches 3, 5 and 7, cut: losses differ by at most {worst:.1e} (< 1e-6)"


def crashes_and_stops_are_known_soon() -> str:
    """R9: a crash is shown within 2 s by the window's own thread; a stop takes a step and a save."""
    from PySide6.QtCore import QCoreApplication

    from app.workers.engine_thread import EngineThread

    app = QCoreApplication.instance() or QCoreApplication([])
    known, steps_after, seconds = [], [], []
    with place() as runs:
        for _ in range(CRASHES):
            folder = runs.make(training__num_train_epochs=400)
            child = process.start(folder)
            thread, ended = EngineThread(folder), list[Any]()
            thread.ended.connect(ended.append)
            thread.start()
            wait_for(folder, lambda e: e.type == "step" and e.step >= 3)
            child.kill()
            killed = time.monotonic()
            while not ended:
                app.processEvents()
                time.sleep(0.002)
            known.append(time.monotonic() - killed)
            assert ended[0]["code"] == "RUN-01"
            child.wait(30)
            thread.stop_watching()
        for _ in range(STOPS):
            folder = runs.make(training__num_train_epochs=400)
            child = process.start(folder)
            wait_for(folder, lambda e: e.type == "step" and e.step >= 3)
            process.send(folder, "stop")
            asked, before = time.monotonic(), EventReader(folder).read_new()[-1].mono
            wait_for(folder, lambda e: e.type == "stopped")
            seconds.append(time.monotonic() - asked)
            steps_after.append(
                sum(e.type == "step" and e.mono > before for e in EventReader(folder).read_new())
            )
            child.wait(30)
    assert max(known) < 2.0, known
    assert max(steps_after) <= 2, steps_after  # the one that was going on, and one that began unseen
    return (
        f"{CRASHES} kills known after at most {max(known):.2f} s (< 2 s); {STOPS} stops after at most "
        f"{max(steps_after)} step ends and {max(seconds):.2f} s with the save"
    )


def life_is_seen_from_the_start() -> str:
    """R10: first event, first step, and the longest time between two heartbeats over all phases."""
    with place() as runs:
        folder = runs.make(training__num_train_epochs=1000, checkpoint__save_steps=100_000)
        began = time.time()
        child = process.start(folder)
        started = first(folder, "started").time - began
        stepped = first(folder, "step").time - began
        time.sleep(30)
        process.send(folder, "stop")
        assert child.wait(120) == 0
        beats = [e for e in EventReader(folder).read_new() if e.type == "heartbeat"]
    gap = max(b.mono - a.mono for a, b in pairwise(beats))
    assert started < 1.0, f"first event after {started:.2f} s"
    assert stepped < 20.0, f"first step after {stepped:.2f} s"
    assert gap < 7.0, f"{gap:.2f} s between two heartbeats"
    phases = sorted({beat.phase for beat in beats})
    return (
        f"first event {started:.2f} s (< 1 s), first step {stepped:.1f} s (< 20 s), heartbeats at most "
        f"{gap:.1f} s apart in {', '.join(phases)}"
    )


def found_again_soon() -> str:
    """R11: a window that comes to a live run has its whole curve within a second."""
    from PySide6.QtCore import QCoreApplication

    from app.workers.engine_thread import EngineThread
    from engine.runs.history import RunHistory

    app = QCoreApplication.instance() or QCoreApplication([])
    taken = []
    with place() as runs:
        folder = runs.make(training__num_train_epochs=1000, checkpoint__save_steps=100_000)
        child = process.start(folder)
        for step in (50, 150, 300):
            wait_for(folder, lambda e, step=step: e.type == "step" and e.step >= step)
            history, caught, began = RunHistory(), list[bool](), time.monotonic()
            thread = EngineThread(folder)
            thread.events_arrived.connect(history.fold)
            thread.caught_up.connect(lambda caught=caught: caught.append(True))
            thread.start()
            while not caught:
                app.processEvents()
                time.sleep(0.002)
            taken.append(time.monotonic() - began)
            thread.stop_watching()
            app.processEvents()
            whole = RunHistory()
            whole.fold(EventReader(folder).read_new())
            shown = dict(zip(history.series["loss"].steps, history.series["loss"].values, strict=True))
            exact = dict(zip(whole.series["loss"].steps, whole.series["loss"].values, strict=True))
            assert shown.keys() >= set(range(1, step)) and all(exact[s] == v for s, v in shown.items())
        child.kill()
        child.wait(30)
    assert max(taken) < 1.0, taken
    return f"3 re-attachments, the whole curve after at most {max(taken):.2f} s (< 1 s), every value the same"


def lives_leave_nothing() -> str:
    """R17: a hundred starts and stops of the real child."""
    with place() as runs:
        folders = [runs.make(training__num_train_epochs=400) for _ in range(2)]
        cycle(folders[0], stop_after="step")
        before = Counts.now()
        for number in range(CYCLES):
            folder = folders[number % 2]
            assert cycle(folder, stop_after="started") == "stopped", store.state_of(folder)
        after = Counts.now()
    assert after == before, (before, after)
    held = f"{after.threads} threads and {after.descriptors} descriptors as before"
    return f"{CYCLES} starts and stops: 0 orphans, 0 zombies, {held}"


def one_child_of_many() -> str:
    """R15: a hundred races of two to four starters for one folder."""
    with place() as runs:
        for number in range(RACES):
            folder = end_early(runs.make())
            living = race(folder, 2 + number % 3)
            begun = [e.type for e in EventReader(folder).read_new()]
            assert len(living) == 1 and begun.count("started") == 1, (number, begun)
    return f"{RACES} races of 2 to 4 starters: exactly one child each, one `started` in each log"


def packed_layers_learn_rightly() -> str:
    """R21: gradients through every 4-bit layer, after it has answered; and where repacking is forced."""
    import torch

    from engine.errors import EngineError
    from engine.recipe.recipe import ModelOptions
    from engine.runtime import load, quantised

    with place() as runs:
        compute = load.Compute(torch.device("cpu"), torch.float32)
        options = ModelOptions(path=str(runs.model), load_in_4bit=True)
        model = load.load_base(runs.model, options, compute)
        layers = [m for m in model.modules() if type(m).__name__ == "Linear4bit"]
        worst = max(quantised.gradient_error(layer) for layer in layers)
        assert worst < 0.02, worst
        layer = layers[0]
        layer.support_avx512bf16_for_cpu = True
        try:
            quantised.check_gradient(model)
            forced = "repacking is not known to this processor"
        except EngineError:
            forced = "the forced flag is refused"
    return f"{len(layers)} layers within {worst:.1e} of float32 (< 2 %) after an answer; {forced}"


def ranks_write_whole_lines() -> str:
    """R22: two ranks that write at once from eight threads; a reader looks on."""
    import os

    from engine.runtime.crew import Crew

    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        crew = Crew(folder, 2)
        command = [sys.executable, str(WRITERS), str(folder), str(RANK_EVENTS)]
        root = str(Path(__file__).parents[2])
        ranks = [
            subprocess.Popen(command, env={**os.environ, "PYTHONPATH": root, **crew.environment(rank)})
            for rank in range(2)
        ]
        reader, seen = EventReader(folder), list[Event]()
        while any(rank.poll() is None for rank in ranks):
            seen += reader.read_new(5000)
        while new := reader.read_new():
            seen += new
        assert [rank.returncode for rank in ranks] == [0, 0]
        crew.end()
    assert reader.skipped == 0 and reader.restarts == 0
    assert [e.seq for e in seen] == list(range(RANK_EVENTS))
    assert all(e.message.startswith("rank 0 ") for e in seen)
    return f"{len(seen):,} events of rank 0 from 4 threads, rank 1 beside it: 0 torn, 0 lost, 0 of rank 1"


MEASURES: dict[str, Callable[[], str]] = {
    "R4": going_on_is_never_stopping,
    "R5": halved_batches_change_nothing,
    "R9": crashes_and_stops_are_known_soon,
    "R10": life_is_seen_from_the_start,
    "R11": found_again_soon,
    "R15": one_child_of_many,
    "R17": lives_leave_nothing,
    "R21": packed_layers_learn_rightly,
    "R22": ranks_write_whole_lines,
}
