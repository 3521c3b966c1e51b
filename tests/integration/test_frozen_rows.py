"""Tokenised rows: frozen in a run so that a resume needs nothing else, and shared between runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from engine.data import row_cache
from engine.errors import EngineError
from engine.runtime import prepared
from tests.integration.attempts import attempt, killed_attempt, same_bytes
from tests.integration.conftest import MakeRun, events_of, losses

LAST = 12


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test a cache of its own, empty."""
    place = tmp_path / "cache-of-rows"
    place.mkdir()
    monkeypatch.setattr(row_cache, "folder", lambda: place)
    return place


@pytest.fixture
def copied_rows(sound_rows: Path, tmp_path: Path) -> Path:
    path = tmp_path / "copied.jsonl"
    path.write_bytes(sound_rows.read_bytes())
    return path


def no_tokenizer(*_: Any, **__: Any) -> Any:
    raise AssertionError("the rows were read and tokenised again")


def short(make_run: MakeRun, data: Path, **options: Any) -> Path:
    return make_run(data__train=[str(data)], training__num_train_epochs=1, **options)


def told(folder: Path, code: str) -> list[str]:
    return [e.message for e in events_of(folder) if e.type == "warned" and e.code == code]


@pytest.mark.parametrize("change", ["deleted", "changed", "shortened"])
def test_that_a_resume_goes_on_with_the_rows_of_the_run_whatever_became_of_its_file(
    make_run: MakeRun,
    copied_rows: Path,
    sound_rows: Path,
    own_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:
    whole = short(make_run, copied_rows)
    attempt(whole)
    cut = short(make_run, copied_rows)
    killed_attempt(cut, monkeypatch, step=8)
    text = sound_rows.read_text()
    if change == "deleted":
        copied_rows.unlink()
    else:
        copied_rows.write_text(text.replace("cat", "cod") if change == "changed" else text[: len(text) // 2])
    shutil.rmtree(own_cache)
    monkeypatch.setattr(prepared, "prepare", no_tokenizer)
    assert attempt(cut).type == "finished"
    assert losses(cut) == losses(whole) and same_bytes(cut, whole, LAST)
    (message,) = told(cut, "DATA-11")
    assert "copied.jsonl" in message and "step 6" in message
    environment = json.loads((cut / "environment.json").read_text())
    assert environment["data"] == json.loads((whole / "environment.json").read_text())["data"]


@pytest.mark.parametrize("damage", ["gone", "torn", "flipped"])
def test_that_frozen_rows_that_are_not_whole_are_made_anew_from_the_file(
    make_run: MakeRun, copied_rows: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    whole = short(make_run, copied_rows)
    attempt(whole)
    cut = short(make_run, copied_rows)
    killed_attempt(cut, monkeypatch, step=8)
    shutil.rmtree(own_cache)
    own_cache.mkdir()
    file = cut / prepared.FROZEN
    content = bytearray(file.read_bytes())
    content[-40] ^= 1
    file.unlink()
    if damage != "gone":
        file.write_bytes(content if damage == "flipped" else content[:-100])
    assert attempt(cut).type == "finished"
    assert losses(cut) == losses(whole) and same_bytes(cut, whole, LAST)
    assert not told(cut, "DATA-11") and file.read_bytes() == (whole / prepared.FROZEN).read_bytes()


def test_that_without_frozen_rows_a_changed_file_is_refused(
    make_run: MakeRun, copied_rows: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = short(make_run, copied_rows)
    killed_attempt(cut, monkeypatch, step=8)
    (cut / prepared.FROZEN).unlink()
    copied_rows.write_text(copied_rows.read_text().replace("cat", "cod"))
    with pytest.raises(EngineError) as caught:
        attempt(cut)
    assert caught.value.code == "DATA-11"


def test_that_a_second_run_on_the_same_rows_does_not_tokenise_them(
    make_run: MakeRun, copied_rows: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = short(make_run, copied_rows)
    attempt(first)
    assert len(list(own_cache.iterdir())) == 1
    monkeypatch.setattr(prepared, "prepare", no_tokenizer)
    second = short(make_run, copied_rows)
    attempt(second)
    assert losses(second) == losses(first) and same_bytes(second, first, LAST)

    def numbers(folder: Path) -> dict[str, Any]:
        found = next(e for e in events_of(folder) if e.type == "data_prepared").model_dump()
        return {k: v for k, v in found.items() if k not in ("seconds", "time", "mono")}

    assert {**numbers(second), "seq": 0} == {**numbers(first), "seq": 0}
    assert any(e.type == "log" and "cache" in e.message for e in events_of(second))
    samples = [[e.text for e in events_of(f) if e.type == "sample_generated"] for f in (first, second)]
    assert samples[0] == samples[1]


def test_that_a_file_edited_between_two_runs_is_read_again(
    make_run: MakeRun, copied_rows: Path, own_cache: Path
) -> None:
    first = short(make_run, copied_rows)
    attempt(first)
    copied_rows.write_text(copied_rows.read_text().replace("cat", "cod"))
    second = short(make_run, copied_rows)
    attempt(second)
    assert losses(second) != losses(first) and len(list(own_cache.iterdir())) == 2


def test_that_a_cache_that_cannot_be_written_does_not_stop_a_run(
    make_run: MakeRun, copied_rows: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_cache.rmdir()
    own_cache.write_text("a file where a folder should be")
    monkeypatch.setattr(row_cache, "make_room", lambda size: True)
    run = short(make_run, copied_rows)
    assert attempt(run).type == "finished"
    assert any(e.type == "log" and "not kept for other runs" in e.message for e in events_of(run))
