"""The benchmarks that are shipped, and rows of every form as questions with the prompts of lm-eval."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from engine.benchmarks import questions
from engine.benchmarks.spec import benchmarks, parts_of, refuse_unknown
from engine.errors import EngineError
from engine.runs.benchmark_rows import questions_for

MMLU = [{"0": f" Which {i}?", "1": "w", "2": "x", "3": "y", "4": "z", "5": "C"} for i in range(6)]
ARC_HUB = {
    "question": "Why?",
    "choices": {"text": ["this", "that"], "label": ["1", "2"]},
    "answerKey": "2",
}
ARC_RELEASE = {
    "question": {"stem": "Why?", "choices": [{"text": "this", "label": "1"}, {"text": "that", "label": "2"}]},
    "answerKey": "2",
}
HELLASWAG = {
    "activity_label": "Cooking",
    "ctx_a": "A man [x] stirs.",
    "ctx_b": "he",
    "endings": ["eats [title] it", "  runs"],
    "label": "1",
}


def one(name: str, row: dict[str, Any]) -> questions.Question:
    """Return a row as a question of a benchmark without examples."""
    return questions.questions_of(benchmarks()[name], [row])[0]


def test_that_every_benchmark_says_what_it_is_and_can_be_read() -> None:
    for name, each in benchmarks().items():
        assert each.name == name and each.label and each.about.endswith("."), name
        assert each.form in questions.FORMS or each.form == "rows", name


@pytest.mark.parametrize("row", [ARC_HUB, ARC_RELEASE])
def test_that_arc_is_read_in_both_forms(row: dict[str, Any]) -> None:
    question = one("arc-challenge", row)
    assert question.context == "Question: Why?\nAnswer:"
    assert (question.choices, question.right) == (("this", "that"), (1,))


def test_that_mmlu_begins_with_its_description_and_five_examples() -> None:
    made = questions.questions_of(benchmarks()["mmlu-global-facts"], [MMLU[0]], MMLU)
    context = made[0].context
    assert context.startswith(
        "The following are multiple choice questions (with answers) about global facts.\n\n"
    )
    assert context.count("Answer: C\n\n") == 5
    assert context.endswith("Which 0?\nA. w\nB. x\nC. y\nD. z\nAnswer:")
    assert (made[0].choices, made[0].right) == (("A", "B", "C", "D"), (2,))


def test_that_examples_that_are_missing_are_refused() -> None:
    with pytest.raises(EngineError, match="5 examples; 1 were found"):
        questions.questions_of(benchmarks()["mmlu-global-facts"], [MMLU[0]], MMLU[:1])


def test_that_truthfulqa_is_read_in_both_forms() -> None:
    hub = {"question": "Q?", "mc2_targets": {"choices": ["a", "b", "c"], "labels": [1, 0, 1]}}
    release = {"question": "Q?", "mc2_targets": {"a": 1, "b": 0, "c": 1}}
    made = [one("truthfulqa-mc2", row) for row in (hub, release)]
    assert made[0] == made[1]
    assert made[0].right == (0, 2)
    assert made[0].context.startswith("Q: What is human life expectancy in the United States?\nA: Human")
    assert made[0].context.endswith("held in Barcelona, Spain.\n\nQ: Q?\nA:")


def test_that_hellaswag_and_piqa_are_put_as_lm_eval_puts_them() -> None:
    scene = one("hellaswag", HELLASWAG)
    assert scene.context == "Cooking: A man stirs. He"
    assert (scene.choices, scene.right) == (("eats. it", "runs"), (1,))
    assert (
        one("piqa", {"goal": "Cut", "sol1": "a", "sol2": "b", "label": 0}).context == "Question: Cut\nAnswer:"
    )


def test_that_text_of_a_row_is_never_read_as_a_place_of_the_prompt() -> None:
    assert (
        one("piqa", {"goal": "{goal} {x}", "sol1": "a", "sol2": "b", "label": 0}).text.count("{goal} {x}")
        == 1
    )


def test_that_a_foreign_row_is_refused_with_its_number() -> None:
    with pytest.raises(EngineError, match="Row 1 is no row of ARC, easy"):
        one("arc-easy", {"prompt": "x"})


def test_that_arithmetic_is_the_same_for_a_seed_and_right() -> None:
    made = questions_for(benchmarks()["arithmetic-2-digits"])
    assert made == questions_for(benchmarks()["arithmetic-2-digits"])
    assert len({question.context for question in made}) == len(made) == 500
    for question in made:
        a, word, b = question.context.removeprefix("Question: What is ").split("?")[0].split()
        assert int(question.expected) == (int(a) + int(b) if word == "plus" else int(a) - int(b))


def test_that_the_general_set_is_sound() -> None:
    parts = parts_of("general")
    made = {part.name: questions_for(part) for part in parts}
    assert sum(len(each) for each in made.values()) >= 100
    assert len({q.text for each in made.values() for q in each}) == sum(len(each) for each in made.values())
    places = Counter(q.right[0] for q in made["general-knowledge"])
    assert min(places.values()) >= 8  # the right answer stands at no favourite place
    for question in made["general-grammar"]:
        assert len(question.choices) == 2 and question.choices[0] != question.choices[1]
    assert all(question.expected for question in made["general-instructions"])


def test_that_names_of_lm_eval_are_understood_and_unknown_ones_refused() -> None:
    assert parts_of("arc_easy")[0].name == "arc-easy"
    assert [part.name for part in parts_of("held-out")] == ["held-out-loss", "held-out"]
    with pytest.raises(EngineError, match="no benchmark nonsense") as refusal:
        refuse_unknown(["general", "nonsense"])
    assert refusal.value.field == "evaluation.benchmarks"
    with pytest.raises(EngineError, match="no name of a task"):
        refuse_unknown(["lm-eval:/somewhere/task.yaml"])
