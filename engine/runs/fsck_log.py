"""The log of a run under the eye of `fsck`: lines that cannot be read, lines that are missing, edits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from engine.event_lines import MAX_LINE_BYTES
from engine.events import Event, decode
from engine.runs.check import Damage
from engine.runs.event_log import NAME, bounded_lines


@dataclass
class _Seen:
    """What was seen of a log so far: its line numbers (`seq`) rise by one, over all attempts."""

    unreadable: int = 0
    missing: int = 0
    backwards: int = 0
    last: tuple[int, int] | None = None  # attempt, seq
    unreadable_since: int = 0
    job_digests: list[str] = field(default_factory=list)

    def take(self, event: Event) -> None:
        """Compare a line's number with the one before."""
        before = -1 if self.last is None else self.last[1]
        ahead = event.seq - before
        # A line cut just before its end had its number given away once more by earlier versions.
        again = ahead == 0 and self.last is not None and event.attempt > self.last[0]
        if ahead < 1 and not again:
            self.backwards += 1
        elif ahead - 1 > self.unreadable_since:
            self.missing += ahead - 1 - self.unreadable_since
        self.last, self.unreadable_since = (event.attempt, event.seq), 0
        digest = getattr(event, "job_sha256", None)
        if event.type == "started" and isinstance(digest, str) and digest:
            self.job_digests.append(digest)

    def pass_over(self) -> None:
        """Count a line that cannot be read."""
        self.unreadable += 1
        self.unreadable_since += 1


def look(run: Path, going: bool) -> Iterator[Damage]:
    """Yield what is wrong with events.jsonl; while a child is `going` its last line may be half written."""
    path = run / NAME
    seen, torn = _Seen(), False
    try:
        with open(path, "rb") as file:
            for line in bounded_lines(file):
                torn = not line.endswith(b"\n")
                if torn and going:
                    break
                _take(line, seen)
    except FileNotFoundError:
        if (run / "exit.json").exists() or (run / "checkpoints").exists():
            yield Damage(NAME, "is missing; saves are not affected", "RUN-09")
        return
    except OSError as error:
        yield Damage(NAME, f"cannot be read: {error.strerror}", "RUN-09")
        return
    if seen.unreadable:
        yield Damage(NAME, f"{seen.unreadable} lines cannot be read", "RUN-09")
    elif torn and not going:
        yield Damage(NAME, "the last line was cut off", "RUN-09")
    if seen.missing:
        yield Damage(NAME, f"{seen.missing} lines are missing", "RUN-09")
    if seen.backwards:
        yield Damage(NAME, "its lines are not in the order they were written in", "RUN-09")
    yield from _job(run, seen)


def _job(run: Path, seen: _Seen) -> Iterator[Damage]:
    """Compare job.json with what each attempt found there when it began."""
    if not seen.job_digests:
        return
    try:
        now = hashlib.sha256((run / "job.json").read_bytes()).hexdigest()
    except OSError:
        return  # told of already
    if any(digest != now for digest in seen.job_digests):
        yield Damage("job.json", "is not what the run was started with", "RUN-10")


def _take(line: bytes, seen: _Seen) -> None:
    kept = line.strip(b"\x00\r\n ")
    if not kept:
        if b"\x00" in line:
            seen.pass_over()
        return
    try:
        if len(line) > MAX_LINE_BYTES:
            raise ValueError("too long")
        seen.take(decode(kept))
    except ValueError:
        seen.pass_over()
