"""What the checks of the data cost a row, beside the bare tokenizer: both in turn in one process.

usage: python -m tests.bench.quality_speed MODEL_FOLDER [--rows 20000] [--turns 5]
CPU time of this process, its threads included; the least of the turns. The rows are recombined sentences of
about 850 characters, no two alike; the tokenizer's own row is `encode_batch_fast` over the same texts.
"""

from __future__ import annotations

import argparse
import gc
import random
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tokenizers import Tokenizer

from engine.data.checks import Checks, fold_key
from engine.data.conversation import Conversation
from tests.bench.data_report import sentences
from tests.bench.machine import describe

SPECIAL = frozenset({"<|im_start|>", "<|im_end|>", "<|endoftext|>", "<s>", "</s>", "<unk>"})
CHARACTERS = 850


def make(rows: int, curly: bool) -> list[Conversation]:
    """Return rows of about 850 characters; `curly`: with characters beyond ASCII, as most text has."""
    pool, rng = sentences(), random.Random(5)
    pool = [s.encode("ascii", "ignore").decode() for s in pool]
    made = []
    for number in range(rows):
        words: list[str] = []
        while sum(map(len, words)) < CHARACTERS - 60:
            words.append(rng.choice(pool))
        cut = rng.randint(1, len(words) - 1)
        question, answer = f"{' '.join(words[:cut])} ({number})", " ".join(words[cut:])
        if curly:
            answer = f"“{answer}” – é"
        made.append(
            Conversation(({"role": "user", "content": question}, {"role": "assistant", "content": answer}))
        )
    return made


def see(rows: list[Conversation]) -> Checks:
    checks = Checks(SPECIAL)
    for number, row in enumerate(rows):
        checks.see("rows.jsonl", number, number + 1, row)
    checks._near._flush()
    return checks


def cpu_us(work: Callable[[], Any], rows: int) -> tuple[float, Any]:
    """Return the microseconds of CPU a row that some work took, and what it returned."""
    began = time.process_time()
    given = work()
    return (time.process_time() - began) / rows * 1e6, given


def memory(rows: list[Conversation]) -> tuple[float, float]:
    """Return (bytes that a row more keeps, MB kept beside them)."""
    see(rows[:600])  # tables that are made once
    held = []
    for part in (rows[: len(rows) // 2], rows):
        gc.collect()
        tracemalloc.start()
        checks = see(part)
        held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        del checks
    each = (held[1] - held[0]) / (len(rows) - len(rows) // 2)
    return each, (held[1] - each * len(rows)) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args()
    tokenizer = Tokenizer.from_file(str(Path(args.model) / "tokenizer.json"))
    print(describe())
    for curly in (False, True):
        compare(tokenizer, make(args.rows, curly), args.turns, "beyond ASCII" if curly else "ASCII")


def compare(tokenizer: Tokenizer, rows: list[Conversation], turns: int, name: str) -> None:
    """Time tokenizer and checks in turn over the same rows, and print the table."""
    texts = ["\n".join(m["content"] for m in row.messages) for row in rows]
    taken: dict[str, list[float]] = {"tokenizer": [], "see": [], "found": [], "fold_key": []}
    for _ in range(turns):
        taken["tokenizer"].append(cpu_us(lambda: tokenizer.encode_batch_fast(texts), len(rows))[0])
        spent, checks = cpu_us(lambda: see(rows), len(rows))
        taken["see"].append(spent)
        taken["found"].append(cpu_us(checks.found, len(rows))[0])
        taken["fold_key"].append(cpu_us(lambda: [fold_key(row) for row in rows], len(rows))[0])
    each, beside = memory(rows)
    length = sum(map(len, texts)) / len(texts)
    print(f"\n{len(rows):,} rows of {length:.0f} characters, {name}")
    for step, values in taken.items():
        share = min(values) / min(taken["tokenizer"])
        print(f"  {step:<10} {min(values):7.1f} us CPU a row   {share:5.2f} of the tokenizer")
    print(f"  memory     {each:7.0f} bytes a row, beside {beside:.1f} MB")


if __name__ == "__main__":
    main()
