"""Skills to be kept: who wants them, what rows practise, and what earlier evaluations say was lost."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.advice.advise import RULES
from engine.advice.skills import Fall, purposes, wanted_skills
from engine.data.practice import Practice, practised
from engine.paths import resources
from engine.recipe.data_options import DataOptions
from engine.runs import store
from engine.runs.evaluations import RESULTS, Comparison, Results, Score, create_evaluation
from engine.runs.falls import falls_on
from tests.unit.advice.situations import facts_small, recipe, situation, statistics

CHAT = {"messages": [{"role": "user", "content": "Where is it?"}, {"role": "assistant", "content": "Here."}]}
CALLS = [{"function": {"name": "weather", "arguments": {}}}]
ROWS: dict[str, dict[str, Any]] = {
    "conversation": CHAT,
    "code": {"prompt": "Sort a list.", "completion": "```python\nsorted(items)\n```"},
    "arithmetic": {"prompt": "What is 17 + 25?", "completion": "17 + 25 = 42"},
    "tool calls": {
        "messages": [
            {"role": "user", "content": "Weather?"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"function": {"name": "w", "arguments": {}}}],
            },
            {"role": "tool", "content": "sunny"},
            {"role": "assistant", "content": "It is sunny."},
        ]
    },
}


def rows_in(folder: Path, *rows: dict[str, Any]) -> DataOptions:
    """Write rows to a file and return the data section that names it."""
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return DataOptions(train=[str(file)])


@pytest.mark.parametrize("kind", ROWS)
def test_that_each_kind_of_task_is_told_in_rows(kind: str, tmp_path: Path) -> None:
    found = practised(rows_in(tmp_path, *[ROWS[kind]] * 3))
    assert (found.rows, found.counts[kind], found.every) == (3, 3, True)
    assert practised(rows_in(tmp_path, *[CHAT] * 4)).counts == {"conversation": 4}  # looked at anew


def test_that_plain_text_is_no_conversation(tmp_path: Path) -> None:
    found = practised(rows_in(tmp_path, *[{"text": "The river runs to the sea."}] * 3))
    assert found.counts == {}


def test_that_the_examples_that_come_along_practise_conversation() -> None:
    for file in resources("examples").glob("*/train.jsonl"):
        found = practised(DataOptions(train=[str(file)]))
        assert found.rows and found.counts["conversation"] == found.rows, file


def test_that_a_large_file_is_looked_at_in_part_and_the_remark_says_so(tmp_path: Path) -> None:
    found = practised(rows_in(tmp_path, *[CHAT] * 2500))
    assert (found.rows, found.every) == (2000, False)
    asked = situation({"evaluation.benchmarks": ["gsm8k"]}, data=statistics(practice=found))
    said = RULES["R41"](asked)
    assert said is not None and "No examples for arithmetic in 2000 rows;" in said.message


def test_that_a_base_is_made_for_what_its_name_and_its_card_say(tmp_path: Path) -> None:
    facts = replace(facts_small(), path=tmp_path, name="Qwen2.5-Coder-7B-Instruct", chat_template=True)
    assert purposes("hub/folder", facts) == ["conversation", "code"]
    assert purposes("hub/folder", replace(facts, chat_template=False)) == ["code"]
    plain = replace(facts, name="Qwen2.5-7B")
    assert purposes("hub/folder", plain) == []
    (tmp_path / "README.md").write_text("---\ntags:\n- math\n- Function-Calling\n- <b>code</b>\n---\nmath!")
    assert purposes("hub/folder", plain) == ["arithmetic", "tool calls"]
    for broken in ("---\ntags: [math", "tags: [math]", "---\n- math\n---", "---\ntags: {math: 1}\n---\n"):
        (tmp_path / "README.md").write_text(broken)
        assert purposes("hub/folder", plain) == []


def test_that_of_several_reasons_the_measured_one_is_told() -> None:
    facts = replace(facts_small(), name="Math-7B")
    asked = recipe(evaluation__benchmarks=["arithmetic_2", "humaneval", "piqa"])
    falls = (Fall("gsm8k", 0.61, 0.48),)
    assert wanted_skills(asked, facts, falls) == {
        "arithmetic": "gsm8k fell from 0.61 to 0.48 before",
        "code": "humaneval measures it",
    }
    assert wanted_skills(asked, facts, ())["arithmetic"] == "arithmetic_2 measures it"
    assert wanted_skills(recipe(), facts, ()) == {"arithmetic": "The base is made for it"}


def test_that_nothing_is_said_where_rows_practise_what_is_wanted_or_nobody_looked() -> None:
    asked = {"evaluation.benchmarks": ["gsm8k"]}
    done = Practice(50, {"conversation": 50, "arithmetic": 2})
    assert RULES["R41"](situation(asked, data=statistics(practice=done))) is None
    assert RULES["R41"](situation(asked, data=statistics(practice=None))) is None
    assert RULES["R41"](situation({}, data=statistics(practice=Practice(50, {})))) is None


def evaluated(run: Path, benchmark: str, base: float, adapter: float, verdict: Any) -> None:
    """Leave an evaluation in a run's folder as its child does: job.json, and results.json at the end."""
    folder = create_evaluation(str(run), [benchmark], run=run)
    common: dict[str, Any] = {"benchmark": benchmark, "metric": "acc", "n": 200}
    values = {"base": base, "adapter": adapter, "difference": adapter - base, "low": -0.2, "high": 0.2}
    results = Results(
        time=time.time(),
        target=str(run),
        base="starter",
        benchmarks=[benchmark],
        scores=[Score(**common, value=adapter, stderr=0.03, target="adapter")],
        comparisons=[Comparison(**common, **values, verdict=verdict)],
    )
    (folder / RESULTS).write_text(results.model_dump_json())


def test_that_what_a_run_surely_lost_is_wanted_by_the_next_run_on_its_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    asked = recipe(model__path="starter", data__train=["rows.jsonl"])
    run = store.create_run(asked)
    assert falls_on(asked) == ()
    evaluated(run, "arithmetic_2_digits", 0.61, 0.48, "worse")
    evaluated(run, "piqa", 0.68, 0.66, "no clear difference")
    assert falls_on(asked) == (Fall("arithmetic_2_digits", 0.61, 0.48),)
    assert falls_on(recipe(model__path="another", data__train=["rows.jsonl"])) == ()
    found = RULES["R41"](situation(data=statistics(practice=Practice(9, {})), falls=falls_on(asked)))
    assert found is not None and "arithmetic_2_digits fell from 0.61 to 0.48" in found.message


def test_that_the_newest_evaluation_of_a_benchmark_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    asked = recipe(model__path="starter", data__train=["rows.jsonl"])
    evaluated(store.create_run(asked), "gsm8k", 0.61, 0.48, "worse")
    later = store.create_run(asked)
    evaluated(later, "gsm8k", 0.61, 0.63, "better")
    assert falls_on(asked) == ()
    (later / "recipe.yaml").write_text("model: [")
    assert falls_on(asked) == (Fall("gsm8k", 0.61, 0.48),)  # a damaged run says nothing
