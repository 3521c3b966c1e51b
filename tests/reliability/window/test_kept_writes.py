"""What is chosen and typed is written by a thread: closing waits for it, a kill loses less than a second."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

from app.drafts import load_draft
from app.settings import SettingsStore
from app.window import MainWindow
from app.workers.newest_writer import NewestWriter, flush_all
from app.workers.run_queue import RunQueue
from engine import faults, paths

CHOOSER = """
import sys, time
from app.application import make_application
from app.services import make_services
settings = make_services(make_application(), "dark").settings
for number in range(20):
    settings.remember("recent_data", f"/d/{number}")
settings.change(text_size=125)
print("chosen", flush=True)
time.sleep(60)
"""


def test_that_only_the_newest_value_is_written_and_a_flush_waits_for_it() -> None:
    begun, free = threading.Event(), threading.Event()
    saved: list[int] = []

    def save(value: int) -> None:
        begun.set()
        free.wait(30)
        saved.append(value)

    writer = NewestWriter(save, "number.txt")
    writer.write(1)
    assert begun.wait(30)
    for value in (2, 3, 4):
        writer.write(value)
    assert writer.busy and saved == []
    free.set()
    flush_all()
    assert saved == [1, 4] and not writer.busy and writer.problem == ""


def test_that_a_failed_write_is_told_and_the_next_one_can_pass() -> None:
    def save(value: int) -> None:
        if value < 0:
            raise OSError(28, "No space left on device")

    writer = NewestWriter(save, "number.txt")
    writer.write_now(-1)
    assert writer.problem and not writer.busy
    writer.write_now(1)
    assert writer.problem == ""


def test_that_what_was_chosen_and_typed_last_survives_closing_at_once(qtbot, services) -> None:
    services.run_queue = RunQueue(services, advances=False)
    window = MainWindow(services)
    qtbot.addWidget(window)
    window.show()
    window.navigate("wizard-training")
    window.page.state.set_value("name", "typed last")
    services.settings.change(text_size=130)
    window.close()
    assert json.loads(paths.settings_file().read_text())["text_size"] == 130
    draft = load_draft()
    assert draft is not None and draft.recipe.name == "typed last"
    services.run_queue.close()


def test_that_what_was_chosen_a_second_ago_survives_a_kill(qtbot, home) -> None:
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen"}
    child = subprocess.Popen([sys.executable, "-c", CHOOSER], stdout=subprocess.PIPE, env=environment)
    try:
        assert child.stdout is not None and b"chosen" in child.stdout.readline()

        def on_disk() -> bool:
            return paths.settings_file().is_file() and SettingsStore().value.text_size == 125

        qtbot.waitUntil(on_disk, timeout=20_000)
    finally:
        child.kill()
        child.wait(30)
    assert SettingsStore().value.recent_data[0] == "/d/19"


def test_that_settings_that_cannot_be_written_are_told_and_hold(qtbot, services) -> None:
    told: list[str] = []
    services.settings.not_kept.connect(told.append)
    with faults.arm("write:ENOSPC@1+"):
        services.settings.change(text_size=120)
        qtbot.waitUntil(lambda: bool(told), timeout=20_000)
    assert services.settings.value.text_size == 120
    services.settings.change(text_size=115)
    services.settings.flush()
    assert SettingsStore().value.text_size == 115
