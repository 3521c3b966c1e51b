"""A chat child whose device fails in the middle of an answer: told, and gone where it has to be."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from engine import faults
from engine.runtime.chat_child import ChatChild

QUESTION = [{"role": "user", "content": "Where is my parcel?"}]


def talk(*commands: dict[str, Any]) -> tuple[int, list[dict[str, Any]]]:
    """Give commands to a chat child in this process; return its exit status and what it said."""
    lines = b"".join(json.dumps(command).encode() + b"\n" for command in commands)
    said: list[dict[str, Any]] = []
    return ChatChild(_Patient(lines), said.append).run(), said


class _Patient(io.BytesIO):
    """Input whose end does not stop what is being answered."""

    def readline(self, size: int | None = -1) -> bytes:
        return super().readline(size) or b'{"command": "quit"}\n'


def ask(identity: str) -> dict[str, Any]:
    return {
        "command": "generate",
        "id": identity,
        "who": "base",
        "messages": QUESTION,
        "sampling": {"max_new_tokens": 6},
    }


@pytest.mark.parametrize(
    ("fault", "code", "status"), [("device-lost", "GPU-02", 1), ("oom", "GPU-01", 0)], ids=["lost", "memory"]
)
def test_f45_that_a_device_that_fails_in_an_answer_is_told_and_a_lost_one_ends_the_child(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, fault: str, code: str, status: int
) -> None:
    monkeypatch.setattr(ChatChild, "_is_stopped", lambda self, command: False)
    load = {"command": "load", "id": "l", "target": str(tiny_model), "device": "cpu"}
    with faults.arm(f"chat:{fault}@3"):
        ended, said = talk(load, ask("a"), ask("b"))
    failed = next(m for m in said if m["type"] == "failed")
    assert (failed["id"], failed["code"], ended) == ("a", code, status) and failed["hint"]
    assert sum(m["type"] == "token" for m in said if m.get("id") == "a") == 2
    answered = [m["id"] for m in said if m["type"] == "done"]
    assert answered == ([] if status else ["b"])  # a child whose device is there goes on
