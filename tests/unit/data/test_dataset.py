"""What training gets of a recipe's data: examples, split, cuts, refusals, order; and what inspection says."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.data.dataset import Prepared, prepare
from engine.data.inspect import examples, inspect_file, preview_row
from engine.data.order import epoch_order
from engine.data.select import select
from engine.data.survey import Wanted, survey
from engine.data.tokenizer import ModelTokenizer
from engine.data.told import all_checks
from engine.errors import EngineError
from engine.recipe.recipe import DataOptions


def pairs(count: int) -> list[dict[str, str]]:
    return [{"prompt": f"Question number {i}?", "completion": f"Answer {i * 7}."} for i in range(count)]


def write(tmp_path: Path, rows: list[Any], name: str = "a.jsonl") -> Path:
    path = tmp_path / name
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows), "utf-8")
    return path


def made(path: Path, model: Path, seed: int = 42, **options: Any) -> Prepared:
    return prepare(DataOptions(train=[str(path)], **options), model, seed)


def refusal(path: Path, model: Path, **options: Any) -> EngineError:
    with pytest.raises(EngineError) as caught:
        made(path, model, **options)
    return caught.value


def same(left: list[Any], right: list[Any]) -> bool:
    return [(e.row, e.ids.tolist(), e.trained.tolist()) for e in left] == [
        (e.row, e.ids.tolist(), e.trained.tolist()) for e in right
    ]


def test_that_every_row_becomes_an_example_once(tmp_path: Path, tiny_model: Path) -> None:
    data = made(write(tmp_path, pairs(50)), tiny_model)
    assert (len(data.train), len(data.validation)) == (45, 5)
    assert sorted(e.row for e in [*data.train, *data.validation]) == list(range(50))
    tokenizer = ModelTokenizer(tiny_model)
    example = data.train[0]
    assert example.ids.dtype == np.int32 and example.trained.dtype == np.bool_
    assert tokenizer.decode(example.ids[example.trained].tolist()) == f"Answer {example.row * 7}.<|im_end|>"
    assert [e.prompt for e in data.validation] == [f"Question number {e.row}?" for e in data.validation]
    report = data.report
    assert report.tokens == sum(len(e.ids) for e in [*data.train, *data.validation])
    assert report.supervised_tokens == sum(int(e.trained.sum()) for e in [*data.train, *data.validation])


def test_that_the_split_follows_the_seed_and_not_the_order_of_rows(tmp_path: Path, tiny_model: Path) -> None:
    path = write(tmp_path, pairs(60))
    assert same(made(path, tiny_model).validation, made(path, tiny_model).validation)
    assert not same(made(path, tiny_model).validation, made(path, tiny_model, seed=1).validation)
    backwards = write(tmp_path, pairs(60)[::-1], "b.jsonl")
    texts = [{e.prompt for e in made(p, tiny_model).validation} for p in (path, backwards)]
    assert texts[0] == texts[1]


def test_that_equal_rows_never_stand_on_both_sides(tmp_path: Path, tiny_model: Path) -> None:
    data = made(write(tmp_path, pairs(20) * 3), tiny_model, validation_split=0.2)
    assert not {e.prompt for e in data.train} & {e.prompt for e in data.validation}
    assert data.report.duplicates == 40


def test_d40_that_a_validation_file_is_used_and_overlap_is_told(tmp_path: Path, tiny_model: Path) -> None:
    train = write(tmp_path, pairs(30))
    held = write(tmp_path, [*pairs(32)[30:], pairs(1)[0]], "held.jsonl")
    data = made(train, tiny_model, validation=str(held))
    assert (len(data.train), len(data.validation)) == (30, 3)
    warning = next(p for p in data.report.problems if p.code == "DATA-09")
    assert "1 row is both" in warning.message and warning.severity == "warning"


def test_d42_that_too_few_rows_are_all_trained_with_a_warning(tmp_path: Path, tiny_model: Path) -> None:
    data = made(write(tmp_path, pairs(5)), tiny_model)
    assert (len(data.train), len(data.validation)) == (5, 0)
    assert [p.code for p in data.report.problems] == ["DATA-07"]


def test_d42_that_one_row_is_trained_with_a_warning_and_none_is_refused(
    tmp_path: Path, tiny_model: Path
) -> None:
    data = made(write(tmp_path, pairs(1)), tiny_model)
    assert (len(data.train), len(data.validation)) == (1, 0)
    assert [(p.code, p.severity) for p in data.report.problems] == [("DATA-07", "warning")]
    assert "Only 1 row" in data.report.problems[0].message
    assert refusal(write(tmp_path, []), tiny_model).code == "DATA-07"
    counts = [len(made(write(tmp_path, pairs(n)), tiny_model).validation) for n in (19, 20)]
    assert counts == [0, 2]


def test_d25_that_two_schemas_in_one_file_stop_the_start(tmp_path: Path, tiny_model: Path) -> None:
    chat = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    error = refusal(write(tmp_path, [*pairs(30), *[chat] * 10]), tiny_model)
    assert (error.code, error.line, error.field) == ("DATA-03", 31, "data.columns")
    assert "lines 1-30" in error.message and "from 31 chat" in error.message and "Split" in error.hint


def test_d40_that_rows_on_both_sides_are_offered_to_be_removed(tmp_path: Path, tiny_model: Path) -> None:
    held = write(
        tmp_path, [*pairs(32)[30:], {"prompt": "QUESTION  number 0?", "completion": "answer 0. "}], "h"
    )
    data = DataOptions(train=[str(write(tmp_path, pairs(30)))], validation=str(held))
    found = survey(data, tiny_model, wanted=Wanted())
    (check,) = [c for c in all_checks(found, select(found.table, data, 1), data) if c.id == "overlap"]
    assert (check.count, check.severity, check.fix) == (1, "warn", {"data.overlap": "drop"})


def test_d39_that_duplicates_are_left_out_when_asked(tmp_path: Path, tiny_model: Path) -> None:
    data = made(write(tmp_path, pairs(10) * 2), tiny_model, dedupe=True)
    assert len(data.train) == 10
    assert data.report.dropped == 10


def test_that_relative_paths_start_at_the_base_folder(tmp_path: Path, tiny_model: Path) -> None:
    write(tmp_path, pairs(3))
    assert len(prepare(DataOptions(train=["a.jsonl"]), tiny_model, 1, base_dir=tmp_path).train) == 3


def test_that_a_broken_line_refuses_the_start_with_file_and_line(tmp_path: Path, tiny_model: Path) -> None:
    path = write(tmp_path, [*pairs(3), '{"prompt": "x", "completion"', *pairs(3)])
    error = refusal(path, tiny_model)
    assert (error.code, error.file, error.line) == ("DATA-02", str(path), 4)
    data = made(path, tiny_model, bad_rows="leave_out")
    assert (len(data.train), data.report.refused) == (6, 1)
    assert data.report.problems[0].line == 4


def test_that_a_row_with_nothing_to_learn_is_listed_and_left_out(tmp_path: Path, tiny_model: Path) -> None:
    data = made(write(tmp_path, [*pairs(3), {"prompt": "x", "completion": " "}]), tiny_model)
    assert (len(data.train), data.report.dropped) == (3, 1)
    assert (data.report.problems[0].code, data.report.problems[0].line) == ("DATA-06", 4)


def test_that_data_with_nothing_to_learn_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    path = write(tmp_path, [{"prompt": "x " * 300, "completion": "y"}] * 4)
    error = refusal(path, tiny_model, max_length=64)
    assert (error.code, error.field) == ("DATA-06", "data.max_length")
    assert "keeps 95 %" in error.hint
    template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    silent = [
        {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y", "weight": 0}]}
    ]
    assert refusal(write(tmp_path, silent), tiny_model, chat_template=template).code == "DATA-06"


def long_answer(words: int) -> dict[str, str]:
    return {"prompt": "Say it.", "completion": "word " * words}


def test_d33_that_truncate_cuts_the_end_and_tells_what_is_lost(tmp_path: Path, tiny_model: Path) -> None:
    path = write(tmp_path, [*pairs(3), long_answer(200), {"prompt": "x " * 200, "completion": "y"}])
    data = made(path, tiny_model, max_length=64)
    assert data.report.truncated == 2
    assert data.report.cut_supervised_tokens > 100
    assert data.report.dropped == 1
    assert [e.row for e in data.train] == [0, 1, 2, 3]
    assert len(data.train[3].ids) == 64 and data.train[3].trained.any()
    words = " ".join(p.message for p in data.report.problems)
    assert "line 5" in words and "2 rows are cut" in words
    lost, kept = data.report.cut_supervised_tokens, data.report.supervised_tokens
    assert f"{lost / (lost + kept):.1%} of what is learnt is lost" in words


def test_that_drop_and_error_do_as_they_say(tmp_path: Path, tiny_model: Path) -> None:
    path = write(tmp_path, [*pairs(3), long_answer(200)])
    assert [e.row for e in made(path, tiny_model, max_length=64, too_long="drop").train] == [0, 1, 2]
    error = refusal(path, tiny_model, max_length=64, too_long="error")
    assert (error.code, error.line, error.field) == ("DATA-06", 4, "data.max_length")


def test_that_split_keeps_every_token_of_raw_text(tmp_path: Path, tiny_model: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("A line of the book.\n\n" * 100, "utf-8")
    whole = made(path, tiny_model, max_length=100_000, validation_split=0.0)
    parts = made(path, tiny_model, max_length=50, too_long="split", validation_split=0.0)
    assert max(len(e.ids) for e in parts.train) == 50
    joined = np.concatenate([e.ids for e in parts.train])
    assert joined.tolist() == np.concatenate([e.ids for e in whole.train]).tolist()
    assert joined[-1] == ModelTokenizer(tiny_model).eos_id


def test_that_the_system_prompt_and_train_on_reach_the_tokens(tmp_path: Path, tiny_model: Path) -> None:
    path = write(tmp_path, pairs(3))
    tokenizer = ModelTokenizer(tiny_model)
    data = made(path, tiny_model, system_prompt="Be kind.", train_on="all")
    assert "Be kind." in tokenizer.decode(data.train[0].ids.tolist())
    assert all(e.trained.all() for e in data.train)


def test_that_progress_ends_with_all_rows(tmp_path: Path, tiny_model: Path) -> None:
    told: list[tuple[int, int]] = []
    data = DataOptions(train=[str(write(tmp_path, pairs(450)))])
    prepare(data, tiny_model, 1, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (450, 450)
    assert all(done <= total for done, total in told)
    assert len(told) >= 3


def test_that_no_data_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    with pytest.raises(EngineError) as caught:
        prepare(DataOptions(), tiny_model, 1)
    assert (caught.value.code, caught.value.field) == ("DATA-07", "data.train")
    assert refusal(write(tmp_path, ["[]"], "a.json"), tiny_model).code == "DATA-07"
    assert refusal(write(tmp_path, ["a,b"], "a.csv"), tiny_model).code == "DATA-07"


def test_that_the_order_is_a_pure_function_of_seed_and_epoch() -> None:
    lengths = [(i * 37) % 101 for i in range(203)]
    random.seed(1)
    first = epoch_order(lengths, 42, 0, 8)
    random.seed(2)
    assert epoch_order(lengths, 42, 0, 8) == first
    assert epoch_order(lengths, 42, 1, 8) != first
    assert epoch_order(lengths, 43, 0, 8) != first
    assert len(first) == 26
    assert sorted(i for batch in first for i in batch) == list(range(203))
    assert epoch_order(lengths, 42, 0, 8, shuffle=False)[0] == list(range(8))


def test_that_inspection_answers_all_of_the_contract(tmp_path: Path, tiny_model: Path) -> None:
    rows = [*pairs(10), pairs(1)[0], "{broken", {"prompt": "x", "completion": ""}]
    answer = inspect_file(write(tmp_path, rows), tiny_model, max_length=200)
    assert (answer["rows"], answer["kept"], answer["format"]) == (13, 11, "prompt_completion")
    assert answer["columns"] == ["prompt", "completion"]
    assert answer["mapping"] == {"prompt": "prompt", "completion": "completion"}
    assert [(p["code"], p["line"]) for p in answer["problems"]] == [("DATA-02", 12), ("DATA-06", 13)]
    assert answer["duplicates"] == 1
    assert answer["tokens"]["max"] >= answer["tokens"]["p95"] >= answer["tokens"]["median"] > 0
    assert answer["tokens"]["total"] > answer["supervised_tokens"] > 0
    assert json.loads(json.dumps(answer)) == answer
    without = inspect_file(tmp_path / "a.jsonl")
    assert (without["rows"], without["kept"], without["tokens"]["median"]) == (13, 11, None)


def test_that_a_preview_shows_what_is_trained(tmp_path: Path, tiny_model: Path) -> None:
    path = write(tmp_path, pairs(3))
    answer = preview_row(path, 2, tiny_model)
    assert "".join(s["text"] for s in answer["segments"]).count("Question number 2?") == 1
    assert [s["text"] for s in answer["segments"] if s["trained"]] == ["Answer 14.<|im_end|>"]
    example = made(path, tiny_model).train[2]
    assert answer["tokens"] == example.ids.tolist()
    assert answer["labels_trained"] == int(example.trained.sum())
    with pytest.raises(EngineError) as caught:
        preview_row(path, 3, tiny_model)
    assert caught.value.code == "DATA-07"


def test_that_examples_show_the_cut_and_the_problems(tmp_path: Path, tiny_model: Path) -> None:
    path = write(tmp_path, [long_answer(100), {"prompt": "x", "completion": None}, *pairs(1)])
    shown = examples(path, tiny_model, DataOptions(max_length=32), 0, 10)
    assert [s["row"] for s in shown] == [0, 1, 2]
    assert shown[0]["cut"] == shown[0]["length"] - 32 > 0
    whole = "".join(s["text"] for s in shown[0]["segments"]) + shown[0]["cut_text"]
    assert whole.count("word ") == 100
    assert shown[1]["problem"]["code"] == "DATA-04"
    assert [s["row"] for s in examples(path, tiny_model, None, 2, 1)] == [2]


def test_that_a_sample_comes_close_to_the_whole(tmp_path: Path, tiny_model: Path) -> None:
    path = write(tmp_path, pairs(150))
    options = DataOptions(train=[str(path)], validation_split=0.0)
    whole, sample = survey(options, tiny_model), survey(options, tiny_model, wanted=Wanted(rows=50))
    assert whole.complete and not sample.complete
    assert (whole.files[0].rows, whole.files[0].rows_estimated) == (150, 150)
    assert (sample.files[0].rows, sample.files[0].rows_estimated) == (50, 150)
    assert float(sample.table.length.mean()) == pytest.approx(float(whole.table.length.mean()), rel=0.05)
    assert (
        whole.report.rows == 150
        and int(whole.table.length.sum()) == prepare(options, tiny_model, 1).report.tokens
    )


def test_that_a_large_file_is_sampled_from_all_over(tmp_path: Path, tiny_model: Path) -> None:
    short = [{"prompt": "a", "completion": "b " * 50}] * 20_000
    long = [{"prompt": "a", "completion": "b " * 200}] * 10_000
    path = write(tmp_path, [*short, *long])
    options = DataOptions(train=[str(path)], validation_split=0.0)
    sample = survey(options, tiny_model, wanted=Wanted(rows=300))
    assert sample.files[0].rows_estimated == pytest.approx(30_000, rel=0.1)
    assert set(sample.table.length.tolist()) == {
        int(n)
        for n in survey(
            DataOptions(train=[str(write(tmp_path, [short[0], long[0]], "two.jsonl"))]), tiny_model
        ).table.length
    }


def test_d32_that_rows_all_cut_before_their_answer_are_refused_with_the_length_that_helps(
    tmp_path: Path, tiny_model: Path
) -> None:
    rows = [{"prompt": "a long question " * 30, "completion": f"answer {i}"} for i in range(30)]
    error = refusal(write(tmp_path, rows), tiny_model, max_length=16)
    assert (error.code, error.field, error.line) == ("DATA-06", "data.max_length", 1)
    assert "median" in error.message and "longest" in error.message and "95 %" in error.hint


def test_d42_that_a_validation_file_larger_than_the_training_data_is_told(
    tmp_path: Path, tiny_model: Path
) -> None:
    held = write(tmp_path, pairs(60), "held.jsonl")
    data = made(write(tmp_path, pairs(120)[60:90]), tiny_model, validation=str(held))
    assert any("More rows are measured on" in p.message for p in data.report.problems)
