"""Ways to data, and what is said of it: a table by hand, recent files, drops, Show, Undo, names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from app.drop import classify, kind_of
from app.pages.wizard.data_encoding import telling_part
from app.pages.wizard.data_sources import sum_words
from app.pages.wizard.data_step import DataStep
from app.pages.wizard.wizard import WizardPage
from app.services import Services
from tests.gui.drawn import nameless_controls, wait_until_nothing_is_cut
from tests.gui.wizard_place import open_page, settle

# Qt without a screen says so when a window has a smallest size or a menu opens.
pytestmark = pytest.mark.qt_log_ignore("This plugin does not support")


@pytest.fixture
def page(qtbot: Any, services: Services, tiny_model: Path) -> WizardPage:
    made = open_page(qtbot, services)
    made.state.set_value("model.path", str(tiny_model))
    made.go_to("data")
    settle(qtbot, made)
    return made


@pytest.fixture
def step(page: WizardPage) -> DataStep:
    found = page.steps["data"]
    assert isinstance(found, DataStep)
    return found


def write(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def take(qtbot: Any, page: WizardPage, file: Path) -> None:
    page.state.set_value("data.train", [str(file)])
    settle(qtbot, page)


def test_that_a_pasted_table_becomes_data_that_is_used(qtbot, page, step, tmp_path):
    step.start.open_way("hand")
    cells = "\n".join(f"Where is {n}?\tOn shelf {n}." for n in range(5))
    QApplication.clipboard().setText(cells)
    QTest.keyClick(step.start.hand.table, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
    step.start.hand.name.setText("Shelf plan")
    step.start.hand.use.click()
    settle(qtbot, page)
    file = tmp_path / "home" / "datasets" / "shelf-plan.jsonl"
    assert page.state.value("data.train") == [str(file)]
    first = json.loads(file.read_text(encoding="utf-8").splitlines()[0])
    assert first == {"prompt": "Where is 0?", "answer": "On shelf 0."}
    assert page.state.data.train_examples == 5
    assert step.start.isHidden()


def test_that_own_data_sets_are_offered_and_used_by_a_press(qtbot, page, step, tmp_path):
    file = write(tmp_path / "home" / "datasets" / "mine.jsonl", [{"prompt": "a", "completion": "b"}] * 3)
    step.start.look()
    settle(qtbot, page)
    assert not step.start.own.isHidden()
    with qtbot.waitSignal(step.start.files_chosen) as chosen:
        step.start._own.itemAt(0).widget().findChildren(type(step.add_button))[0].click()
    assert chosen.args == [[file]]


def test_that_a_recent_file_that_is_gone_is_greyed_and_can_be_located(qtbot, page, step, services, tmp_path):
    here = write(tmp_path / "here.jsonl", [{"prompt": "a", "completion": "b"}] * 3)
    gone = tmp_path / "gone.jsonl"
    for file in (here, gone):
        services.settings.remember("recent_data", str(file))
    settle(qtbot, page)
    step.recent.fill()
    states = [(a.text().split(" ")[0], a.isEnabled()) for a in step.recent.menu.actions()]
    assert states == [("gone.jsonl", False), ("Locate", True), ("here.jsonl", True)]
    step.recent.put_in_place_of(str(gone), str(here))
    settle(qtbot, page)
    assert page.state.value("data.train") == [str(here)]
    assert services.settings.value.recent_data == [str(here)]


def test_that_a_located_file_keeps_what_was_said_of_it(qtbot, page, step, tmp_path):
    gone = str(tmp_path / "gone.jsonl")
    here = write(tmp_path / "here.jsonl", [{"prompt": "a", "completion": "b"}] * 3)
    entry = {gone: {"share": 0.5}}
    page.state.set_values({"data.train": [gone, str(here)], "data.sources": entry})
    other = write(tmp_path / "other.jsonl", [{"prompt": "c", "completion": "d"}] * 3)
    step._on_located(gone, other)
    data = page.state.recipe.data
    assert data.train == [str(other), str(here)]
    assert data.sources[str(other)].share == 0.5


def test_that_a_row_that_cannot_be_read_shows_its_text_and_can_be_skipped(qtbot, page, step, tmp_path):
    file = write(tmp_path / "a.jsonl", [{"prompt": f"ask {n}", "completion": f"say {n}"} for n in range(30)])
    lines = file.read_text(encoding="utf-8").splitlines()
    lines[6] = '{"prompt": "half a row", "completion": '
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    take(qtbot, page, file)
    step.side.checks.list.links["bad_rows"].click()
    settle(qtbot, page)
    assert "half a row" in step.panel.example.toPlainText()
    assert "line 7" in step.panel.words.text()
    step.panel.skip_requested.emit()
    settle(qtbot, page)
    assert page.state.value("data.bad_rows") == "leave_out"
    assert page.state.problems("data") == []


def test_that_a_press_that_mends_offers_to_take_it_back(qtbot, page, step, services, tmp_path):
    told: list[tuple[Any, ...]] = []
    services.notify = lambda *words, **_: told.append(words)
    rows = [{"prompt": f"ask {n % 28}", "completion": f"say {n % 28}"} for n in range(30)]
    take(qtbot, page, write(tmp_path / "a.jsonl", rows))
    step.side.checks.list.buttons["duplicates"].click()
    settle(qtbot, page)
    assert page.state.value("data.dedupe") is True
    words, take_back = told[-1][2]
    take_back()
    assert (words, page.state.value("data.dedupe")) == ("Undo", False)


def test_that_arrow_keys_move_the_cut_and_the_caption(qtbot, page, step, tmp_path):
    rows = [{"prompt": f"ask {n}", "completion": f"say {n} " * (1 + n % 9)} for n in range(60)]
    take(qtbot, page, write(tmp_path / "a.jsonl", rows))
    page.state.set_value("data.max_length", 64)
    settle(qtbot, page)
    QTest.keyClick(step.lengths.histogram, Qt.Key.Key_Left, Qt.KeyboardModifier.NoModifier)
    QTest.keyClick(step.lengths.histogram, Qt.Key.Key_Left, Qt.KeyboardModifier.NoModifier)
    assert page.state.value("data.max_length") == 48
    settle(qtbot, page)
    cut = page.state.data.cut(48)
    assert cut.rows and f"{cut.rows} rows are cut at 48 tokens" in step.lengths.words.text()


def test_that_the_memory_of_the_proposed_length_stays_hatched(qtbot, page, step, tmp_path):
    rows = [{"prompt": f"ask {n}", "completion": f"say {n} " * 90} for n in range(40)]
    take(qtbot, page, write(tmp_path / "a.jsonl", rows))
    page.state.set_value("data.max_length", 64)
    settle(qtbot, page)
    page.state.set_value("training.learning_rate", 1e-4)  # another plan, of the same lengths
    settle(qtbot, page)
    plan = step.side.plan
    assert plan.bar.more > plan.bar.value
    assert "if the limit goes to" in plan.note.text()


def test_that_numbers_of_an_answer_get_names(qtbot, page, step, tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text(
        "text,label\n" + "".join(f"review number {n},{n % 2}\n" for n in range(40)), encoding="utf-8"
    )
    take(qtbot, page, file)
    editor = step.columns_card.labels.editors
    assert list(editor) == ["0", "1"]
    editor["1"].setText("positive")
    editor["1"].editingFinished.emit()
    settle(qtbot, page)
    assert page.state.value("data.label_names") == {"1": "positive"}
    step.panel.go_to(1)
    settle(qtbot, page)
    assert "positive" in step.panel.example.toPlainText()


def test_d34_that_unknown_roles_get_a_meaning(qtbot, page, step, tmp_path):
    turns = [{"role": "customer", "content": "Where?"}, {"role": "agent", "content": "Here."}]
    take(qtbot, page, write(tmp_path / "a.jsonl", [{"messages": turns}] * 30))
    editors = step.columns_card.roles.editors
    assert set(editors) == {"customer", "agent"}
    for name, role in (("customer", "user"), ("agent", "assistant")):
        editors[name].setCurrentIndex(editors[name].findData(role))
        editors[name].activated.emit(0)
    settle(qtbot, page)
    assert page.state.value("data.role_names") == {"customer": "user", "agent": "assistant"}
    assert page.state.data_error is None
    assert page.state.data.refused == 0


def test_that_yaml_is_data_or_a_recipe_by_what_it_holds(tmp_path, page):
    rows, recipe = tmp_path / "rows.yaml", tmp_path / "recipe.yaml"
    rows.write_text("- prompt: a\n  completion: b\n", encoding="utf-8")
    recipe.write_text("# mine\ndata:\n  train: [rows.yaml]\nadapter: {r: 4}\n", encoding="utf-8")
    assert (kind_of(rows), kind_of(recipe)) == ("data", "recipe")
    assert page.handle_drop(rows)
    assert page.state.value("data.train") == [str(rows)]


def test_that_packed_files_and_saved_folders_are_data(tmp_path):
    for name in ("a.jsonl.gz", "a.csv.zst", "a.zip", "a.xlsx", "a.ndjson"):
        (tmp_path / name).write_bytes(b"x")
        found = classify(tmp_path / name)
        assert found is not None and found.sentence == "Use as data"
    folder = tmp_path / "saved"
    (folder / "data").mkdir(parents=True)
    assert classify(folder) is None
    (folder / "data" / "train-00000.parquet").write_bytes(b"x")
    assert kind_of(folder) == "data"


def test_that_shares_that_cannot_be_are_said():
    assert sum_words([0.3, None]) == (
        "The shares come to 30 %; the other files have 70 % between them.",
        False,
    )
    assert sum_words([0.7, 0.4])[1]
    assert sum_words([1.0, None])[1]
    assert sum_words([None, None]) == ("", False)


def test_that_a_preview_shows_the_letters_that_tell():
    assert telling_part("x" * 60 + "ß end") == "…" + "x" * 12 + "ß end"
    assert telling_part("kurz ß") == "kurz ß"


@pytest.mark.parametrize("size", [(1240, 844), (1036, 644)])
def test_that_no_word_is_cut_and_every_control_has_a_name(qtbot, page, step, tmp_path, size):
    rows = [{"prompt": f"ask {n % 28}", "completion": f"say {n % 28}", "id": n} for n in range(30)]
    take(qtbot, page, write(tmp_path / "a.jsonl", rows))
    page.resize(*size)
    wait_until_nothing_is_cut(page, qtbot)
    assert nameless_controls(page) == []
