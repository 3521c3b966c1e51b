"""Logs torn, filled with zeros, shortened or overwritten, and whether readers return all whole lines."""

from __future__ import annotations

import random
from pathlib import Path

from engine.events import Step, encode
from engine.runs.event_log import NAME, EventReader, EventWriter


def line_of(step: int) -> bytes:
    """Return a step's line of a log, as a writer of the first attempt has it."""
    facts = {"step": step, "total_steps": 100, "epoch": 0.1, "loss": 1.0 / step, "learning_rate": 1e-4}
    facts |= {"tokens": 64, "supervised_tokens": 32, "seconds": 0.5}
    return encode(Step.model_validate({**facts, "seq": step - 1, "attempt": 1}))


def append_attempt(folder: Path, *steps: int) -> None:
    """Append steps in a new attempt."""
    writer = EventWriter(folder)
    for step in steps:
        writer.write(Step.model_validate_json(line_of(step)))
    writer.close()


def read(folder: Path) -> tuple[list[int], int]:
    """Return the steps a reader gives and how many lines it could not read."""
    reader = EventReader(folder)
    return [event.step for event in reader.read_new()], reader.skipped


def cut_everywhere(folder: Path) -> list[str]:
    """Cut a log of two lines behind each of its bytes, append an attempt, and return what went wrong."""
    whole = [line_of(1), line_of(2)]
    text, broken = b"".join(whole), []
    for cut in range(len(text) + 1):
        (folder / NAME).write_bytes(text[:cut])
        append_attempt(folder, 7)
        torn = text[:cut].rpartition(b"\n")[2]
        ended = [
            len(line) - 1 for line in whole
        ]  # such a line lacks but its end, which the next attempt adds
        kept = text[:cut].count(b"\n") + (len(torn) in ended)
        expected = ([*range(1, kept + 1), 7], int(bool(torn) and len(torn) not in ended))
        if read(folder) != expected:
            broken.append(f"cut behind byte {cut}: {read(folder)} instead of {expected}")
    return broken


def spoil(folder: Path, count: int, seed: int) -> list[str]:
    """Spoil `count` logs at random and return where a whole line was lost or a wreck taken for one."""
    draw, broken = random.Random(seed), []
    lines = [line_of(step) for step in range(1, 13)]
    for number in range(count):
        text, kept = _spoilt(lines, draw)
        (folder / NAME).write_bytes(text)
        follows = draw.random() < 0.3
        if follows:
            append_attempt(folder, 50)
        steps, _ = read(folder)
        wanted = set(kept) | ({50} if follows else set())
        if not wanted <= set(steps) or steps != sorted(set(steps)):
            broken.append(f"log {number}: {steps} instead of {sorted(wanted)}")
        if any(e.loss != 1.0 / e.step for e in EventReader(folder).read_new()):
            broken.append(f"log {number}: a line that nobody wrote")
    return broken


def _spoilt(lines: list[bytes], draw: random.Random) -> tuple[bytes, list[int]]:
    """Return a spoilt log and the steps whose lines are whole in it."""
    how = draw.choice(("cut", "cut", "zeros", "zeros behind", "garbage", "shortened"))
    text = b"".join(lines)
    if how == "cut":
        at = draw.randrange(len(text) + 1)
        return text[:at], list(range(1, text[:at].count(b"\n") + 1))
    if how == "shortened":
        count = draw.randrange(len(lines) + 1)
        return b"".join(lines[:count]), list(range(1, count + 1))
    if how == "zeros behind":
        return text + b"\0" * 4096, list(range(1, len(lines) + 1))
    begin = draw.randrange(len(text))
    end = min(len(text), begin + draw.choice((1, 40, 512, 4096)))
    fill = bytes(end - begin) if how == "zeros" else draw.randbytes(end - begin).replace(b"\n", b"\xff")
    hit = {text[:at].count(b"\n") for at in range(begin, end)}
    starts = [sum(len(line) for line in lines[:number]) for number in range(len(lines))]
    glued = {number for number, start in enumerate(starts) if begin <= start - 1 < end}  # to the wreck before
    whole = [number + 1 for number in range(len(lines)) if number not in hit | glued]
    return text[:begin] + fill + text[end:], whole
