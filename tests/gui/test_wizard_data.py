"""The data step on real files, to the end of a real run: what is chosen there is what is trained."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest

from app.pages.wizard.data_step import DataStep
from app.pages.wizard.wizard import WizardPage
from app.services import Services
from engine.data.dataset import prepare
from engine.data.tokenizer import open_tokenizer
from engine.events import DataPrepared
from engine.jobs import process
from engine.recipe import codec
from engine.runs import store
from engine.runs.event_log import EventReader
from tests.gui.wizard_place import open_page, settle

# Qt without a screen says so when a window has a smallest size or a menu opens.
pytestmark = pytest.mark.qt_log_ignore("This plugin does not support")


@pytest.fixture
def page(qtbot: Any, services: Services) -> WizardPage:
    return open_page(qtbot, services)


def data_step(qtbot: Any, page: WizardPage, model: Path, *files: Path, **values: Any) -> DataStep:
    """Choose a model and files, go to the data step and wait until all is known."""
    changes = {"model.path": str(model), "data.train": [str(file) for file in files], **values}
    page.state.set_values(changes)
    page.go_to("data")
    settle(qtbot, page)
    step = page.steps["data"]
    assert isinstance(step, DataStep)
    return step


def write(file: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows as JSON lines."""
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return file


def drag(step: DataStep, cut: int) -> None:
    """Draw the cut line to a length with the mouse."""
    chart = step.lengths.histogram
    area = chart._area()
    start = QPoint(round(min(chart._x(chart.cut), area.right())), round(area.center().y()))
    end = QPoint(round(area.left() + area.width() * cut / chart._upper), start.y())
    QTest.mousePress(chart, Qt.MouseButton.LeftButton, pos=start)
    QTest.mouseMove(chart, QPoint((start.x() + end.x()) // 2, start.y()))
    QTest.mouseMove(chart, end)
    QTest.mouseRelease(chart, Qt.MouseButton.LeftButton, pos=end)


def test_that_what_is_done_to_the_data_is_what_the_child_trains_on(qtbot, page, tiny_model, tmp_path):
    lines = ["alpha,beta,gamma"]
    lines += [f"question {n},wrong {n},{'answer and more ' * (1 + n % 5)}{n}" for n in range(40)]
    lines += [f"question {n},wrong {n},{'answer and more ' * (1 + n % 5)}{n}" for n in range(4)]
    file = tmp_path / "tickets.csv"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    step = data_step(
        qtbot, page, tiny_model, file, **{"data.columns": {"prompt": "alpha", "completion": "beta"}}
    )
    combo = step.columns_card.mapping.combos["gamma"]
    combo.setCurrentIndex(combo.findData("completion"))
    combo.activated.emit(combo.currentIndex())
    settle(qtbot, page)
    QTest.mouseClick(step.side.checks.list.buttons["duplicates"], Qt.MouseButton.LeftButton)
    settle(qtbot, page)
    view = page.state.data
    wanted = int(sorted(view.lengths)[-8]) // 8 * 8
    drag(step, wanted)
    settle(qtbot, page)
    recipe, view = page.state.recipe, page.state.data
    assert recipe.data.columns == {"prompt": "alpha", "completion": "gamma"}
    assert recipe.data.dedupe
    assert recipe.data.max_length == pytest.approx(wanted, abs=8)
    assert f"cut at {recipe.data.max_length}" in step.lengths.words.text()
    assert 0 < view.truncated < 40

    recipe = codec.override(recipe, {"training.max_steps": 1, "training.per_device_train_batch_size": 2})
    run = store.create_run(recipe, tmp_path / "run")
    process.start(run).wait(120)
    assert store.state_of(run) == "finished"
    told = next(event for event in EventReader(run).read_new() if isinstance(event, DataPrepared))
    assert (told.train_examples, told.validation_examples) == (view.train_examples, view.validation_examples)
    assert told.train_examples + told.validation_examples == 40
    assert (told.truncated, told.dropped) == (view.chosen.truncated, 4)
    trained = prepare(recipe.data, tiny_model, recipe.training.seed)
    digest = hashlib.sha256()
    for example in [*trained.train, *trained.validation]:
        digest.update(example.ids.tobytes())
        digest.update(example.trained.tobytes())
    assert json.loads((run / "environment.json").read_bytes())["data_digest"] == digest.hexdigest()
    tokenizer = open_tokenizer(tiny_model)
    texts = [tokenizer.decode(example.ids[example.trained].tolist()) for example in trained.train]
    assert all("answer" in text and "wrong" not in text for text in texts)


def test_d39_that_a_press_that_mends_can_be_taken_back(qtbot, page, tiny_model, tmp_path):
    rows = [{"prompt": f"ask {n % 25}", "completion": f"say {n % 25}"} for n in range(30)]
    step = data_step(qtbot, page, tiny_model, write(tmp_path / "a.jsonl", rows))
    assert "5 duplicate rows" in [r.title for r in step.side.checks.list.remarks]
    QTest.mouseClick(step.side.checks.list.buttons["duplicates"], Qt.MouseButton.LeftButton)
    settle(qtbot, page)
    assert page.state.data.train_examples + page.state.data.validation_examples == 25
    assert "duplicates" not in step.side.checks.list.buttons
    assert page.state.undo()
    settle(qtbot, page)
    assert page.state.data.train_examples + page.state.data.validation_examples == 30


def test_that_a_filter_pages_through_the_doubles_alone(qtbot, page, tiny_model, tmp_path):
    rows = [{"prompt": f"ask {n % 25}", "completion": f"say {n % 25}"} for n in range(30)]
    step = data_step(qtbot, page, tiny_model, write(tmp_path / "a.jsonl", rows))
    step.doubles.filtered.emit("duplicates")
    settle(qtbot, page)
    assert "ask 0" in step.panel.example.toPlainText() and step.panel.index == 25
    step.panel.page(-1)
    settle(qtbot, page)
    assert step.panel.index == 29
    step.panel.leave_filter()
    settle(qtbot, page)
    step.panel.page(1)
    settle(qtbot, page)
    assert step.panel.index == 0


def test_d05_that_an_old_encoding_is_chosen_from_its_words(qtbot, page, tiny_model, tmp_path):
    lines = ["prompt,completion", *(f"Wie heißt du Müller {n}?,Ich heiße Jürgen {n}." for n in range(30))]
    file = tmp_path / "old.csv"
    file.write_bytes("\n".join(lines).encode("cp1252"))
    step = data_step(qtbot, page, tiny_model, file)
    assert page.state.data_error.code == "DATA-01"
    assert not step.encodings.isHidden()
    name = next(
        codec for codec in step.encodings.cards if codec.replace("_", "") in ("cp1252", "windows1252")
    )
    step.encodings.cards[name].pressed.emit()
    settle(qtbot, page)
    assert page.state.data_error is None and page.state.recipe.data.encoding == name
    assert "Müller" in step.panel.example.toPlainText()


def test_that_shares_of_two_files_reach_the_recipe_and_the_rows(qtbot, page, tiny_model, tmp_path):
    files = []
    for name in ("a", "b"):
        rows = [{"prompt": f"{name} ask {n}", "completion": f"{name} say {n}"} for n in range(40)]
        files.append(write(tmp_path / f"{name}.jsonl", rows))
    step = data_step(qtbot, page, tiny_model, *files)
    step.sources.share_edited.emit(str(files[0]), 0.8)
    step.sources.share_edited.emit(str(files[1]), 0.2)
    settle(qtbot, page)
    assert page.state.recipe.data.sources[str(files[0])].share == 0.8
    view = page.state.data
    assert view.train_examples + view.validation_examples == 50
    step.shown_data.remove_file(str(files[1]))
    settle(qtbot, page)
    assert page.state.data.train_examples + page.state.data.validation_examples == 40


def test_that_show_leads_to_the_wrong_row_and_its_line(qtbot, page, tiny_model, tmp_path):
    file = write(tmp_path / "a.jsonl", [{"prompt": f"ask {n}", "completion": f"say {n}"} for n in range(30)])
    lines = file.read_text(encoding="utf-8").splitlines()
    lines[6] = '{"prompt": "half a row", "completion": '
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    step = data_step(qtbot, page, tiny_model, file, **{"data.bad_rows": "leave_out"})
    step.shown_data.press("bad_rows")
    settle(qtbot, page)
    assert not step.panel.problem.isHidden()
    assert step.panel.shown is not None and step.panel.shown.line == 7


def test_that_a_large_file_shows_a_sample_first_and_then_the_whole(qtbot, page, tiny_model, tmp_path):
    rows = [{"prompt": f"ask {n}", "completion": f"say {n} " * 60} for n in range(12_000)]
    file = write(tmp_path / "large.jsonl", rows)
    seen = []
    page.state.data_changed.connect(lambda: seen.append(page.state.data and page.state.data.complete))
    data_step(qtbot, page, tiny_model, file)
    qtbot.waitUntil(lambda: page.settled(), timeout=60_000)
    assert False in seen and page.state.data.complete
    assert page.state.data.train_examples + page.state.data.validation_examples == 12_000
