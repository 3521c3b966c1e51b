"""The page of evaluations: a real child on a tiny base and adapter, and results as the engine writes them."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QPushButton

from app.evaluating import bar_lines, markdown, summary, word_differences
from app.pages.evaluate import EvaluatePage
from app.pages.library_preview import RunPreview
from app.palette import commands_of
from app.window import MainWindow
from engine import durable
from engine.benchmarks.spec import GENERAL, OWN_TESTS, benchmarks
from engine.jobs import process
from engine.runs import evaluation_results
from engine.runs.evaluations import Evaluation, Item, Results, create_evaluation, read_evaluations
from engine.runs.store import summary as summary_of
from tests.gui.drawn import give_keyboard, nameless_controls, wait_until_nothing_is_cut
from tests.gui.run_folders import make_run
from tests.integration.adapters import make_adapters

LONG = 180_000


@pytest.fixture
def run(tiny_model: Path, home: Path) -> Path:
    """Return a finished run whose result is a real adapter of a real tiny base."""
    folder = make_adapters(tiny_model)
    made = make_run("tickets", steps=20, base=str(folder / "plain-base"))
    shutil.copytree(folder / "plain-adapter", made / "adapter")
    return made.resolve()


@pytest.fixture
def page(qtbot, services):
    made = EvaluatePage(services)
    qtbot.addWidget(made)
    for widget in (made.runs_button, made.copy_button, made.what_button, made.run_button):
        qtbot.addWidget(widget)
    made.resize(1240, 844)
    made.show()
    yield made
    for going in made.measuring.goings.values():
        process.kill(going.folder)
    made.finish()


def open_run(page: EvaluatePage, qtbot, run: Path) -> None:
    page.open_with({"run": run})
    page.shown()
    settle(page, qtbot)


def settle(page: EvaluatePage, qtbot) -> None:
    qtbot.waitUntil(lambda: page.settled() and not page.services.background.busy, timeout=LONG)


def own_tests(folder: Path) -> Path:
    file = folder / "my-tests.jsonl"
    rows = [{"prompt": f"Say {word}.", "expected": word, "check": "contains"} for word in "abcde"]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def answered(name: str, pairs: list[tuple[bool, bool]], metric: str = "acc") -> list[Item]:
    """Return items of which base and adapter answered some right."""
    return [
        Item(
            benchmark=name,
            item=number,
            prompt=f"Question {number}: which one?",
            expected="the second",
            answers={"base": _said(base), "adapter": _said(adapter)},
            right={"base": base, "adapter": adapter},
            values={"base": {metric: float(base)}, "adapter": {metric: float(adapter)}},
        )
        for number, (base, adapter) in enumerate(pairs)
    ]


def _said(right: bool) -> str:
    return "the second" if right else "the first"


def write_evaluation(run: Path, items: list[Item], age: float = 0.0) -> Path:
    """Leave a finished evaluation behind, as the engine's own arithmetic makes it."""
    names = list(dict.fromkeys(item.benchmark for item in items))
    folder = create_evaluation(str(run), names, run=run)
    job = json.loads((folder / "job.json").read_bytes())
    durable.write_json(folder / "job.json", {**job, "created": time.time() - age})
    known, scores, comparisons = benchmarks(), [], []
    for name in names:
        own = [item for item in items if item.benchmark == name]
        scores += evaluation_results.scores_of(name, known[name].metrics, own)
        comparisons += evaluation_results.comparisons_of(name, known[name].metrics, own)
    forgetting = evaluation_results.forgetting_of([known[name] for name in names], items)
    told = Results(
        time=time.time(),
        target="tickets",
        base="plain-base",
        benchmarks=names,
        seconds=61.0,
        dtype="float32",
        device="cpu",
        scores=scores,
        comparisons=comparisons,
        forgetting=forgetting,
    )
    durable.write_json(folder / "results.json", told.model_dump(mode="json"))
    durable.write_file(folder / "items.jsonl", "".join(item.model_dump_json() + "\n" for item in items))
    durable.write_file(folder / "events.jsonl", b"{}\n")
    closing = {"status": "finished", "code": "", "message": "", "hint": "", "time": time.time()}
    durable.write_json(folder / "exit.json", closing)
    return folder


SWAPPED = [(False, True)] * 9 + [(True, False)] * 2 + [(True, True)] * 9
FORGOT = [(True, False)] * 12 + [(True, True)] * 8


def test_that_an_evaluation_goes_on_without_its_page_and_ends_in_scores(
    page: EvaluatePage, qtbot, run: Path, tmp_path: Path
) -> None:
    open_run(page, qtbot, run)
    assert page.places.currentWidget() is page.choice
    assert page.choice.names == [GENERAL]  # no rows were kept aside, and no tests of one's own
    assert page.handle_drop(own_tests(tmp_path))
    settle(page, qtbot)
    assert page.choice.names == [OWN_TESTS, GENERAL]
    assert page.choice.list.rows[OWN_TESTS].count.text() == "5 questions"
    page.choice.limit_field.setText("3")
    assert page.choice.total.text().startswith("12 questions · ")

    page.start()
    going = page.measuring.of(run)
    assert going is not None and not page.going_card.isHidden()
    assert page.run_button not in page.top_bar_actions()
    shares: list[float] = []
    going.changed.connect(lambda: shares.append(going.share))
    page.hide()  # a person went elsewhere
    qtbot.waitUntil(lambda: page.measuring.of(run) is None, timeout=LONG)
    page.show()
    settle(page, qtbot)
    assert shares == sorted(shares) and shares[-1] == 1.0
    (told,) = page.services.toasts
    assert told[0] == "tickets is measured." and told[2][0] == "See it"

    assert page.places.currentWidget() is page.results and page.notice.isHidden()
    found = read_evaluations(run)[0]
    assert found.results is not None and found.results.limit == 3
    assert found.results.benchmarks[-1] == OWN_TESTS or OWN_TESTS in found.results.benchmarks
    lines = page.results.bars.lines
    assert len(lines) == len(found.results.comparisons)
    assert all(line.base is not None and line.adapter is not None for line in lines)
    assert page.results.forgetting.property("state") in ("ok", "bad")
    assert page.offers.of([GENERAL])[0].basis == "measured"
    page.copy_button.click()
    assert "| General grammar | right | 3 |" in QApplication.clipboard().text()


def test_that_a_stopped_evaluation_is_followed_from_a_new_window_and_goes_on(
    page: EvaluatePage, qtbot, services, run: Path
) -> None:
    open_run(page, qtbot, run)
    page.choice.limit_field.setText("2")
    page.start()
    folder = page.measuring.of(run).folder  # type: ignore[union-attr]
    qtbot.waitUntil(lambda: process.is_alive(folder), timeout=LONG)

    second = EvaluatePage(services)  # as after a restart of the window
    qtbot.addWidget(second)
    open_run(second, qtbot, run)
    assert second.measuring.of(run) is not None
    second._on_cancel()
    assert second.measuring.of(run).stopping  # type: ignore[union-attr]
    qtbot.waitUntil(lambda: not page.measuring.goings and not second.measuring.goings, timeout=LONG)
    settle(page, qtbot)
    assert read_evaluations(run)[0].state == "stopped"
    assert page.notice._title.text() == "This evaluation was stopped"
    assert "stopped" in page.results.history.itemText(0)

    page._go_on(read_evaluations(run)[0])
    qtbot.waitUntil(lambda: process.is_alive(folder), timeout=LONG)
    assert page.notice.isHidden() and not page.going_card.isHidden()
    assert len(list((run / "evaluations").iterdir())) == 1
    second.finish()


def test_that_results_tell_verdicts_what_was_forgotten_and_what_changed(
    page: EvaluatePage, qtbot, run: Path
) -> None:
    write_evaluation(run, answered("general-grammar", [(True, True)] * 5), age=90_000)
    items = answered("blimp-causative", SWAPPED) + answered("general-knowledge", FORGOT)
    write_evaluation(run, items)
    open_run(page, qtbot, run)
    view = page.results
    verdicts = {line.label: line.verdict for line in view.bars.lines}
    assert verdicts == {"BLiMP, causative": "no clear difference", "General knowledge": "worse"}
    assert view.summary.text() == "Worse in 1, no clear difference in 1"
    card = view.forgetting
    assert (card.property("state"), card.words.text()) == ("bad", "Something was forgotten")
    assert "fell by 60.0 points" in card.message.text()
    with qtbot.waitSignal(page.navigate_requested) as asked:
        card.weaker.click()
    assert asked.args == ["chat", {"run": run}]

    changed = view.changed
    assert [line.gained for line in changed.list.lines] == [True] * 9 + [False] * 14
    assert "9 wrong to right, 14 right to wrong" in changed.counts.text()
    assert view.answer.change.text() == "Wrong to right"
    give_keyboard(changed.list, qtbot)
    for _ in range(9):
        qtbot.keyClick(changed.list, Qt.Key.Key_J)
    qtbot.waitUntil(lambda: view.answer.change.text() == "Right to wrong", timeout=LONG)
    qtbot.keyClick(changed.list, Qt.Key.Key_K)
    qtbot.waitUntil(lambda: view.answer.change.text() == "Wrong to right", timeout=LONG)
    tinted = [piece.text for piece in view.answer.before.pieces if piece.trained]
    assert tinted == ["first"] and view.answer.expected.text() == "the second"

    give_keyboard(view.bars, qtbot)
    qtbot.keyClick(view.bars, Qt.Key.Key_Down)
    qtbot.keyClick(view.bars, Qt.Key.Key_Return)
    assert len(changed.items) == 12 and {item.benchmark for item in changed.items} == {"general-knowledge"}
    assert changed.filter_box.currentText() == "General knowledge"

    assert view.history.count() == 2
    view.history.setCurrentIndex(1)
    view.evaluation_chosen.emit(1)
    settle(page, qtbot)
    assert len(view.bars.lines) == 1 and view.answer.isHidden()
    assert view.changed.nothing.text() == "No answer became right or wrong."
    assert view.forgetting.words.text() == "No clear loss of general skills"


def test_that_what_keeps_it_from_starting_is_said_beside_its_field(
    page: EvaluatePage, qtbot, run: Path, tmp_path: Path
) -> None:
    open_run(page, qtbot, run)
    choice = page.choice
    assert not choice.base_switch.isEnabled() and choice.base_too
    choice.list.rows[GENERAL].box.setChecked(False)
    choice.base_switch.setChecked(False)
    assert not choice.base_too and choice.problem == "Tick something to measure."
    choice.list.rows["arithmetic-2-digits"].box.setChecked(True)
    assert choice.seed_field.isEnabled()
    choice.seed_field.setText("7")
    assert (choice.seed, choice.problem) == (7, "")
    for text, limit in (("2k", 2000), ("1,000", 1000), ("", None), ("none", 0)):
        choice.limit_field.setText(text)
        assert choice.limit == limit
    page.start()
    assert page.measuring.goings == {} and "use 1 or more" in choice.wrong.text()
    assert not list((run / "evaluations").glob("*"))

    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"prompt": "a", "expected": "b"}\n{"prompt": \n')
    page.files.take(OWN_TESTS, broken)
    settle(page, qtbot)
    assert "line 2" in page.notice._title.text() and OWN_TESTS not in choice.names


def test_that_a_benchmark_that_is_not_here_is_measured_on_a_file(
    page: EvaluatePage, qtbot, run: Path, tmp_path: Path
) -> None:
    open_run(page, qtbot, run)
    (line,) = [line for line in page.choice.list.lines if line.id == "blimp-causative"]
    assert line.problem == "Not on this computer."
    assert [act for act, _ in line.presses] == ["file", "download"]
    file = tmp_path / "causative.jsonl"
    file.write_text('{"sentence_good": "Ann fell.", "sentence_bad": "Ann felled."}\n' * 4)
    page.files.take("blimp-causative", file)
    settle(page, qtbot)
    assert "blimp-causative" in page.choice.names
    assert page.choice.list.rows["blimp-causative"].count.text() == "4 questions"
    page.files.remove("blimp-causative")
    settle(page, qtbot)
    assert "blimp-causative" not in page.choice.names


def test_that_a_failed_evaluation_says_why_and_offers_to_go_on(page: EvaluatePage, qtbot, run: Path) -> None:
    folder = create_evaluation(str(run), [GENERAL], run=run)
    durable.write_file(folder / "events.jsonl", b"{}\n")
    note = {"status": "failed", "code": "MODEL-07", "message": "The base is gone.", "hint": "Choose it."}
    durable.write_json(folder / "exit.json", {**note, "time": time.time()})
    open_run(page, qtbot, run)
    assert page.notice._title.text() == "The base is gone."
    assert "Choose it." in page.notice._text.text() and "MODEL-07" in page.notice._text.text()
    assert [made.text() for made in page.notice.findChildren(QPushButton)][0] == "Go on"
    assert "failed" in page.results.history.itemText(0) and page.choice.names == [GENERAL]


def test_that_a_run_leads_to_its_evaluations_and_a_dropped_file_says_what_for(
    qtbot, services, run: Path, tmp_path: Path
) -> None:
    went: list[tuple[str, object]] = []
    preview = RunPreview(lambda page, argument: went.append((page, argument)))
    qtbot.addWidget(preview)
    preview.show_run(summary_of(run))
    preview.evaluate_button.click()
    assert went == [("evaluate", {"run": run})]

    window = MainWindow(services)
    qtbot.addWidget(window)
    window.navigate(*went[0])
    assert window.page_name == "evaluate"
    assert [each.words for each in commands_of(window) if "Evaluate" in each.words] == ["Evaluate a run"]
    window.overlay.show_for([own_tests(tmp_path)], window.page.drop_words(own_tests(tmp_path)))
    assert window.overlay.sentence == "Measure on this file"
    assert window.page.drop_words(run) == ""
    settle(window.page, qtbot)


def test_that_without_runs_the_page_says_what_to_do(page: EvaluatePage, qtbot) -> None:
    page.shown()
    settle(page, qtbot)
    assert page.places.currentWidget() is page.empty and page.top_bar_actions() == []


@pytest.mark.parametrize("text_size", [100, 150])
def test_that_no_word_is_cut_and_every_control_has_a_name(
    page: EvaluatePage, qtbot, run: Path, text_size: int
) -> None:
    page.services.theme.set_text_size(text_size)
    write_evaluation(run, answered("general-knowledge", FORGOT))
    open_run(page, qtbot, run)
    for _ in ("results", "choice"):
        wait_until_nothing_is_cut(page, qtbot)
        assert nameless_controls(page) == []
        page.choose()


def test_that_words_that_differ_are_told_apart() -> None:
    first, second = word_differences('{"queue": "sales"}', '{"queue": "billing"}')
    assert [text for text, differs in first if differs] == ["sales"]
    assert [text for text, differs in second if differs] == ["billing"]
    assert "".join(text for text, _ in first) == '{"queue": "sales"}'
    assert word_differences("", "a b") == ([], [("a b", True)])


def test_that_an_adapter_alone_has_bars_and_no_verdict(run: Path) -> None:
    scores = [
        {"benchmark": "held-out-loss", "metric": "loss", "value": 2.0, "stderr": 0.1, "n": 9},
        {"benchmark": "held-out", "metric": "f1", "value": 0.5, "stderr": 0.1, "n": 9},
    ]
    told = Results.model_validate(
        {
            "time": 0.0,
            "target": "t",
            "base": "b|c",
            "benchmarks": ["held-out-loss", "held-out"],
            "scores": [{**score, "target": "adapter"} for score in scores],
        }
    )
    loss, f1 = bar_lines(told)
    assert (loss.base, loss.verdict, loss.figures, f1.figures) == (None, "", "2.000", "50 %")
    assert f1.adapter is not None and f1.adapter.low == pytest.approx(0.5 - 1.96 * 0.1, abs=1e-4)
    assert summary(told) == ""
    evaluation = Evaluation(
        id="e", folder=run, name="e", created=0.0, state="finished", target="t", benchmarks=[], results=told
    )
    assert r"| words in common \(F1\) | 9 |  | 50.0 % |" in markdown(evaluation)
