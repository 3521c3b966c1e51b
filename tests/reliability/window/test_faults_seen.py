"""What a person sees of a fault: a run folder that goes or doubles, a silent child, sleep, damaged logs.

The folders are written as a child writes them; their lock is held as by a child that lives.
"""

from __future__ import annotations

import os
import shutil

import pytest
from PySide6.QtWidgets import QMainWindow

from app.notices import RunNotices
from app.workers import run_watch
from app.workers.run_queue import RunQueue
from engine.events import Heartbeat, Paused, Unknown, Warned
from engine.jobs import process
from engine.jobs.lock import FolderLock
from engine.runs import store
from tests.gui.monitor_runs import Script, crashed_run, finished_run, made_run


def going_run(name: str = "tickets-qlora-r16", steps: int = 60) -> Script:
    """Write a run that is in its middle."""
    script = Script(made_run(name))
    script.begin()
    script.steps(1, steps)
    script.write()
    return script


def words(page) -> str:
    """Return all that the card over the run says."""
    return "" if page.notice.isHidden() else f"{page.notice._title.text()} {page.notice._text.text()}"


def offers(page) -> list[str]:
    """Return what the card offers to press."""
    buttons = (page.notice._row.itemAt(place).widget() for place in range(page.notice._row.count()))
    return [each.text() for each in buttons if each is not None]


def press(page, text: str) -> None:
    """Press a button of the card."""
    for place in range(page.notice._row.count()):
        each = page.notice._row.itemAt(place).widget()
        if each is not None and each.text() == text:
            each.click()
            return
    raise AssertionError(f"{text} is not offered, only {offers(page)}")


def opened(qtbot, page, folder, state: str):
    """Open a run and wait until it is read and in a state."""
    page.open_with({"run": folder})
    qtbot.waitUntil(lambda: page.watch.state == state and page.watch.whole, timeout=30_000)
    page.refresh()
    if state in ("crashed", "failed"):  # how it ended comes after its events
        qtbot.waitUntil(lambda: bool(words(page)), timeout=30_000)
    return page.watch


# -- the folder goes -----------------------------------------------------------------------------------
def test_f13_that_a_deleted_run_folder_is_told_and_its_curve_stays(qtbot, monitor):
    script = going_run()
    with FolderLock(script.folder):
        watch = opened(qtbot, monitor, script.folder, "running")
        shutil.rmtree(script.folder)
        qtbot.waitUntil(lambda: watch.state == "gone", timeout=10_000)
    qtbot.waitUntil(lambda: "RUN-03" in words(monitor), timeout=5_000)
    assert str(script.folder) in words(monitor)
    assert offers(monitor)[:2] == ["Show where it is…", "Look again"]
    assert len(watch.history.series["loss"]) == 60
    assert not script.folder.exists(), "looking on must not make the folder again"
    qtbot.waitUntil(lambda: monitor.state_pill.text == "Gone", timeout=5_000)


def test_f14_that_a_moved_run_is_found_again_by_what_the_disk_knows_it_by(qtbot, monitor):
    script = going_run()
    elsewhere = script.folder.with_name("renamed-by-hand")
    with FolderLock(script.folder):
        watch = opened(qtbot, monitor, script.folder, "running")
        script.folder.rename(elsewhere)
        qtbot.waitUntil(lambda: watch.state == "gone", timeout=10_000)
        qtbot.waitUntil(lambda: str(elsewhere) in words(monitor), timeout=5_000)
        press(monitor, "Open it there")
        qtbot.waitUntil(lambda: monitor.watch.state == "running" and monitor.watch.whole, timeout=30_000)
        assert monitor.watch.folder == elsewhere.resolve()


def test_f14_that_a_finished_run_moved_into_the_trash_is_restored_by_a_press(qtbot, monitor, going):
    folder = finished_run(steps=40)
    watch = opened(qtbot, monitor, folder, "finished")
    qtbot.waitUntil(lambda: not watch.watching, timeout=10_000)
    store.delete_run(folder)
    qtbot.waitUntil(lambda: watch.state == "gone", timeout=10_000)
    qtbot.waitUntil(lambda: "trash" in words(monitor), timeout=5_000)
    press(monitor, "Restore it")
    qtbot.waitUntil(lambda: monitor.watch is not watch and monitor.watch.state == "finished", timeout=30_000)
    assert folder.is_dir() and "RUN-03" not in words(monitor)


def test_f13_that_another_folder_in_its_place_is_not_taken_for_the_run(qtbot, monitor):
    script = going_run()
    watch = opened(qtbot, monitor, script.folder, "crashed")
    script.folder.rename(script.folder.with_name("first"))
    shutil.copytree(script.folder.with_name("first"), script.folder)
    qtbot.waitUntil(lambda: watch.state == "gone", timeout=10_000)


# -- two windows, two folders --------------------------------------------------------------------------
def test_f33_that_two_windows_show_one_run_and_both_may_ask(qtbot, going):
    script = going_run()
    other = RunQueue()
    try:
        with FolderLock(script.folder):
            watches = [queue.attach(script.folder) for queue in (going.run_queue, other)]
            for watch in watches:
                qtbot.waitUntil(lambda w=watch: w.state == "running" and w.whole, timeout=30_000)
            assert watches[0].history.view() == watches[1].history.view()
            asked = [queue.send(script.folder, "stop") for queue in (going.run_queue, other)]
            assert len(set(asked)) == 2
            for queue in (going.run_queue, other):
                with pytest.raises(Exception, match="going"):
                    queue.resume(script.folder)
        for watch in watches:
            qtbot.waitUntil(lambda w=watch: w.state == "crashed", timeout=10_000)
    finally:
        other.close()


def test_f35_that_a_copy_of_a_run_asks_for_a_name_while_the_original_goes_on(qtbot, monitor):
    script = going_run()
    with FolderLock(script.folder):
        copy = script.folder.with_name("copied-by-hand")
        shutil.copytree(script.folder, copy)
        watch = opened(qtbot, monitor, copy, "crashed")
        assert watch.copied_from == script.folder
        assert any("copy" in told for told in monitor_says(monitor))
        monitor.place.name_copy("tickets, second look")
        qtbot.waitUntil(lambda: watch.copied_from is None, timeout=10_000)
        assert store.summary(copy).name == "tickets, second look"
        assert store.summary(script.folder).name == "tickets-qlora-r16"
        assert process.is_alive(script.folder) and not process.is_alive(copy)
    assert not any("copy" in told for told in monitor_says(monitor))


def monitor_says(page) -> list[str]:
    """Return every card that could stand over the run now, the hidden ones too."""
    from app.pages import monitor_notice

    found = []
    for say in (monitor_notice._ended, monitor_notice._copied, monitor_notice._slept):
        told = say(page, page.watch)
        found += [told.title] if told is not None else []
    return found


# -- time ----------------------------------------------------------------------------------------------
def test_f17_that_sleep_is_told_and_counts_in_no_speed(qtbot, monitor):
    script = going_run(steps=30)
    script.start_time += 3 * 3600  # the wall clock went on, the computer's own did not
    script.steps(31, 40)
    script.write()
    with FolderLock(script.folder):
        watch = opened(qtbot, monitor, script.folder, "running")
        assert watch.marks.sleeps == 1 and abs(watch.marks.slept_seconds - 3 * 3600) < 60
        assert "Paused by the computer for 3\u00a0h" in words(monitor)
        assert watch.history.elapsed_seconds < 3600
        assert watch.silent_seconds == 0.0
        press(monitor, "OK")
        assert words(monitor) == ""


def test_f17_that_a_clock_that_was_set_is_no_sleep(qtbot, monitor):
    script = going_run(steps=10)
    script.start_time += 3600
    script.say(Heartbeat(phase="train"))
    script.say(Unknown(type="clock_jump"))
    script.write()
    with FolderLock(script.folder):
        watch = opened(qtbot, monitor, script.folder, "running")
        assert watch.marks.sleeps == 0 and watch.marks.slept_seconds == 0


def test_f18_that_a_child_that_beats_and_does_not_step_is_told_with_its_phase(qtbot, monitor, monkeypatch):
    script = going_run(steps=10)
    script.say(Heartbeat(phase="train"))
    script.write()
    with FolderLock(script.folder):
        watch = opened(qtbot, monitor, script.folder, "running")
        assert watch.marks.patience() == 320.0  # ten steps of 32 s
        assert words(monitor) == ""
        monkeypatch.setattr(watch, "_moved_at", run_watch.time.monotonic() - 400)
        monitor._look_for_silence()
        assert "RUN-11" in words(monitor) and "phase: train" in words(monitor)
        assert offers(monitor)[0].startswith("Stop now")


# -- what the child or the log says --------------------------------------------------------------------
def test_f08_that_a_full_disk_is_told_with_a_way_to_go_on(qtbot, monitor):
    script = going_run(steps=10)
    message = "3.2 GB needed in /runs, 1.1 GB free. Training waits."
    script.say(Warned(code="DISK-01", message=message, hint="Free some space, then Continue."))
    script.say(Paused(step=10))
    script.write()
    with FolderLock(script.folder):
        opened(qtbot, monitor, script.folder, "paused")
        assert message in words(monitor) and "DISK-01" in words(monitor)
        press(monitor, "Continue")
        asked = list((script.folder / "control").iterdir())
        assert len(asked) == 1 and b'"resume"' in asked[0].read_bytes()
        script.steps(11, 12)
        script.write()
        qtbot.waitUntil(lambda: words(monitor) == "", timeout=10_000)


def test_f29_that_a_jump_of_the_loss_is_told_once(qtbot, monitor):
    script = going_run(steps=10)
    script.say(Warned(code="RUN-08", message="Loss jumped from 0.9 to 7.1 at step 10.", hint="Usual once."))
    script.write()
    with FolderLock(script.folder):
        opened(qtbot, monitor, script.folder, "running")
        assert "RUN-08" in words(monitor)
        press(monitor, "OK")
        monitor.refresh()
        assert words(monitor) == ""


def test_f31_that_unreadable_lines_are_counted_and_whole_ones_shown(qtbot, monitor):
    folder = finished_run(steps=40)
    path = folder / "events.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[20:22] = [b"\x00" * 4096 + b"\n", lines[20][:30] + b"\n"]
    path.write_bytes(b"".join(lines))
    watch = opened(qtbot, monitor, folder, "finished")
    assert watch.unreadable == 2
    assert "2 lines of the log" in words(monitor) and "RUN-09" in words(monitor)
    assert watch.step == 40


def test_f32_that_a_log_cut_short_under_the_eyes_is_read_anew(qtbot, monitor):
    script = going_run(steps=40)
    with FolderLock(script.folder):
        watch = opened(qtbot, monitor, script.folder, "running")
        os.truncate(script.folder / "events.jsonl", sum(map(len, script.lines[:20])))
        qtbot.waitUntil(lambda: watch.generation > 1 and watch.step < 40 and watch.whole, timeout=10_000)


def test_f01_that_a_crash_is_told_with_the_step_it_goes_on_from(qtbot, monitor):
    opened(qtbot, monitor, crashed_run(steps=130), "crashed")
    assert "RUN-01" in words(monitor)
    assert "Everything up to step 100 is saved. Resume repeats 30 steps." in words(monitor)
    assert offers(monitor)[0] == "Resume from step 100"


def test_f41_that_what_speaks_against_a_resume_is_told_before_it_begins(qtbot, monitor, going):
    folder = crashed_run(steps=130)
    save = folder / "checkpoints" / "step-00000100"
    save.mkdir(parents=True)
    (save / "adapter_model.safetensors").write_bytes(b"half a file")
    opened(qtbot, monitor, folder, "crashed")
    press(monitor, "Resume from step 100")
    qtbot.waitUntil(lambda: "RUN-05" in words(monitor), timeout=30_000)
    assert "Not now" in offers(monitor) and "Run again with changes" in offers(monitor)
    assert going.run_queue.queued() == []
    press(monitor, "Not now")
    assert "RUN-01" in words(monitor)


def test_f28_that_a_run_that_failed_on_its_numbers_offers_half_the_rate(qtbot, monitor):
    script = going_run(steps=60)
    script.end("failed", code="RUN-07", message="Loss was not a number 3 times.", hint="Look at row 7.")
    opened(qtbot, monitor, script.folder, "failed")
    assert monitor.recipe.training.learning_rate == 2e-4
    assert offers(monitor)[0] == "Resume with learning rate 1.0e-04"


# -- told elsewhere than on the run's own page -------------------------------------------------------------
def test_f08_that_a_run_that_waits_for_room_is_told_once_wherever_one_is(qtbot, going):
    window = QMainWindow()
    qtbot.addWidget(window)
    notices = RunNotices(window, going)
    script = going_run(steps=10)
    message = "3.2 GB needed in /runs, 1.1 GB free. Training waits."
    script.say(Warned(code="DISK-01", message=message, hint="Free some space, then Continue."))
    script.say(Paused(step=10))
    script.write()
    with FolderLock(script.folder):
        watch = going.run_queue.attach(script.folder)
        qtbot.waitUntil(lambda: watch.whole and watch.state == "paused", timeout=30_000)
        for _ in range(3):
            going.run_queue.changed.emit()
        told = [text for text, _, _ in going.toasts if "waits" in text]
        assert told == ["tickets-qlora-r16 waits: the disk is full."]
    notices.deleteLater()
