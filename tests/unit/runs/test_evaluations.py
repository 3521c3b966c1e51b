"""Evaluations on disk: what is read back, what is told of damage, where questions are looked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.benchmarks.spec import benchmarks
from engine.errors import EngineError
from engine.runs import evaluations
from engine.runs.benchmark_rows import questions_for
from engine.runs.evaluation_results import comparisons_of, forgetting_of, scores_of
from engine.runs.evaluations import Item


def items(name: str, before: list[int], after: list[int]) -> list[Item]:
    """Return items that base and adapter answered right (1) or wrong (0)."""
    return [
        Item(
            benchmark=name,
            item=i,
            prompt="?",
            answers={"base": "", "adapter": ""},
            right={"base": bool(a), "adapter": bool(b)},
            values={"base": {"acc": float(a)}, "adapter": {"acc": float(b)}},
        )
        for i, (a, b) in enumerate(zip(before, after, strict=True))
    ]


def test_that_items_come_back_in_their_order_and_a_torn_line_is_none(tmp_path: Path) -> None:
    lines = [item.model_dump_json() for item in items("a", [1, 0, 0], [1, 1, 0])]
    (tmp_path / evaluations.ITEMS).write_text("\n".join([lines[2], lines[0], lines[1], '{"benchm']))
    found = evaluations.read_items(tmp_path)
    assert [item.item for item in found] == [0, 1, 2]
    assert [item.item for item in evaluations.changed_items(found)] == [1]
    assert evaluations.read_items(tmp_path, "b") == []


def test_that_an_evaluation_is_read_with_its_state_and_damage_is_told(tmp_path: Path) -> None:
    folder = evaluations.create_evaluation("starter", ["general"], run=tmp_path)
    assert folder.parent == tmp_path / "evaluations"
    (found,) = evaluations.read_evaluations(tmp_path)
    assert (found.state, found.benchmarks, found.results) == ("queued", ["general"], None)
    (folder / evaluations.RESULTS).write_text("{")
    assert "cannot be read" in evaluations.read_evaluation(folder).problem
    (tmp_path / "evaluations" / "foreign").mkdir()
    assert len(evaluations.read_evaluations(tmp_path)) == 1


def test_that_scores_and_comparisons_come_of_items() -> None:
    found = items("a", [1, 0, 1, 0], [1, 1, 1, 1])
    base, adapter = scores_of("a", ["acc"], found)
    assert (base.target, base.value, base.n, adapter.value) == ("base", 0.5, 4, 1.0)
    (compared,) = comparisons_of("a", ["acc"], found)
    assert (compared.wrong_to_right, compared.right_to_wrong, compared.difference) == (2, 0, 0.5)
    assert compared.verdict == "no clear difference"


def test_that_losses_are_weighted_by_tokens_and_lower_is_better() -> None:
    found = [
        Item(
            benchmark="held-out-loss",
            item=i,
            prompt="",
            values={who: {"nll": n * loss, "tokens": n} for who, loss in (("base", 2.0), ("adapter", 1.0))},
        )
        for i, n in enumerate([1.0, 9.0, 5.0])
    ]
    scores = {
        (s.metric, s.target): s.value for s in scores_of("held-out-loss", ["loss", "perplexity"], found)
    }
    assert scores["loss", "base"] == 2.0
    assert scores["perplexity", "adapter"] == pytest.approx(2.718281828)
    (compared,) = comparisons_of("held-out-loss", ["loss", "perplexity"], found)
    assert (compared.verdict, compared.higher_is_better) == ("better", False)


def test_that_forgetting_is_red_only_where_the_fall_is_sure() -> None:
    general = [benchmarks()["general-knowledge"]]
    lost = forgetting_of(
        general, items("general-knowledge", [1] * 30 + [0] * 10, [0] * 20 + [1] * 10 + [0] * 10)
    )
    assert lost is not None and lost.state == "red"
    assert "fell by 50.0 points" in lost.message
    noise = forgetting_of(
        general, items("general-knowledge", [1] * 20 + [0] * 20, [0] * 2 + [1] * 18 + [0] * 20)
    )
    assert noise is not None and noise.state == "green"
    assert "no clear difference" in noise.message
    assert forgetting_of(general, items("other", [1], [0])) is None


def test_that_questions_are_found_in_the_hubs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(EngineError, match="BLiMP, causative is not on disk") as refusal:
        questions_for(benchmarks()["blimp-causative"])
    assert "data get nyu-mll/blimp" in refusal.value.hint
    folder = tmp_path / "datasets--nyu-mll--blimp" / "snapshots" / "abc"
    folder.mkdir(parents=True)
    (folder / "causative.jsonl").write_text(
        '{"sentence_good": "He ran.", "sentence_bad": "He runned."}\n' * 3
    )
    found = questions_for(benchmarks()["blimp-causative"], limit=2)
    assert [question.choices for question in found] == [("He ran.", "He runned.")] * 2


def test_that_tests_of_ones_own_are_read_from_a_file_and_from_the_run(tmp_path: Path) -> None:
    own, file = benchmarks()["own-tests"], tmp_path / "mine.jsonl"
    file.write_text(json.dumps({"prompt": "Say hi", "expected": "hi", "check": "contains"}) + "\n")
    (question,) = questions_for(own, file)
    assert (question.text, question.expected, question.check) == ("Say hi", "hi", "contains")
    file.write_text(json.dumps({"prompt": "Say hi", "expected": "hi", "check": "nonsense"}) + "\n")
    with pytest.raises(EngineError, match="Row 1"):
        questions_for(own, file)
    chat = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Yes."}]
    file.write_text(json.dumps({"messages": chat}) + "\n")
    (question,) = questions_for(own, file)
    assert (question.messages, question.expected) == (({"role": "user", "content": "Hello?"},), "Yes.")
    with pytest.raises(EngineError, match="no tests of your own"):
        questions_for(own, None, tmp_path)
    (tmp_path / "tests.jsonl").write_text(
        '{"prompt": "p", "expected": null, "check": "json", "from": "chat"}\n'
    )
    (question,) = questions_for(own, None, tmp_path)
    assert (question.text, question.check) == ("p", "json")
