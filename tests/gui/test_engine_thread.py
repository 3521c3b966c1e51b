"""The thread beside a run and the queue, with real children on a tiny model."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from app.workers.engine_thread import EngineThread
from app.workers.run_queue import RunQueue
from engine.errors import EngineError
from engine.jobs import lock, process
from engine.jobs.lock import FolderLock
from engine.runs import advance, store
from engine.runs.event_log import EventReader, EventWriter
from engine.runs.history import RunHistory
from tests.gui.monitor_runs import Script, crashed_run, finished_run, made_run, tiny_recipe

LONG = 90_000


@pytest.fixture
def queue(qtbot):
    made = RunQueue()
    yield made
    made.stop_all()
    made.close()
    for watch in made.active():
        process.kill(watch.folder)


class Listener:
    """What a thread said."""

    def __init__(self, thread):
        self.events, self.batches, self.states, self.ending, self.previews = [], [], [], None, 0
        self.restarts = 0
        thread.events_arrived.connect(self._on_events)
        thread.state_changed.connect(self.states.append)
        thread.ended.connect(self._on_ended)
        thread.preview_arrived.connect(self._on_preview)
        thread.restarted.connect(self._on_restarted)

    def _on_events(self, events):
        self.events += events
        self.batches.append(len(events))

    def _on_ended(self, ending):
        self.ending = ending

    def _on_preview(self, _events):
        self.previews += 1

    def _on_restarted(self):
        self.restarts += 1
        self.events.clear()


@pytest.fixture
def watch_folder(qtbot):
    threads = []

    def begin(folder, **options):
        thread = EngineThread(folder, **options)
        threads.append(thread)
        heard = Listener(thread)
        thread.start()
        return thread, heard

    yield begin
    for thread in threads:
        assert thread.stop_watching()


def test_that_a_finished_run_is_replayed_whole_and_the_thread_ends(qtbot, watch_folder):
    folder = finished_run()
    thread, heard = watch_folder(folder)
    qtbot.waitUntil(lambda: heard.ending is not None, timeout=30_000)
    assert heard.states == ["finished"]
    assert [e.seq for e in heard.events] == list(range(len(heard.events)))
    assert max(heard.batches) <= 1000
    qtbot.waitUntil(thread.isFinished, timeout=30_000)


def test_r09_that_a_going_run_is_followed_live_and_its_end_noticed(qtbot, watch_folder):
    folder = made_run()
    writer = EventWriter(folder)
    script = Script(folder)
    script.begin()
    with FolderLock(folder):
        thread, heard = watch_folder(folder)
        for event in EventReaderOf(script.lines):
            writer.write(event)
        qtbot.waitUntil(lambda: len(heard.events) == len(script.lines), timeout=30_000)
        assert heard.states == ["running"]
        assert not thread.isFinished()
    qtbot.waitUntil(lambda: heard.ending is not None, timeout=10_000)
    assert heard.ending["status"] == "crashed"
    assert heard.ending["code"] == "RUN-01"


def EventReaderOf(lines):
    from engine.events import decode

    return [decode(line) for line in lines]


def test_f01_f02_that_a_crash_tells_its_last_words_and_what_it_left_unfinished(qtbot, watch_folder):
    folder = crashed_run()
    unfinished = folder / "checkpoints" / "step-00009999"
    unfinished.mkdir(parents=True)
    (unfinished / "optimizer.safetensors.part").write_bytes(b"half")
    _, heard = watch_folder(folder)
    qtbot.waitUntil(lambda: heard.ending is not None, timeout=30_000)
    assert heard.ending["code"] == "RUN-01"
    told = "checkpoints/step-00009999 the manifest is missing: the save was cut off (RUN-04)"
    assert told in heard.ending["words"].splitlines()
    assert heard.ending["words"].endswith("Killed")


def test_that_a_queued_run_is_waited_for_without_an_end(qtbot, watch_folder):
    folder = made_run()
    thread, heard = watch_folder(folder)
    qtbot.waitUntil(lambda: heard.states == ["queued"], timeout=30_000)
    qtbot.wait(400)
    assert heard.ending is None and thread.isRunning()


def test_that_a_child_that_comes_after_a_look_is_not_taken_for_dead(qtbot, watch_folder, monkeypatch):
    folder = made_run()
    sleeper = subprocess.Popen([sys.executable, "-I", "-c", "input()"], stdin=subprocess.PIPE)
    child = process.JobProcess(sleeper, folder)
    looked = EngineThread._is_alive

    def adopting(thread):
        alive = looked(thread)
        if thread.child is None:  # the window's thread started it meanwhile
            thread.adopt(advance.Started(folder, child, None))
        return alive

    monkeypatch.setattr(EngineThread, "_is_alive", adopting)
    thread, heard = watch_folder(folder)
    qtbot.waitUntil(lambda: "running" in heard.states or heard.ending is not None)
    sleeper.communicate(b"\n")
    qtbot.waitUntil(lambda: heard.ending is not None)
    assert heard.states == ["running", "crashed"]


def test_f32_that_a_replaced_file_is_told_and_read_anew(qtbot, watch_folder):
    folder = made_run()
    script = Script(folder)
    script.begin()
    script.steps(1, 40)
    script.write()
    with FolderLock(folder):
        _, heard = watch_folder(folder)
        qtbot.waitUntil(lambda: len(heard.events) == len(script.lines), timeout=30_000)
        other = Script(folder)
        other.begin()
        other.write()
        qtbot.waitUntil(lambda: heard.restarts == 1, timeout=30_000)
        qtbot.waitUntil(lambda: len(heard.events) == len(other.lines), timeout=30_000)


def test_f13_that_a_run_whose_folder_vanishes_fails_by_name(qtbot, watch_folder):
    import shutil

    folder = made_run()
    _, heard = watch_folder(folder)
    qtbot.waitUntil(lambda: heard.states == ["queued"], timeout=30_000)
    shutil.rmtree(folder)
    qtbot.waitUntil(lambda: heard.ending is not None, timeout=30_000)
    assert heard.ending["code"] == "RUN-03"


def test_r07_that_a_long_file_is_previewed_before_it_is_read_whole(qtbot, watch_folder, monkeypatch):
    monkeypatch.setattr("app.workers.engine_thread.PREVIEW_BYTES", 1000)
    _, heard = watch_folder(finished_run())
    qtbot.waitUntil(lambda: heard.ending is not None, timeout=30_000)
    assert heard.previews == 1


# -- real children -----------------------------------------------------------------------------------------
def test_that_a_submitted_run_trains_to_its_end_and_live_equals_replay(qtbot, queue, tiny_model, tmp_path):
    told = []
    queue.run_changed.connect(told.append)
    run = queue.submit(tiny_recipe(tiny_model, tmp_path))
    watch = queue.attach(run)
    assert watch.state == "running"
    assert queue.active() == [watch]
    qtbot.waitUntil(lambda: watch.ending is not None, timeout=LONG)
    assert watch.ending["status"] == "finished", watch.ending
    assert watch.state == "finished"
    assert watch.step == watch.total_steps == 12
    assert queue.active() == []
    assert run in told
    replayed = RunHistory()
    replayed.fold(EventReader(watch.folder).read_new())
    live, again = watch.history.view(), replayed.view()
    for name in again:
        assert live[name] == again[name], name


@pytest.mark.slow
def test_that_a_killed_child_is_a_crash_and_resume_goes_on(qtbot, queue, tiny_model, tmp_path):
    run = queue.submit(tiny_recipe(tiny_model, tmp_path, training__max_steps=400))
    watch = queue.attach(run)
    qtbot.waitUntil(lambda: watch.step >= 6, timeout=LONG)
    pid = lock.holder(watch.folder)
    os.kill(pid, signal.SIGKILL)
    qtbot.waitUntil(lambda: watch.ending is not None, timeout=30_000)
    assert watch.state == "crashed"
    crashed_at = watch.step
    assert crashed_at >= 6
    queue.resume(run)
    qtbot.waitUntil(lambda: watch.state == "running" and watch.history.attempt == 2, timeout=LONG)
    qtbot.waitUntil(lambda: watch.step > crashed_at, timeout=LONG)
    assert watch.history.resumed_from[0] >= 4
    steps = watch.history.series["loss"].steps.tolist()
    assert steps == list(range(1, len(steps) + 1))
    queue.send(run, "stop")
    qtbot.waitUntil(lambda: watch.ending is not None, timeout=LONG)
    assert watch.state == "stopped"


def runs(each):
    """Return whether a process is there and not only waiting to be collected."""
    try:
        return each.is_running() and each.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.slow
def test_that_cancelling_and_stopping_reach_every_process_of_a_run(qtbot, tiny_model, tmp_path):
    options = {"training__max_steps": 4000, "launcher__processes": 2}
    folder = store.create_run(tiny_recipe(tiny_model, tmp_path, **options), tmp_path / "two")
    for attempt, cancelled in ((1, False), (2, True)):
        thread = EngineThread(folder, start_child=True)
        told = Listener(thread)
        thread.start()

        def steps(told=told, attempt=attempt):
            return any(e.type == "step" and e.attempt == attempt for e in told.events)

        qtbot.waitUntil(steps, timeout=LONG)
        others = psutil.Process(thread.child.pid).children()
        assert others
        if cancelled:
            thread.cancel_child()
        else:
            process.send(folder, "stop")
        qtbot.waitUntil(lambda told=told: told.ending is not None, timeout=30_000)
        assert (told.ending["status"], bool(told.ending.get("cancelled"))) == ("stopped", cancelled)
        qtbot.waitUntil(lambda others=others: not any(runs(each) for each in others), timeout=30_000)
        assert thread.wait(30_000)


@pytest.mark.slow
def test_that_a_run_outlives_its_window_and_the_next_one_shows_its_whole_curve(
    qtbot, queue, tiny_model, tmp_path
):
    run = queue.submit(tiny_recipe(tiny_model, tmp_path, training__max_steps=400))
    first = queue.attach(run)
    waiting = queue.submit(tiny_recipe(tiny_model, tmp_path, training__max_steps=2, name="second"))
    assert [folder.name for folder in queue.queued()] == [waiting]
    qtbot.waitUntil(lambda: first.step >= 3, timeout=LONG)
    queue.close()
    assert process.is_alive(first.folder)
    seen = first.step
    again = RunQueue()
    try:
        assert [folder.name for folder in again.queued()] == [waiting]
        qtbot.waitUntil(lambda: bool(again.active()), timeout=30_000)
        watch = again.active()[0]
        assert watch.id == run
        qtbot.waitUntil(lambda: watch.step > seen, timeout=LONG)
        steps = watch.history.series["loss"].steps.tolist()
        assert steps == list(range(1, len(steps) + 1))
        again.send(run, "stop")
        qtbot.waitUntil(lambda: watch.state == "stopped", timeout=LONG)
        # The device is free: the one that waited is started.
        second = again.attach(waiting)
        qtbot.waitUntil(lambda: second.state == "finished", timeout=LONG)
        assert again.queued() == []
    finally:
        again.stop_all()
        again.close()


@pytest.mark.slow
def test_that_pausing_and_going_on_are_seen(qtbot, queue, tiny_model, tmp_path):
    run = queue.submit(tiny_recipe(tiny_model, tmp_path, training__max_steps=300))
    watch = queue.attach(run)
    qtbot.waitUntil(lambda: watch.step >= 2, timeout=LONG)
    with pytest.raises(EngineError, match="going"):
        queue.resume(run)
    queue.send(run, "pause")
    qtbot.waitUntil(lambda: watch.state == "paused", timeout=LONG)
    step = watch.step
    queue.resume(run)
    qtbot.waitUntil(lambda: watch.state == "running" and watch.step > step, timeout=LONG)
    queue.cancel(run)
    qtbot.waitUntil(lambda: watch.ending is not None, timeout=30_000)
    assert watch.state == "stopped"
    assert watch.ending["cancelled"] is True
    assert store.state_of(watch.folder) == "stopped"


def test_that_a_run_that_cannot_start_fails_in_words(qtbot, queue, tmp_path, tiny_model):
    run = queue.submit(tiny_recipe(tmp_path / "no-such-model", tmp_path))
    watch = queue.attach(run)
    qtbot.waitUntil(lambda: watch.ending is not None, timeout=LONG)
    assert watch.state == "failed"
    assert watch.ending["code"]
    assert "no-such-model" in watch.ending["message"]


def test_that_a_waiting_run_can_be_taken_out_of_the_queue(qtbot, queue):
    folder = made_run()
    with FolderLock(folder):
        queue.look()
        qtbot.waitUntil(lambda: bool(queue.active()), timeout=30_000)
        second = made_run("second")
        queue.resume(second)
        assert queue.queued() == [second.resolve()]
        queue.cancel(second)
        assert queue.queued() == []
