"""The gate before every use of a stranger's tokenizer, template, workbook, columns or GGUF head in a process.

Each is looked at once by a child that may die of it (`engine.data.probe`): a crash, a signal or running over
its limits is a refusal, and the window lives. What was said is remembered by the digest of the content.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from engine import paths
from engine.durable import sha256_file
from engine.errors import from_os_error
from engine.probes import limits, verdicts
from engine.probes.verdicts import Verdict, digest_of

RULES = 3  # of what a probe demands; another number asks anew
ANSWER_BYTES = 256 << 10
HEAD_BYTES = 16 << 20
WHOLE_BYTES = 16 << 20  # columns up to this size are known by all of their bytes
Kind = Literal["tokenizer", "template", "gguf", "workbook", "columns"]
_LIBRARIES = {"tokenizer": "tokenizers", "template": "jinja2", "workbook": "openpyxl", "columns": "pyarrow"}
_PASSED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "WINDIR")
_SAID: dict[Kind, tuple[str, str, str]] = {
    "tokenizer": (
        "MODEL-06",
        "The tokenizer of this model was stopped: {why}.",
        "Choose another model, or download this one again.",
    ),
    "template": (
        "MODEL-06",
        "The chat template {name} was stopped: {why}.",
        "Choose one of the built-in templates, or another model.",
    ),
    "gguf": (
        "MODEL-02",
        "{name} is damaged or forged: {why}.",
        "Download it again, or choose another model.",
    ),
    "workbook": (
        "DATA-12",
        "{name} is a workbook that cannot be read: {why}.",
        "Open it in a spreadsheet program and save it again, or export it as CSV.",
    ),
    "columns": (
        "DATA-12",
        "{name} cannot be read as a Parquet or Arrow file: {why}.",
        "Download or export it again; it may not be complete.",
    ),
}
_locks: dict[str, threading.Lock] = {}


@dataclass(frozen=True)
class Question:
    """One thing to be looked at: `content` is its digest, `values` what the child needs to find it."""

    kind: Kind
    content: str
    name: str
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Return the name its verdict is kept under."""
        # A verdict speaks of the file by its name.
        return digest_of(RULES, self.kind, _version(_LIBRARIES.get(self.kind, "")), self.content, self.name)

    def stopped(self, why: str) -> Verdict:
        """Return the refusal of what ended its probe."""
        code, message, hint = _SAID[self.kind]
        return Verdict({}, code, message.format(name=paths.show_name(self.name), why=why), hint)


@lru_cache
def _version(library: str) -> str:
    try:
        return version(library) if library else ""
    except PackageNotFoundError:
        return ""


def file_question(kind: Kind, path: Path) -> Question:
    """Return the question about a file as it is now; raises EngineError DISK-* when it cannot be read."""
    try:
        status = path.stat()
        mark = (str(path), status.st_size, status.st_mtime_ns, status.st_ino)
        large = kind == "gguf" or kind == "columns" and status.st_size > WHOLE_BYTES
        content = _ends(*mark, kind) if large else _digest(*mark)
    except OSError as error:
        raise from_os_error(error, str(path)) from None
    return Question(kind, content, path.name, {"path": str(path)})


@lru_cache(maxsize=64)
def _digest(path: str, size: int, changed: int, number: int) -> str:
    return sha256_file(Path(path))


@lru_cache(maxsize=64)
def _ends(path: str, size: int, changed: int, number: int, kind: Kind) -> str:
    """Return a digest of the beginning (and the end, where columns are described) of a large file.

    Its size and time count too.
    """
    with open(path, "rb") as file:
        ends = [hashlib.sha256(file.read(HEAD_BYTES)).hexdigest()]
        if kind == "columns":
            file.seek(-HEAD_BYTES, os.SEEK_END)
            ends.append(hashlib.sha256(file.read()).hexdigest())
    return digest_of(*ends, size, changed)


def proven(
    question: Question, file: str | None = None, field: str | None = None, beside: Sequence[Question] = ()
) -> dict[str, Any]:
    """Return what is known of a sound thing, asking a probe where nothing is; raises the refusal of others.

    Takes about a quarter of a second the first time: never to be called by what a person waits for. What is
    `beside` it will be asked for next, and is looked at by the same child.
    """
    key = question.key
    with _locks.setdefault(key, threading.Lock()):
        verdict = verdicts.recall(key)
        if verdict is None:
            asked = [question, *(q for q in beside if verdicts.recall(q.key) is None)]
            answers = ask(asked)
            verdict = answers[0][0]
            for each, (said, lasting) in zip(asked, answers, strict=True):
                if lasting:
                    verdicts.remember(each.key, said)
    _locks.pop(key, None)
    return verdict.demand(file, field)


def ask(questions: Sequence[Question]) -> list[tuple[Verdict, bool]]:
    """Let a child look at all in turn; each gets its verdict and whether that holds for next time too.

    The one that ends the child is refused, the others are asked of another child. One that ends it after
    others is asked again alone, for the limits count for all that a child looks at.
    """
    found: list[tuple[Verdict, bool]] = []
    while len(found) < len(questions):
        rest = questions[len(found) :]
        lines, why, lasting = _child([{"kind": q.kind, **q.values} for q in rest])
        for question, line in zip(rest, lines, strict=False):
            verdict = verdicts.as_verdict(line)
            found.append((verdict or question.stopped("its probe said nothing that can be read"), True))
        if not lines:
            found.append((rest[0].stopped(why), lasting))
    return found


def command() -> list[str]:
    """Return the command line of the child: isolated, UTF-8, nothing imported from where it stands."""
    return [sys.executable, "-I", "-X", "utf8", "-m", "engine.data.probe"]


def environment() -> dict[str, str]:
    """Return the environment of the child: few names, offline, no token, one thread."""
    kept = {name: os.environ[name] for name in _PASSED if name in os.environ}
    return kept | {
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "RAYON_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",
        "ARROW_DEFAULT_MEMORY_POOL": "system",  # others set a GiB of addresses aside at their start
    }


def _child(requests: list[dict[str, Any]]) -> tuple[list[Any], str, bool]:
    """Return the lines the child answered, why there are no more of them, and whether that would last."""
    try:
        process = subprocess.Popen(
            command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=_anywhere(),
            env=environment(),
            start_new_session=True,
            close_fds=True,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except OSError as error:
        raise from_os_error(error, sys.executable) from error
    said: list[bytes] = []
    talk = threading.Thread(target=_talk, args=(process, json.dumps(requests).encode(), said), daemon=True)
    talk.start()
    why, lasting = _ended(process)
    talk.join(limits.WALL_SECONDS)
    whole = said[0].split(b"\n")[:-1] if said else []
    return [_line(each) for each in whole[: len(requests)]], why, lasting


def _anywhere() -> Path:
    """Return a folder to stand in: nothing is imported from it (`-I`), whichever it is."""
    try:
        return paths.neutral_folder()
    except OSError:
        return Path(sys.executable).parent


def _talk(process: subprocess.Popen[bytes], request: bytes, said: list[bytes]) -> None:
    """Write the request and read the answer to its end; a child that says too much is left unheard."""
    import contextlib

    assert process.stdin is not None and process.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(request)
        process.stdin.close()
    said.append(process.stdout.read(ANSWER_BYTES))
    process.stdout.close()


def _line(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _ended(process: subprocess.Popen[bytes]) -> tuple[str, bool]:
    """Wait for the child within its limits; return why it ended before its work was done."""
    until = time.monotonic() + limits.WALL_SECONDS
    while True:
        try:
            status = process.wait(0.05)
            # Killed by nobody knows whom: by the system for want of memory, or by its own limit.
            return _reason(status), status != -getattr(signal, "SIGKILL", 9)
        except subprocess.TimeoutExpired:
            why = limits.over(process.pid) if not limits.KEEPS_LIMITS else None
            slow = time.monotonic() > until
            if why is not None or slow:
                process.kill()
                process.wait()
                # A computer that was busy or asleep is no fault of the file.
                return why or f"it did not come to an end in {limits.WALL_SECONDS:.0f} s", why is not None


def _reason(status: int) -> str:
    if status >= 0:
        return "its reader gave up" if status else "its reader ended without a word"
    number = -status
    if number in (getattr(signal, "SIGXCPU", 0), getattr(signal, "SIGKILL", 9)):
        return limits.TOO_LONG
    if number == getattr(signal, "SIGPROF", 0):
        return "it takes more than 2 s of processor time"
    if number == getattr(signal, "SIGXFSZ", 0):
        return "it writes more than it may"
    return f"it crashes its reader (signal {number})"
