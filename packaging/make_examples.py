"""Make the bundled example data from the phrases in packaging/examples: the same bytes at every run.

usage: python3 packaging/make_examples.py [--check]    (standard library only)

Writes support/{train,holdout}.jsonl and formal/formal.csv below resources/examples. With --check it writes
nothing and ends with 1 when a file differs from what would be written.
"""

from __future__ import annotations

import csv
import io
import json
import random
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent / "resources" / "examples"
SEED = 20_261
TRAIN_ROWS = 600
HOLDOUT_ROWS = 80
FORMAL_ROWS = 120
SYSTEM = "Answer with one JSON object: queue, priority, summary."
# How often each priority is drawn for a message that reports trouble; a question is always low.
CUE_WEIGHTS = {"low": 4, "normal": 5, "high": 7, "urgent": 4}
# The share of held-out messages that use a wording of the matter, and a cue, that training never showed.
NEW_WORDING = 0.4
NEW_CUE = 0.3

Bank = dict[str, Any]


def load(name: str) -> Bank:
    """Read a phrase bank."""
    return tomllib.loads((HERE / "examples" / name).read_text(encoding="utf-8"))


def seen_and_kept(values: list[str], kept: int) -> tuple[list[str], list[str]]:
    """Split a list into what training may use and what is kept for the held-out set."""
    return values[: len(values) - kept], values[len(values) - kept :]


def fillings(slots: dict[str, list[str]], rng: random.Random, held_out: bool) -> dict[str, str]:
    """Draw one value for each slot; training and held-out draw from disjoint lists."""
    chosen = {}
    for name, values in slots.items():
        train, kept = seen_and_kept(values, max(2, len(values) // 4))
        chosen[name] = rng.choice(kept if held_out else train)
    # Odd numbers belong to training, even ones to the held-out set.
    parity = 0 if held_out else 1
    chosen["order"] = str(rng.randrange(1000, 9000, 2) + parity)
    chosen["amount"] = str(rng.randrange(12, 300, 2) + parity)
    chosen["n"] = str(rng.randrange(4, 60, 2) + parity)
    return chosen


def fill(text: str, values: dict[str, str]) -> str:
    """Put the values into a phrase; a device in the plural ends in -es after -ch."""
    return re.sub(r"\{(\w+)\}", lambda m: values[m[1]], text).replace("watchs", "watches")


def mistype(text: str, rng: random.Random) -> str:
    """Return the text as a hasty person types it: letters swapped, one left out, or all small."""
    kind = rng.choice(["swap", "drop", "small"])
    if kind == "small":
        return text.lower()
    places = [m.start() + rng.randint(1, len(m[0]) - 3) for m in re.finditer(r"[A-Za-z]{5,}", text)]
    if not places:
        return text
    at = rng.choice(places)
    return text[:at] + (text[at + 1] + text[at] + text[at + 2 :] if kind == "swap" else text[at + 1 :])


def pick_text(intent: Bank, position: int, rng: random.Random, held_out: bool) -> str:
    """Choose a wording of the matter; every other intent keeps its last wording for the held-out set."""
    texts: list[str] = intent["texts"]
    if position % 2:
        return rng.choice(texts)
    seen, kept = seen_and_kept(texts, 1)
    return kept[0] if held_out and rng.random() < NEW_WORDING * 2 else rng.choice(seen)


def pick_cue(bank: Bank, priority: str, rng: random.Random, held_out: bool) -> str:
    """Choose the sentence that tells the priority; three of each kind are for the held-out set alone."""
    seen, kept = seen_and_kept(bank["cues"][priority]["texts"], 3)
    return rng.choice(kept if held_out and rng.random() < NEW_CUE else seen)


def support_message(bank: Bank, position: int, rng: random.Random, held_out: bool) -> tuple[str, str]:
    """Make one (message, answer) of the intent at `position`."""
    intent = bank["intents"][position]
    values = fillings(bank["slots"], rng, held_out)
    matter = fill(pick_text(intent, position, rng, held_out), values)
    if intent.get("kind") == "question":
        priority, cue = "low", rng.choice(["", "", pick_cue(bank, "low", rng, held_out)])
    else:
        priority = rng.choices(list(CUE_WEIGHTS), list(CUE_WEIGHTS.values()))[0]
        cue = fill(pick_cue(bank, priority, rng, held_out), values)
        if priority == "normal" and rng.random() < 0.4:
            cue = ""
    core = [cue, matter] if cue and priority != "normal" and rng.random() < 0.2 else [matter, cue]
    opening = rng.choice(bank["openings"]["texts"])
    closing = fill(rng.choice(bank["closings"]["texts"]), values)
    message = " ".join(part for part in [opening, *core, closing] if part)
    if rng.random() < 0.12:
        message = mistype(message, rng)
    answer = {"queue": intent["queue"], "priority": priority, "summary": fill(intent["summary"], values)}
    return message, json.dumps(answer, ensure_ascii=False)


def support_rows(bank: Bank, count: int, rng: random.Random, held_out: bool, taken: set[str]) -> list[Bank]:
    """Make `count` rows with distinct messages, each queue and each of its intents as often as the others."""
    by_queue: dict[str, list[int]] = {}
    for position, intent in enumerate(bank["intents"]):
        by_queue.setdefault(intent["queue"], []).append(position)
    queues, rows = sorted(by_queue), []
    turn = 0
    while len(rows) < count:
        positions = by_queue[queues[turn % len(queues)]]
        message, answer = support_message(
            bank, positions[turn // len(queues) % len(positions)], rng, held_out
        )
        turn += 1
        if message.lower() in taken:
            continue
        taken.add(message.lower())
        turns = [("system", SYSTEM), ("user", message), ("assistant", answer)]
        rows.append({"messages": [{"role": role, "content": content} for role, content in turns]})
    rng.shuffle(rows)
    return rows


def formal_rows(bank: Bank, count: int, rng: random.Random) -> list[tuple[str, str]]:
    """Make (prompt, completion) pairs of a plain and a formal note, all different."""
    rows: list[tuple[str, str]] = []
    turn = 0
    while len(rows) < count:
        pair = bank["pairs"][turn % len(bank["pairs"])]
        turn += 1
        values = {name: rng.choice(texts) for name, texts in bank["slots"].items()}
        row = ("Write formally: " + fill(pair["plain"], values), fill(pair["formal"], values))
        if row not in rows:
            rows.append(row)
    rng.shuffle(rows)
    return rows


def all_files() -> dict[Path, str]:
    """Return every generated file with its content."""
    support, rng, taken = load("support.toml"), random.Random(SEED), set[str]()
    files = {}
    for name, count, held_out in (("train", TRAIN_ROWS, False), ("holdout", HOLDOUT_ROWS, True)):
        rows = support_rows(support, count, rng, held_out, taken)
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        files[EXAMPLES / "support" / f"{name}.jsonl"] = lines
    sheet = io.StringIO()
    writer = csv.writer(sheet, lineterminator="\n")
    writer.writerow(["prompt", "completion"])
    writer.writerows(formal_rows(load("formal.toml"), FORMAL_ROWS, random.Random(SEED)))
    files[EXAMPLES / "formal" / "formal.csv"] = sheet.getvalue()
    return files


def main() -> int:
    """Write the files, or compare them with what is there."""
    files = all_files()
    if "--check" in sys.argv[1:]:
        stale = [p for p, text in files.items() if not p.is_file() or p.read_text(encoding="utf-8") != text]
        for path in stale:
            print(f"{path} is not what make_examples.py makes", file=sys.stderr)
        return 1 if stale else 0
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
