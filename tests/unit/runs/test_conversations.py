"""Conversations and kept tests on the disk: whole, bounded, brought back, damaged ones left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.errors import EngineError
from engine.runs import conversations, tests_kept
from engine.runs.conversations import Conversation, Reply, Speaker, Turn
from engine.runs.evaluations import kept_tests

BOTH = (Speaker(name="base", label="tiny", target="t"), Speaker(name="adapter", label="tickets", target="a"))


def made(question: str = "Where is it?", **more: object) -> Conversation:
    reply = Reply(text="Here.", tokens=2, tokens_per_second=8.5, ended="eos", fingerprint="ab+cd", ids=(4, 5))
    turn = Turn(question=question, replies={"base": reply, "adapter": reply})
    told = {"title": question, "changed": 1.0, "speakers": BOTH, "turns": (turn,), **more}
    return Conversation.model_validate({"id": conversations.new_id(), **told})


def test_that_a_conversation_is_read_as_it_was_written_newest_first(tmp_path: Path) -> None:
    first, second = made("one", changed=5.0), made("two", changed=9.0)
    for each in (first, second):
        assert conversations.save(each, tmp_path) == each
    assert conversations.read(first.id, tmp_path) == first
    assert [c.title for c in conversations.newest_first(tmp_path)] == ["two", "one"]
    assert conversations.newest_first(tmp_path / "elsewhere") == []


def test_that_a_deleted_conversation_comes_back_and_leaves_after_its_days(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = conversations.save(made(), tmp_path)
    conversations.delete(kept.id, tmp_path)
    assert conversations.newest_first(tmp_path) == []
    conversations.restore(kept.id, tmp_path)
    assert conversations.newest_first(tmp_path) == [kept]
    conversations.delete(kept.id, tmp_path)
    monkeypatch.setattr(conversations, "TRASH_DAYS", -1)
    conversations.save(made(), tmp_path)
    with pytest.raises(EngineError):
        conversations.restore(kept.id, tmp_path)


def test_that_a_long_conversation_loses_its_oldest_turns_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversations, "MOST_BYTES", 4000)
    turns = tuple(Turn(question=f"{n} " + "word " * 40) for n in range(60))
    kept = conversations.save(made().model_copy(update={"turns": turns}), tmp_path)
    assert kept.cut > 0 and kept.cut + len(kept.turns) == 60 and kept.turns[-1] == turns[-1]
    assert (tmp_path / "conversations" / f"{kept.id}.json").stat().st_size <= 4000


def test_that_a_folder_keeps_its_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversations, "MOST_KEPT", 2)
    for n in range(4):
        identity = f"2026010{n}-000000-abcdef"
        conversations.save(made().model_copy(update={"id": identity, "changed": float(n)}), tmp_path)
    assert [c.changed for c in conversations.newest_first(tmp_path)] == [3.0, 2.0]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"id": 3}', b"\xff\xfe"])
def test_that_a_damaged_file_is_left_out_and_named(tmp_path: Path, content: bytes) -> None:
    kept = conversations.save(made(), tmp_path)
    other = conversations.new_id()
    (tmp_path / "conversations" / f"{other}.json").write_bytes(content)
    assert conversations.newest_first(tmp_path) == [kept]
    with pytest.raises(EngineError, match="damaged"):
        conversations.read(other, tmp_path)


@pytest.mark.parametrize("identity", ["../../etc/passwd", "", "x", "20260101-000000-abcdef/.."])
def test_that_an_id_is_no_way_out_of_the_folder(tmp_path: Path, identity: str) -> None:
    with pytest.raises(EngineError):
        conversations.read(identity, tmp_path)
    with pytest.raises(EngineError):
        conversations.delete(identity, tmp_path)


def test_that_markdown_holds_all_that_was_said_and_marks_in_it_stay_words() -> None:
    text = conversations.as_markdown(made("# no heading\n```\ncode\n```"))
    assert "### tickets" in text and "8.5 tok/s" in text and "`ab+cd`" in text
    assert "````text\n# no heading\n```\ncode\n```\n````" in text
    assert conversations.title_of("a\n  b") == "a b" and len(conversations.title_of("x" * 500)) == 80


def test_that_a_kept_test_is_read_by_evaluations_and_taken_back(tmp_path: Path) -> None:
    tests_kept.keep_test(tmp_path, "Where?", "here", "contains")
    (tmp_path / "tests.jsonl").open("ab").write(b'{"torn')
    line = tests_kept.keep_test(tmp_path, "And now?", None, "json")
    assert [(t.prompt, t.expected, t.check) for t in kept_tests(tmp_path)] == [
        ("Where?", "here", "contains"),
        ("And now?", None, "json"),
    ]
    tests_kept.take_back(tmp_path, line)
    assert [t.prompt for t in kept_tests(tmp_path)] == ["Where?"]
    assert json.loads((tmp_path / "tests.jsonl").read_bytes().split(b"\n")[0])["from"] == "chat"


@pytest.mark.parametrize(
    ("prompt", "expected", "check", "field"),
    [
        ("  ", "x", "exact", "prompt"),
        ("q", None, "contains", "expected"),
        ("q", "(", "regex", "expected"),
        ("q", "x", "guess", "check"),
        ("q" * 2_000_000, None, "none", "prompt"),
    ],
)
def test_that_a_test_that_could_not_be_judged_is_refused(
    tmp_path: Path, prompt: str, expected: str | None, check: str, field: str
) -> None:
    with pytest.raises(EngineError) as told:
        tests_kept.keep_test(tmp_path, prompt, expected, check)
    assert told.value.field == field and not (tmp_path / "tests.jsonl").exists()
