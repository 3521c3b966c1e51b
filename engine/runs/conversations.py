"""Conversations on the disk: one JSON file each, beside the run they were had with, or in the home.

    RUN/conversations/<id>.json            with a run's adapter, checkpoint or result
    $TUNESMITH_HOME/conversations/<id>.json with any other adapter or model
    .../conversations/.trash/<id>.json      deleted, for thirty days

A file is at most 4 MB: a longer conversation loses its oldest turns there. A folder keeps its 200 newest.
"""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine import durable, paths
from engine.encoders import fenced, markdown
from engine.errors import EngineError, from_os_error

FORMAT = 1
MOST_BYTES = 4 << 20
MOST_KEPT = 200
TRASH_DAYS = 30
TITLE_CHARACTERS = 80
_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{6}")
Text = Annotated[str, Field(max_length=1_000_000)]


class _Stored(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class Reply(_Stored):
    """What one speaker said, how fast, how it ended, and by whom."""

    text: Text
    tokens: int = 0
    seconds: float = 0.0
    tokens_per_second: float | None = None
    ended: str = ""
    fingerprint: str = ""
    ids: tuple[int, ...] = ()


class Turn(_Stored):
    """One question and the replies to it, by the speaker's name."""

    question: Text
    replies: dict[str, Reply] = {}


class Speaker(_Stored):
    """Who sat in a column: its name in the replies, what is shown, what is to be loaded again."""

    name: str
    label: str
    target: str
    kind: str = "adapter"


class Conversation(_Stored):
    """A whole conversation; `cut` is the number of turns that were too much for the file."""

    id: str
    title: str = ""
    created: float = 0.0
    changed: float = 0.0
    target: str = ""
    system: Text = ""
    speakers: tuple[Speaker, ...] = ()
    turns: tuple[Turn, ...] = ()
    cut: int = 0
    format: int = FORMAT


def new_id() -> str:
    """Return an id that sorts by time."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"


def folder_for(run: Path | None) -> Path:
    """Return where the conversations with a run, or with anything else, lie; it may not be there yet."""
    return (run if run is not None else paths.home()) / "conversations"


def save(conversation: Conversation, run: Path | None = None) -> Conversation:
    """Write a conversation, whole or not at all, and return it as it was written.

    Raises EngineError DISK-* when it cannot be written, REC-01 for an id that is none.
    """
    folder = folder_for(run)
    kept = conversation
    content = _encode(kept)
    while len(content) > MOST_BYTES and len(kept.turns) > 1:
        half = max(1, len(kept.turns) // 4)
        kept = kept.model_copy(update={"turns": kept.turns[half:], "cut": kept.cut + half})
        content = _encode(kept)
    try:
        durable.make_folder(folder)
        durable.write_file(_file(folder, kept.id), content)
        _keep_newest(folder)
    except OSError as error:
        raise from_os_error(error, str(folder)) from error
    return kept


def _encode(conversation: Conversation) -> bytes:
    told = conversation.model_dump(mode="json")
    return (json.dumps(told, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8", "replace")


def _file(folder: Path, identity: str) -> Path:
    if not _ID.fullmatch(identity):
        raise EngineError(
            f"{paths.show_name(identity)} is no conversation.", "Choose one of the list.", "REC-01"
        )
    return folder / f"{identity}.json"


def _keep_newest(folder: Path) -> None:
    """Move what is beyond the limit to the trash, and let go what has been there for thirty days."""
    files = sorted(folder.glob("*.json"), key=lambda p: p.name, reverse=True)
    for old in files[MOST_KEPT:]:
        _move(old, _trash(folder) / old.name)
    limit = time.time() - TRASH_DAYS * 86_400
    for old in (folder / ".trash").glob("*.json"):
        if old.stat().st_mtime < limit:
            durable.remove_file(old)


def _trash(folder: Path) -> Path:
    made = folder / ".trash"
    durable.make_folder(made)
    return made


def _move(source: Path, target: Path) -> None:
    durable.move(source, target)
    os.utime(target)  # its thirty days begin now


def read(identity: str, run: Path | None = None) -> Conversation:
    """Return a conversation; raises EngineError DISK-03 when it cannot be read."""
    path = _file(folder_for(run), identity)
    try:
        if path.stat().st_size > 2 * MOST_BYTES:
            raise ValueError("it is too large")
        return Conversation.model_validate_json(path.read_bytes())
    except OSError as error:
        raise from_os_error(error, str(path)) from error
    except (ValueError, ValidationError) as error:
        raise EngineError(
            "This conversation cannot be read: its file is damaged.",
            "The others are not touched; delete this one.",
            "DISK-03",
            file=str(path),
        ) from error


def newest_first(run: Path | None = None) -> list[Conversation]:
    """Return the conversations with a run, or with no run; damaged files are left out."""
    found = []
    for path in sorted(folder_for(run).glob("*.json"), key=lambda p: p.name, reverse=True)[:MOST_KEPT]:
        if not _ID.fullmatch(path.stem):
            continue
        try:
            found.append(read(path.stem, run))
        except EngineError:
            continue
    return sorted(found, key=lambda c: -c.changed)


def delete(identity: str, run: Path | None = None) -> None:
    """Move a conversation to the trash; raises EngineError DISK-* when that fails."""
    folder = folder_for(run)
    path = _file(folder, identity)
    try:
        _move(path, _trash(folder) / path.name)
    except OSError as error:
        raise from_os_error(error, str(path)) from error


def restore(identity: str, run: Path | None = None) -> None:
    """Bring a deleted conversation back; raises EngineError DISK-* when that fails."""
    folder = folder_for(run)
    path = _file(folder, identity)
    try:
        _move(folder / ".trash" / path.name, path)
    except OSError as error:
        raise from_os_error(error, str(path)) from error


def read_trashed(file: Path) -> Conversation | None:
    """Return a conversation that waits in the trash, None where its file is damaged."""
    try:
        if file.stat().st_size > 2 * MOST_BYTES:
            return None
        return Conversation.model_validate_json(file.read_bytes())
    except (OSError, ValueError):
        return None


def title_of(question: str) -> str:
    """Return a conversation's title: the beginning of its first question, on one line."""
    words = " ".join(question.split())
    return words if len(words) <= TITLE_CHARACTERS else words[: TITLE_CHARACTERS - 1] + "…"


def as_markdown(conversation: Conversation) -> str:
    """Return a conversation as Markdown, each speaker's words quoted so that no word is read as a mark."""
    labels = {speaker.name: speaker.label for speaker in conversation.speakers}
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(conversation.created))
    lines = [
        f"# {markdown(conversation.title)}",
        "",
        f"{when} · {', '.join(map(markdown, labels.values()))}",
        "",
    ]
    if conversation.system:
        lines += ["**System prompt**", "", fenced(conversation.system, "text").rstrip(), ""]
    for turn in conversation.turns:
        lines += ["## You", "", fenced(turn.question, "text").rstrip(), ""]
        for name, reply in turn.replies.items():
            facts = [f"{reply.tokens} tokens"]
            if reply.tokens_per_second:
                facts.append(f"{reply.tokens_per_second:.1f} tok/s")
            facts.append(reply.ended)
            if reply.fingerprint:
                facts.append(f"`{paths.show_name(reply.fingerprint).replace('`', '')}`")
            lines += [f"### {markdown(labels.get(name, name))}", "", fenced(reply.text, "text").rstrip(), ""]
            lines += [" · ".join(filter(None, facts)), ""]
    return "\n".join(lines).rstrip() + "\n"
