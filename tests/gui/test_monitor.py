"""The run monitor on real folders: what it shows in each state and what its buttons do."""

import json
import os
import signal

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QShortcut

from app.theme.style import apply_theme
from engine.jobs import lock
from engine.jobs.lock import FolderLock
from engine.runs import store
from engine.runs.gate_checks import Finding
from engine.runs.resume_gate import Verdict
from tests.gui.monitor_runs import ANSWER, Script, crashed_run, finished_run, made_run, tiny_recipe

LONG = 90_000


@pytest.fixture
def page(monitor):
    return monitor


def opened(qtbot, page, folder):
    page.open_with({"run": folder})
    qtbot.waitUntil(page.settled, timeout=30_000)
    page.refresh()
    return page


def texts(page):
    return [button.text() for button in page.top_bar_actions()]


def figure(page, key):
    shown = page.strip.figures[key]
    return f"{shown.number.text()} {shown.note.text()}".strip()


def test_that_a_finished_run_is_shown_with_its_numbers(qtbot, page):
    opened(qtbot, page, finished_run())
    assert page.title == "tickets-qlora-r16"
    assert page.state_pill.text == "Finished"
    assert page.facts == "Llama-2-7b-hf · QLoRA r16 · seed 1"
    assert figure(page, "step") == "302 / 302"
    assert figure(page, "best").endswith("@ 200")
    assert "plan 14.2" in figure(page, "memory")
    assert page.strip.figures["left"].caption.text().startswith("Took, plan")
    assert page.strip.bar.value == 1.0
    assert texts(page) == [
        "Chat with it",
        "Evaluate",
        "Merge, export",
        "New run",
        "Open folder",
    ]
    assert page.charts.memory.title_label.text() == "VRAM (GB)"
    assert len(page.charts.loss.chart.series()[0][1]) == 302
    assert page.notice.isHidden()
    assert page.log_folder() == page.watch.folder
    assert "best validation" in page.accessibleDescription()


def test_f37_that_a_resume_on_another_base_offers_a_new_run_from_the_adapter(qtbot, page):
    folder = crashed_run(steps=130)
    opened(qtbot, page, folder)
    changed = Finding("MODEL-08", "error", "model.safetensors of the base model changed.", "Restore it.")
    page.resuming.verdict = Verdict(page.watch.folder, (changed,))
    assert [words for words, _ in page.resuming.told().actions] == ["Run again with changes", "Not now"]
    save = page.watch.folder / "checkpoints" / "step-00000100"
    save.mkdir(parents=True, exist_ok=True)
    (save / "adapter_config.json").write_text("{}")
    went = []
    page.navigate_requested.connect(lambda name, argument: went.append((name, argument)))
    words, begin = page.resuming.told().actions[0]
    begin()
    assert words == "New run from this adapter" and went == [("wizard", {"adapter": page.watch.folder})]


def test_that_each_way_onward_carries_the_run(qtbot, page):
    folder = finished_run().resolve()
    opened(qtbot, page, folder)
    went = []
    page.navigate_requested.connect(lambda name, argument: went.append((name, argument)))
    buttons = {button.text(): button for button in page.top_bar_actions()}
    for words in ("Chat with it", "Merge, export"):
        buttons[words].click()
    (folder / "adapter").mkdir(exist_ok=True)
    (folder / "adapter" / "adapter_config.json").write_text("{}")
    menu = page.actions_bar.menu_of_new_runs()
    for action in menu.actions():
        action.trigger()
    assert went == [
        ("chat", {"run": folder}),
        ("merge", {"run": folder}),
        ("wizard", {"recipe": folder / "recipe.yaml"}),
        ("wizard", {"adapter": folder}),
    ]
    page.primary_action()
    assert went[-1] == ("chat", {"run": folder})


def test_that_answers_follow_the_step_and_the_chart_chooses_it(qtbot, page):
    opened(qtbot, page, finished_run())
    samples = page.side.samples
    assert samples.step == 300
    assert samples.blocks[0].text_of("adapter") == ANSWER
    assert samples.blocks[0].text_of("base").startswith("I'm sorry")
    page.charts.loss.chart.chosen.emit(62.0)
    assert samples.step == 50
    assert samples.blocks[0].text_of("adapter") == '{"queue": "bill'
    assert samples.blocks[1].text_of("prompt").startswith("The app closes")


def test_that_the_runs_own_recipe_and_log_are_shown(qtbot, page):
    opened(qtbot, page, finished_run())
    page.side.tabs.setCurrentIndex(3)
    assert "Llama-2-7b-hf" in page.side.recipe.toPlainText()
    assert page.side.recipe.isReadOnly()
    page.find()
    log = page.side.log.view.toPlainText()
    assert "Model loaded" in log and "Finished after 302 steps" in log
    page.side.log.filter.setText("best so far")
    shown = page.side.log.view.toPlainText().split("\n")
    assert len(shown) == 4 and all("validation loss" in line for line in shown)


def test_that_phases_with_times_stand_before_the_first_step(qtbot, page):
    script = Script(made_run())
    script.begin()
    script.lines = script.lines[:3]
    script.write()
    with FolderLock(script.folder):
        page.open_with({"run": script.folder})
        qtbot.waitUntil(lambda: page.state_pill.text == "Preparing", timeout=30_000)
        page.refresh()
        assert not page.phases.isHidden() and page.phases.isVisible()
        assert figure(page, "left") == "estimating"
        assert texts(page) == ["Now", "Pause", "Stop and save", "Cancel…"]
        rows = [(label.text(), clock.text()) for _, label, clock in page.phases._rows]
        assert rows[0] == ("Prepare data", "0:12")
        assert rows[2] == ("First step", "")


def test_that_a_going_run_grows_on_the_page(qtbot, page):
    script = Script(made_run())
    script.begin()
    script.steps(1, 230)
    script.write()
    with FolderLock(script.folder):
        page.open_with({"run": script.folder})
        qtbot.waitUntil(lambda: figure(page, "step") == "230 / 302", timeout=30_000)
        assert page.state_pill.text == "Training"
        assert figure(page, "left").endswith("min left")
        with open(script.folder / "events.jsonl", "ab") as file:
            known = len(script.lines)
            script.steps(231, 236)
            file.write(b"".join(script.lines[known:]))
        qtbot.waitUntil(lambda: figure(page, "step") == "236 / 302", timeout=30_000)
        qtbot.waitUntil(lambda: len(page.charts.loss.chart._curves["loss"].data.raw) == 236, timeout=30_000)


def test_that_a_hidden_page_draws_nothing_and_catches_up_when_shown(qtbot, page):
    script = Script(made_run())
    script.begin()
    script.steps(1, 50)
    script.write()
    with FolderLock(script.folder):
        page.open_with({"run": script.folder})
        qtbot.waitUntil(lambda: figure(page, "step") == "50 / 302", timeout=30_000)
        page.hidden_()
        with open(script.folder / "events.jsonl", "ab") as file:
            known = len(script.lines)
            script.steps(51, 60)
            file.write(b"".join(script.lines[known:]))
        qtbot.waitUntil(lambda: page.watch.step == 60, timeout=30_000)
        qtbot.wait(300)
        assert figure(page, "step") == "50 / 302"
        page.shown()
        assert figure(page, "step") == "60 / 302"


def test_that_a_crash_says_its_last_words_and_offers_to_resume(qtbot, page):
    opened(qtbot, page, crashed_run())
    assert page.state_pill.text == "Crashed"
    assert not page.notice.isHidden()
    assert "killed or died" in page.notice._title.text()
    assert "RUN-01" in page.notice._text.text()
    assert page.notice._details.toPlainText().endswith("Killed")
    assert texts(page)[0] == "Resume"
    assert len(page.charts.loss.chart.series()[0][1]) == 130


def test_that_a_failure_names_its_cause(qtbot, page):
    script = Script(made_run())
    script.begin()
    script.steps(1, 60)
    script.end("failed", code="GPU-01", message="The GPU ran out of memory.", hint="Use 4 bits.")
    opened(qtbot, page, script.folder)
    assert page.state_pill.text == "Failed"
    assert page.notice._title.text() == "The GPU ran out of memory."
    assert page.notice._text.text() == "Use 4 bits. (GPU-01)"


def test_that_buttons_tell_the_child_once_and_say_that_they_wait(qtbot, page):
    script = Script(made_run())
    script.begin()
    script.steps(1, 20)
    script.write()
    with FolderLock(script.folder):
        page.open_with({"run": script.folder})
        qtbot.waitUntil(lambda: page.state_pill.text == "Training", timeout=30_000)
        _, pause, stop, _ = page.top_bar_actions()
        pause.click()
        assert pause.text() == "Pausing…" and not pause.isEnabled()
        stop.click()
        assert stop.text() == "Stopping…" and not stop.isEnabled()
        asked = sorted((script.folder / "control").iterdir())
        assert [json.loads(path.read_bytes())["command"] for path in asked] == ["pause", "stop"]
        assert "Ctrl+Shift+P" in [s.key().toString() for s in page.findChildren(QShortcut)]


def test_that_cancelling_asks_and_names_what_is_lost(qtbot, page, monkeypatch):
    script = Script(made_run())
    script.begin()
    script.steps(1, 86)
    script.write()
    asked = []

    def answer(_parent, title, text, act, stay):
        asked.append((title, text, act, stay))
        return False

    monkeypatch.setattr("app.pages.monitor_actions.ask", answer)
    with FolderLock(script.folder):
        page.open_with({"run": script.folder})
        qtbot.waitUntil(lambda: page.state_pill.text == "Training", timeout=30_000)
        page.top_bar_actions()[-1].click()
    title, text, act, stay = asked[0]
    assert title == "Cancel tickets-qlora-r16?"
    assert text.startswith("36 steps since the last save (step 50) will be lost.")
    assert (act, stay) == ("Cancel the run", "Keep training")


def test_that_a_waiting_run_is_shown_as_waiting_and_can_leave_the_queue(qtbot, page, services):
    going, waiting = made_run("going"), made_run("waiting").resolve()
    with FolderLock(going):
        services.run_queue.look()
        qtbot.waitUntil(lambda: bool(services.run_queue.active()), timeout=30_000)
        services.run_queue.resume(waiting)
        page.open_with({"run": waiting})
        qtbot.waitUntil(lambda: page.state_pill.text == "Waiting", timeout=30_000)
        assert page.phases.title.text() == "Waiting for its device"
        assert page.phases.detail.text() == "It is the next one. Going on: going."
        begin, leave = page.top_bar_actions()
        assert begin.text() == "Start now"
        services.run_queue.hold()
        qtbot.waitUntil(page.notice.isVisible, timeout=30_000)
        assert "on hold" in page.notice.accessibleName()
        services.run_queue.release()
        qtbot.waitUntil(page.notice.isHidden, timeout=30_000)
        leave.click()
        assert services.run_queue.queued() == []


def test_that_without_a_run_the_page_offers_one(qtbot, page):
    assert page.empty.isVisible()
    assert page.settled() and page.log_folder() is None and page.top_bar_actions() == []


def test_that_a_damaged_recipe_does_not_hide_the_curves(qtbot, page):
    folder = finished_run()
    (folder / "recipe.yaml").chmod(0o644)
    (folder / "recipe.yaml").write_text("training: [")
    opened(qtbot, page, folder)
    page.side.tabs.setCurrentIndex(3)
    assert "cannot be read" in page.side.recipe.toPlainText()
    assert figure(page, "step") == "302 / 302"


def test_that_switching_runs_shows_the_other_ones_curve(qtbot, page):
    opened(qtbot, page, finished_run("first"))
    page.charts.group.show_stretch((10.0, 50.0))
    opened(qtbot, page, finished_run("second", gpu=False, steps=90))
    assert page.title == "second"
    assert page.charts.group.stretch is None
    assert len(page.charts.loss.chart._curves["loss"].data.raw) == 90
    assert page.charts.memory.title_label.text() == "Memory (GB)"
    assert page.charts.loss.chart.stretch()[1] == 90


def test_that_the_axis_can_be_time_or_epochs(qtbot, page):
    opened(qtbot, page, finished_run())
    page.charts.set_axis("time")
    assert page.charts.loss.chart.stretch()[1] == pytest.approx(9813, rel=0.05)
    page.charts.set_axis("epoch")
    assert page.charts.loss.chart.stretch()[1] == pytest.approx(1.0)
    page.charts.group.point(150.0)
    assert page.charts.loss.chart.spoken_crosshair().startswith("step 150 · epoch 0.50")


def test_that_the_page_draws_in_both_themes_and_at_150_percent_text(qtbot, qapp, page):
    opened(qtbot, page, finished_run())
    for theme, percent in (("light", 100), ("dark", 150)):
        apply_theme(qapp, theme, percent)
        page.refresh()
        assert not page.grab().isNull()
    apply_theme(qapp, "dark", 100)


@pytest.mark.slow
def test_that_resume_on_a_killed_run_goes_on_to_its_end(qtbot, page, services, tiny_model, tmp_path):
    run = services.run_queue.submit(tiny_recipe(tiny_model, tmp_path, training__max_steps=60))
    folder = services.run_queue.attach(run).folder
    page.open_with({"run": folder})
    qtbot.waitUntil(lambda: page.watch.step >= 6, timeout=LONG)
    os.kill(lock.holder(folder), signal.SIGKILL)
    qtbot.waitUntil(lambda: page.state_pill.text == "Crashed", timeout=30_000)
    assert not page.notice.isHidden()
    page.top_bar_actions()[0].click()
    qtbot.waitUntil(lambda: page.notice.isHidden(), timeout=30_000)
    qtbot.waitUntil(lambda: page.state_pill.text == "Finished", timeout=LONG)
    assert store.state_of(folder) == "finished"
    assert figure(page, "step") == "60 / 60"
    steps = page.charts.loss.chart._curves["loss"].steps
    assert list(steps) == list(range(1, 61))
    assert page.top_bar_actions()[0].text() == "Chat with it"


def test_that_controls_can_be_reached_by_tab_and_have_names(qtbot, page):
    opened(qtbot, page, finished_run())
    charts = [card.chart for card in page.charts.cards]
    assert all(chart.focusPolicy() == Qt.FocusPolicy.StrongFocus for chart in charts)
    assert all(chart.accessibleName() and chart.accessibleDescription() for chart in charts)
    assert page.side.samples.slider.accessibleName() == "Step of the answers"


def test_that_a_silent_child_is_told_with_a_way_out(qtbot, page, monkeypatch):
    script = Script(made_run())
    script.begin()
    script.steps(1, 20)
    script.write()
    with FolderLock(script.folder):
        page.open_with({"run": script.folder})
        qtbot.waitUntil(lambda: page.state_pill.text == "Training", timeout=30_000)
        assert page.notice.isHidden()
        monkeypatch.setattr("app.workers.run_watch.LEAST_PATIENCE_SECONDS", 0.05)
        qtbot.wait(100)
        page._look_for_silence()
        assert not page.notice.isHidden()
        assert "RUN-11" in page.notice._text.text()
        monkeypatch.setattr("app.workers.run_watch.LEAST_PATIENCE_SECONDS", 60.0)
        page._look_for_silence()
        assert page.notice.isHidden()


def test_that_a_run_put_away_by_the_queue_stays_on_the_page(qtbot, page, services):
    opened(qtbot, page, finished_run("first", steps=40))
    held = page.watch
    for number in range(7):
        watch = services.run_queue.attach(finished_run(f"other-{number}", steps=20))
        qtbot.waitUntil(lambda watch=watch: watch.ending is not None and not watch.watching, timeout=30_000)
    assert page.watch is held
    page.refresh()
    assert figure(page, "step") == "40 / 40"
    services.run_queue.run_changed.emit(held.id)
    assert page.watch is not held
    qtbot.waitUntil(page.settled, timeout=30_000)
    assert figure(page, "step") == "40 / 40"
