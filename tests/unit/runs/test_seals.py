"""The six seals over made histories: each turns red, each is left green, none is green unmeasured."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import pytest

from engine.events import (
    AnswersExamined,
    DataPrepared,
    EffectMeasured,
    Evaluated,
    Failed,
    Finished,
    ModelLoaded,
    SampleGenerated,
    Sealed,
    Started,
    Step,
    encode,
)
from engine.recipe.recipe import Recipe
from engine.runs import card, seals, store
from engine.runs.history import RunHistory

NAMES = ("trained_tokens", "effect", "finite", "loss", "validation", "answers")
COUNTS = {"tokens": 4000, "supervised_tokens": 900, "truncated": 0, "dropped": 0, "seconds": 1.0}


def step(number: int, loss: float | None, total: int = 60, **more: Any) -> Step:
    values = {"tokens": 90, "supervised_tokens": 30, "grad_norm": 0.5, "seconds": 1.0, **more}
    return Step(step=number, total_steps=total, epoch=1.0, loss=loss, learning_rate=1e-3, **values)


def falling(number: int) -> float:
    return 1.0 + 2.0 * math.exp(-number / 10)


def good_run(**change: Any) -> list[Any]:
    """Return the events of a run in which nothing is wrong; `change` replaces whole groups of them."""
    made = {
        "begin": [
            Started(job="train", pid=1, host="here"),
            DataPrepared(train_examples=40, validation_examples=4, rows=44, train_tokens=3600, **COUNTS),
            ModelLoaded(parameters=9, trainable_parameters=1, dtype="float32", seconds=1.0),
            AnswersExamined(answers=40, whole_answers=40, answer_tokens=12),
        ],
        "steps": [step(n, falling(n)) for n in range(1, 61)],
        "evaluations": [Evaluated(step=n, loss=falling(n) + 0.1) for n in (20, 40, 60)],
        "effect": [EffectMeasured(step=60, positions=18, changed=9, mean_kl=0.4, max_logit_difference=3.0)],
        "samples": [answer(60, ended=True), answer(60, ended=True, prompt="b")],
        "end": [Finished(steps=60, seconds=60.0, adapter="adapter", adapter_step=60)],
    }
    made.update(change)
    return [event for group in made.values() for event in group]


def answer(at: int, *, ended: bool, prompt: str = "a", expected: int | None = 12) -> SampleGenerated:
    words = {"tokens": 12 if ended else 96, "limit": 96, "expected_tokens": expected}
    return SampleGenerated(step=at, prompt=prompt, text="yes", ended=ended, **words)


def judged(events: list[Any]) -> dict[str, Any]:
    history = RunHistory()
    history.fold(events)
    return {seal.name: seal for seal in seals.judge(history)}


def state(name: str, **change: Any) -> str:
    found: str = judged(good_run(**change))[name].state
    return found


def test_that_nothing_is_green_before_anything_is_measured() -> None:
    assert [(s.name, s.state) for s in seals.judge(RunHistory())] == [(n, "unmeasured") for n in NAMES]
    begun = judged(good_run()[:1])
    assert {seal.state for seal in begun.values()} == {"unmeasured"}


def test_that_a_good_run_is_green_with_its_figures() -> None:
    found = judged(good_run())
    assert {name: seal.state for name, seal in found.items()} == dict.fromkeys(NAMES, "green")
    assert "40 of 40" in found["answers"].evidence and "2 of 2 sample answers" in found["answers"].evidence
    assert found["loss"].figures["first"] > found["loss"].figures["last"] > 1.0
    assert all(seal.evidence and not seal.hint for seal in found.values())


RED = {
    "trained_tokens": {"steps": [step(n, falling(n), supervised_tokens=n != 7) for n in range(1, 61)]},
    "effect": {
        "effect": [EffectMeasured(step=60, positions=18, changed=0, mean_kl=1e-9, max_logit_difference=1e-4)]
    },
    "finite": {"steps": [step(n, None if n == 9 else falling(n)) for n in range(1, 61)]},
    "loss": {"steps": [step(n, 3.0 + 0.01 * (n % 3)) for n in range(1, 61)]},
    "validation": {"evaluations": [Evaluated(step=n, loss=v) for n, v in ((20, 1.0), (40, 1.1), (60, 1.3))]},
    "answers": {"samples": [answer(60, ended=False), answer(60, ended=False, prompt="b")]},
}


@pytest.mark.parametrize("name", NAMES)
def test_that_each_seal_turns_red_alone_with_a_hint(name: str) -> None:
    found = judged(good_run(**RED[name]))
    assert [n for n, seal in found.items() if seal.state == "red"] == [name]
    assert found[name].hint and found[name].label == seals.LABELS[name][1]


def test_that_rows_without_anything_to_learn_turn_the_first_seal_red() -> None:
    begin = good_run()[:4]
    for unlearnt, expected in ((4, "green"), (5, "red")):
        begin[1] = DataPrepared(
            train_examples=40, validation_examples=4, rows=44, unlearnt=unlearnt, **COUNTS
        )
        assert state("trained_tokens", begin=begin) == expected
    nothing = {**COUNTS, "tokens": 0, "supervised_tokens": 0}
    refused = DataPrepared(train_examples=0, validation_examples=0, rows=44, unlearnt=44, **nothing)
    ended = [begin[0], refused, Failed(code="DATA-06", message="nothing")]
    assert judged(ended)["trained_tokens"].state == "red"


def test_that_the_effect_is_that_of_the_result_and_bf16_asks_for_more() -> None:
    faint = EffectMeasured(step=20, positions=18, changed=0, mean_kl=3e-4, max_logit_difference=0.01)
    strong = good_run()[-4]
    assert strong.type == "effect_measured"
    early = [Finished(steps=60, seconds=60.0, adapter="adapter", adapter_step=20)]
    half = good_run()[:4]
    half[2] = ModelLoaded(parameters=9, trainable_parameters=1, dtype="bfloat16", seconds=1.0)
    assert state("effect", effect=[faint, strong], end=early) == "green"
    assert state("effect", effect=[faint, strong], end=early, begin=half) == "red"
    assert state("effect", effect=[faint, strong], begin=half) == "green"
    broken = EffectMeasured(step=60, positions=18, changed=0, mean_kl=None, max_logit_difference=None)
    assert state("effect", effect=[broken]) == "unmeasured"


def test_that_noise_alone_is_no_falling_loss_and_a_slow_fall_is_one() -> None:
    def tell(fall: float, noise: float, count: int = 300) -> str:
        drawn = random.Random(3)
        values = [2.0 - fall * n / count + drawn.gauss(0, noise) for n in range(1, count + 1)]
        return state("loss", steps=[step(n, v, count) for n, v in enumerate(values, 1)])

    assert tell(0.0, 0.1) == "red"
    assert tell(-0.3, 0.1) == "red"
    assert tell(0.1, 0.1) == "green"
    assert tell(1.0, 0.5, 12) in ("green", "unmeasured")
    assert tell(0.05, 0.4, 12) in ("red", "unmeasured")
    assert tell(0.5, 0.1, 9) == "unmeasured"


def test_that_a_running_run_is_not_judged_too_early() -> None:
    level = [step(n, 3.0, 60) for n in range(1, 20)]
    going = judged(good_run(steps=level, evaluations=[], effect=[], samples=[], end=[]))
    assert going["loss"].state == "unmeasured"
    open_ended, here = [answer(10, ended=False)], good_run()[-4].model_copy(update={"step": 10})
    assert state("answers", steps=level, effect=[here], samples=open_ended, end=[]) == "green"
    assert state("answers", effect=[here], evaluations=[], samples=open_ended) == "red"
    # One that was asked for beside an evaluation is not judged.
    assert state("answers", samples=[answer(60, ended=True), answer(55, ended=False)]) == "green"
    assert state("answers", samples=[answer(60, ended=True), answer(61, ended=False)]) == "green"


def test_that_samples_without_room_and_raw_text_are_not_judged() -> None:
    long = [answer(60, ended=False, expected=90), answer(60, ended=False, expected=400, prompt="b")]
    assert state("answers", samples=long) == "green"
    begin = good_run()[:4]
    begin[3] = AnswersExamined(answers=0, whole_answers=0)
    assert state("answers", begin=begin, samples=long) == "unmeasured"
    begin[3] = AnswersExamined(answers=40, whole_answers=37, answer_tokens=12)
    assert state("answers", begin=begin) == "red"
    begin[3] = AnswersExamined(answers=40, whole_answers=38, answer_tokens=12)
    assert state("answers", begin=begin) == "green"


def test_that_one_evaluation_is_not_enough_and_a_small_rise_is_none() -> None:
    assert state("validation", evaluations=[]) == "unmeasured"
    assert state("validation", evaluations=[Evaluated(step=60, loss=1.0)]) == "unmeasured"
    for newest, expected in ((1.019, "green"), (1.021, "red")):
        pair = [Evaluated(step=30, loss=1.0), Evaluated(step=60, loss=newest)]
        assert state("validation", evaluations=pair) == expected
    tiny = [Evaluated(step=30, loss=0.001), Evaluated(step=60, loss=0.004)]
    assert state("validation", evaluations=tiny) == "green"


def test_that_a_resume_takes_back_what_a_later_attempt_does_again() -> None:
    bad = good_run(steps=[step(n, None if n == 50 else falling(n)) for n in range(1, 55)], end=[])
    again = [Started(job="train", pid=2, host="here", resumed_from_step=40, attempt=2)]
    again += [step(n, falling(n)).model_copy(update={"attempt": 2}) for n in range(41, 61)]
    assert judged(bad)["finite"].state == "red"
    assert judged([*bad, *again])["finite"].state == "green"


def test_that_the_log_carries_the_seals_to_the_librarys_summary(tmp_path: Any) -> None:
    events = good_run(**RED["loss"])
    history = RunHistory()
    history.fold(events)
    found = seals.judge(history)
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "events.jsonl").write_bytes(
        b"".join(map(encode, [*events, Sealed(step=60, seals=list(found))]))
    )
    assert store.summary(folder).seals == found
    assert seals.worst(found) == "red" and "1 red (The loss did not fall)" in seals.in_words(found)
    line = json.loads(encode(Sealed(step=60, seals=list(found))))
    assert seals.told(line) == found
    assert seals.told({"seals": [{"name": "loss"}]}) == ()


def test_that_a_long_log_that_is_still_written_shows_its_newest_seals(tmp_path: Any) -> None:
    history = RunHistory()
    history.fold(good_run())
    found = seals.judge(history)
    lines = [encode(event) for event in good_run(end=[])] + [encode(Sealed(step=60, seals=list(found)))]
    ahead, behind = (
        [encode(step(n, 1.0)) for n in range(61, 6000)],
        [encode(step(n, 1.0)) for n in range(61, 3000)],
    )
    (tmp_path / "events.jsonl").write_bytes(b"".join([*ahead, *lines, *behind]))
    assert (tmp_path / "events.jsonl").stat().st_size > store.WHOLE_BYTES
    assert store.summary(tmp_path).seals == found


def test_that_the_model_card_holds_the_seals() -> None:
    history = RunHistory()
    history.fold(good_run(**RED["answers"]))
    text = card.model_card(Recipe(), "run-1", 60, 1.0, {}, seals.judge(history))
    assert "## Seals" in text and "| Answers do not come to their end | red |" in text
    assert "| The loss fell | green |" in text
    assert "## Seals" not in card.model_card(Recipe(), "run-1", 60, 1.0, {})
