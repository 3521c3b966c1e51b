"""What rows are found again by, and that the cache stays within its bounds."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from engine.data import frozen, row_cache
from engine.data.dataset import prepare
from engine.recipe import codec
from engine.recipe.recipe import Recipe


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    lines = [{"prompt": f"What is {i} and one?", "completion": f"It is {i + 1}."} for i in range(30)]
    path.write_text("\n".join([json.dumps(line) for line in lines] + ['{"prompt": "No answer"}']) + "\n")
    return path


def data_of(path: Path, **options: Any) -> Any:
    values = {"data.train": [str(path)], "data.bad_rows": "leave_out"}
    return codec.override(Recipe(), {**values, **{f"data.{k}": v for k, v in options.items()}}).data


def key(data: Any, model: Path, seed: int = 42, clock: float = 1.0) -> str | None:
    return row_cache.key_of(data, row_cache.digests_of(data), model, seed, clock)


def test_that_frozen_data_is_what_was_prepared(rows: Path, tiny_model: Path, tmp_path: Path) -> None:
    made = prepare(data_of(rows), tiny_model, 42)
    frozen.write(made, tmp_path / "frozen.safetensors", {"a": 1})
    found = frozen.read(tmp_path / "frozen.safetensors")
    assert found is not None
    again, about = found
    assert about == {"a": 1} and frozen.digest_of(again) == frozen.digest_of(made)
    assert again.report == made.report and made.report.problems and again.mappings == made.mappings
    for one, other in zip([*made.train, *made.validation], [*again.train, *again.validation], strict=True):
        assert (one.row, one.source, one.line, one.prompt) == (
            other.row,
            other.source,
            other.line,
            other.prompt,
        )
        assert one.ids.tolist() == other.ids.tolist() and one.trained.tolist() == other.trained.tolist()
        assert one.ids.dtype == other.ids.dtype and one.trained.dtype == other.trained.dtype
    assert any(example.prompt for example in again.validation)


def test_that_the_same_bytes_and_options_have_the_same_key(rows: Path, tiny_model: Path) -> None:
    assert key(data_of(rows), tiny_model) == key(data_of(rows), tiny_model) is not None


@pytest.mark.parametrize(
    "options",
    [
        {"max_length": 77},
        {"train_on": "all"},
        {"validation_split": 0.3},
        {"system_prompt": "Be kind."},
        {"chat_template": "plain"},
        {"dedupe": True},
        {"packing": True},
    ],
)
def test_that_another_option_has_another_key(rows: Path, tiny_model: Path, options: dict[str, Any]) -> None:
    assert key(data_of(rows), tiny_model) != key(data_of(rows, **options), tiny_model)


def test_that_other_bytes_another_seed_and_another_program_have_another_key(
    rows: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = key(data_of(rows), tiny_model)
    assert before != key(data_of(rows), tiny_model, seed=7)
    monkeypatch.setattr(row_cache, "_program", lambda: "another")
    assert before != key(data_of(rows), tiny_model)
    monkeypatch.undo()
    rows.write_text(rows.read_text().replace("7", "8"))
    assert before != key(data_of(rows), tiny_model)


def test_that_another_tokenizer_or_template_has_another_key(
    rows: Path, tiny_model: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    before = key(data_of(rows), model)
    assert before == key(data_of(rows), tiny_model)
    text = (model / "tokenizer.json").read_text()
    (model / "tokenizer.json").write_text(text + " ")
    assert key(data_of(rows), model) != before
    (model / "tokenizer.json").write_text(text)
    (model / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    assert key(data_of(rows), model) != before


def test_that_the_clock_counts_only_for_a_template_that_asks_for_it(rows: Path, tiny_model: Path) -> None:
    assert key(data_of(rows), tiny_model, clock=1.0) == key(data_of(rows), tiny_model, clock=2.0)
    dated = data_of(
        rows, chat_template="{{ strftime_now('%d') }}{% for m in messages %}{{ m.content }}{% endfor %}"
    )
    assert key(dated, tiny_model, clock=1.0) != key(dated, tiny_model, clock=2.0)


def test_that_a_folder_is_known_by_all_its_files(rows: Path, tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.jsonl").write_text(rows.read_text())
    before = key(data_of(folder), tiny_model)
    assert before is not None
    (folder / "b.jsonl").write_text(rows.read_text())
    assert key(data_of(folder), tiny_model) not in (before, None)


def test_that_a_missing_file_has_no_key(rows: Path, tiny_model: Path) -> None:
    rows.unlink()
    assert key(data_of(rows), tiny_model) is None


def test_that_what_was_of_no_use_for_longest_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_cache, "folder", lambda: tmp_path)
    monkeypatch.setattr(row_cache, "MOST_BYTES", 1000)
    for number in range(3):
        path = row_cache.place_of(f"k{number}")
        path.write_bytes(b"x" * 300)
        os.utime(path, (number, number))
    row_cache.used(row_cache.place_of("k0"))
    assert row_cache.make_room(300)
    assert {p.stem for p in tmp_path.iterdir()} == {"k0", "k2"}
    assert not row_cache.make_room(600)
    assert {p.stem for p in tmp_path.iterdir()} == {"k0", "k2"}
