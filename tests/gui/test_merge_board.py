"""The arithmetic board with a real window and a real child: two adapters, weights, methods, a trial."""

from __future__ import annotations

import shlex

import pytest
from PySide6.QtCore import Qt

from app.application import make_window, parse
from tests.gui.drawn import nameless_controls
from tests.gui.merge_place import LONG, moved, of_rank
from tests.integration.adapters import make_adapters


@pytest.fixture
def adapters(tiny_model):
    return make_adapters(tiny_model)


@pytest.fixture
def page(qtbot, qapp, home):
    window = make_window(qapp, parse(["--page", "merge", "--screenshot", "x.png", "--theme", "dark"]))
    qtbot.addWidget(window)
    window.show()
    made = window.page
    yield made
    made.process.drop()
    from app.application import finish

    finish(window)


def settle(page, qtbot):
    qtbot.waitUntil(page.settled, timeout=LONG)


def drop(page, qtbot, folder):
    assert page.drop_words(folder) == "Add this adapter to the mix"
    assert page.window().use(folder)
    settle(page, qtbot)


def test_that_dropped_adapters_of_other_ranks_take_the_method_that_can(page, adapters, qtbot, tmp_path):
    settle(page, qtbot)
    drop(page, qtbot, adapters / "plain-adapter")
    other = of_rank(adapters / "plain-adapter", tmp_path / "tone-r6", 6, loftq_config={"bits": 4})
    drop(page, qtbot, other)
    board = page.board
    assert [row.name.text() for row in board.rows] == ["plain-adapter", "tone-r6"]
    assert board.mixing.method == "cat" and not board.method.cards["linear"].available
    assert "their ranks are 4, 6. Use cat" in board.method.words.text()
    assert "loftq_config" in board.note.text()
    assert any(choice.target == str(other.resolve()) for choice in _known(page, qtbot))
    drop(page, qtbot, other)
    assert len(board.rows) == 2  # the same one is not taken twice
    board.method.cards["svd"].setFocus()
    qtbot.keyClick(board.method.cards["svd"], Qt.Key.Key_Space)
    assert board.mixing.method == "svd" and board.method.rank_holder.isVisibleTo(page)
    assert not board.method.density.isVisibleTo(page)
    board.rows[1].removed.emit()
    assert board.mixing.method == "svd" and len(board.rows) == 1
    assert board.method.cards["linear"].available
    assert nameless_controls(page) == []


def _known(page, qtbot):
    page.shown()
    settle(page, qtbot)
    return page.adapters()


def test_that_weights_move_by_keys_and_by_typing_and_stand_in_the_command(page, adapters, qtbot, tmp_path):
    settle(page, qtbot)
    drop(page, qtbot, adapters / "plain-adapter")
    drop(page, qtbot, of_rank(adapters / "plain-adapter", tmp_path / "same", 4))
    first, second = page.board.rows
    qtbot.keyClick(first.slider, Qt.Key.Key_Left)
    assert first.value.value() == 0.95
    second.value.setValue(-1.5)
    assert second.slider.value() == -150 and page.board.mixing.weights == (0.95, -1.5)
    assert "--weights=0.95,-1.5" in shlex.split(page.command())
    assert "-1.50 × LoRA r4" in page.diagram.accessibleName()
    page.board.method.chosen.emit("dare_ties")
    page.board.method.seed.setValue(3)
    assert shlex.join(["--density", "0.5", "--seed", "3"]) in page.command()


def test_that_the_mix_answers_before_anything_is_written_and_again_when_a_weight_moves(
    page, adapters, qtbot, tmp_path, home
):
    settle(page, qtbot)
    drop(page, qtbot, adapters / "plain-adapter")
    drop(page, qtbot, of_rank(adapters / "plain-adapter", tmp_path / "tone", 6))
    trial = page.trial
    assert trial.prompt.text()
    qtbot.keyClick(trial.prompt, Qt.Key.Key_Return)
    settle(page, qtbot)
    base, mix, pid = trial.base.text.text(), trial.mix.text.text(), page.process.pid
    assert trial.notice.isHidden() and trial.mix.figures.text()
    for row in page.board.rows:
        row.value.setValue(0.0)
    settle(page, qtbot)
    assert page.process.pid == pid and trial.mix.text.text() == base != mix
    for row in page.board.rows:
        row.value.setValue(1.0)
    settle(page, qtbot)
    assert trial.mix.text.text() == mix
    assert not list((home / "exports").iterdir())
    page.window().navigate("settings")
    assert not page.process.alive and trial.mix.text.text() == mix


def test_that_an_adapter_of_another_base_is_named_with_the_way_back(page, adapters, qtbot, tmp_path):
    import shutil

    settle(page, qtbot)
    drop(page, qtbot, adapters / "plain-adapter")
    shutil.copytree(adapters / "plain-base", tmp_path / "other-base")
    drop(page, qtbot, moved(adapters / "plain-adapter", tmp_path / "far", tmp_path / "other-base"))
    assert not page.board.ready and not page.parts.merge_button.isEnabled()
    assert "their bases differ. Use adapters of one base." in page.board.method.words.text()
    page.board.rows[1].remove.click()
    assert page.board.ready


def test_that_a_base_without_room_is_said_before_it_is_loaded(page, adapters, qtbot):
    settle(page, qtbot)
    drop(page, qtbot, adapters / "plain-adapter")
    page.trial._free = lambda: 1000.0
    page.trial.ask()
    assert "has no room" in page.trial.notice._title.text() and not page.process.alive
