"""200,000 rows of JSON lines: first rows, sampled figures, and the full report beside the bare tokenizer.

usage: python -m tests.bench.data_report MODEL_FOLDER [--rows 200000] [--file FILE] [--peers] [--gigabytes 2]
Each program runs in a process of its own, in turn, on the same file; ratios are of one call. `bare` is
`encode_batch_fast` over the same texts, rendered before; `--peers` adds datasets' load_dataset + map.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench.machine import describe

ROOT = Path(__file__).resolve().parents[2]
BATCH = 1024


def make(path: Path, rows: int) -> None:
    """Write rows of recombined sentences: no two alike, 30 to 400 tokens each."""
    pool = sentences()
    rng = random.Random(5)
    with open(path, "w", encoding="utf-8") as file:
        for number in range(rows):
            question = " ".join(rng.choices(pool, k=rng.randint(2, 8)))
            answer = " ".join(rng.choices(pool, k=rng.randint(1, 8)))
            messages = [
                {"role": "user", "content": f"{question} ({number})"},
                {"role": "assistant", "content": answer},
            ]
            file.write(json.dumps({"id": number, "messages": messages}, ensure_ascii=False) + "\n")


def sentences() -> list[str]:
    """Return some thousand sentences: those of the bundled examples, with their words exchanged."""
    texts = [p.read_text("utf-8") for p in sorted((ROOT / "resources/examples").rglob("*.*")) if p.is_file()]
    words = sorted({w for t in texts for w in t.split() if w.isalpha()})
    rng = random.Random(4)
    return [" ".join(rng.choices(words, k=rng.randint(6, 22))).capitalize() + "." for _ in range(20_000)]


def peak_mb() -> float:
    """Return the largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def first_rows(file: str, model: str) -> dict[str, Any]:
    """Time the first hundred rows, mapped, and one example as the model gets it."""
    from engine.data.examples import open_rows
    from engine.data.inspect import examples
    from engine.data.tokenizer import open_tokenizer

    open_tokenizer(model)
    examples(ROOT / "resources/examples/support/train.jsonl", model, count=1)  # what is loaded once
    began = time.perf_counter()
    stream = open_rows(file)
    opened = time.perf_counter() - began
    examples(file, model, count=1)
    return {"rows": len(stream.first), "open_seconds": opened, "seconds": time.perf_counter() - began}


def sampled(file: str, model: str) -> dict[str, Any]:
    """Time the figures of a sample of rows."""
    from engine.data.survey import Wanted, survey
    from engine.data.tokenizer import open_tokenizer
    from engine.recipe.data_options import DataOptions

    open_tokenizer(model)
    data = DataOptions(train=[file], validation_split=0.0)
    began = time.perf_counter()
    found = survey(data, model, wanted=Wanted(rows=1500))
    seconds = time.perf_counter() - began
    rows = found.files[0].rows_estimated
    tokens = float(found.table.length.mean()) * rows
    return {"seconds": seconds, "rows": rows, "tokens": tokens}


def report(file: str, model: str) -> dict[str, Any]:
    """Time the full report: reading, mapping, rendering, tokenising, masks and all checks."""
    from engine.data.select import select
    from engine.data.survey import Wanted, survey
    from engine.data.tokenizer import open_tokenizer
    from engine.recipe.data_options import DataOptions

    open_tokenizer(model)
    data = DataOptions(train=[file], validation_split=0.1)
    before = peak_mb()
    began = time.perf_counter()
    found = survey(data, model, wanted=Wanted(checks=True, near=True))
    select(found.table, data, 1)
    seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
        "rows": found.report.rows,
        "tokens": int(found.table.length.sum()),
        "growth_mb": peak_mb() - before,
        "checks": {c.id: c.count for c in found.checks},
    }


def bare(file: str, model: str) -> dict[str, Any]:
    """Time the tokenizer alone on the same texts; reading and rendering are not counted."""
    from engine.data.tokenizer import open_tokenizer

    tokenizer = open_tokenizer(model)._tokenizer
    seconds, tokens = 0.0, 0
    for texts in rendered(file, model):
        began = time.perf_counter()
        found = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        tokens += sum(len(e) for e in found)
        seconds += time.perf_counter() - began
    return {"seconds": seconds, "tokens": tokens}


def rendered(file: str, model: str) -> Iterator[list[str]]:
    """Yield the rendered texts of the rows in batches."""
    from engine.data.templates import load_template

    template = load_template(model)
    texts: list[str] = []
    with open(file, encoding="utf-8") as lines:
        for line in lines:
            texts.append(template.render(json.loads(line)["messages"]))
            if len(texts) == BATCH:
                yield texts
                texts = []
    if texts:
        yield texts


def peer(file: str, model: str) -> dict[str, Any]:
    """Time load_dataset and a batched map with the tokenizer's chat template, as trainers do it."""
    import datasets
    from transformers import AutoTokenizer

    datasets.disable_progress_bars()
    tokenizer = AutoTokenizer.from_pretrained(model)
    with tempfile.TemporaryDirectory() as cache:
        before = peak_mb()
        began = time.perf_counter()
        loaded = datasets.load_dataset("json", data_files=file, split="train", cache_dir=cache)

        def tokenise(batch: dict[str, Any]) -> dict[str, Any]:
            texts = tokenizer.apply_chat_template(batch["messages"], tokenize=False)
            return {"ids": tokenizer(texts, add_special_tokens=False)["input_ids"]}

        made = loaded.map(tokenise, batched=True, remove_columns=loaded.column_names)
        seconds = time.perf_counter() - began
        tokens = sum(len(ids) for ids in made[:1000]["ids"]) * len(made) / min(1000, len(made))
    return {"seconds": seconds, "tokens": round(tokens), "growth_mb": peak_mb() - before}


PROGRAMS = {"first_rows": first_rows, "sampled": sampled, "report": report, "bare": bare, "peer": peer}


def run(program: str, file: Path, model: str) -> dict[str, Any]:
    """Run one program in a process of its own and return its figures."""
    command = [
        sys.executable,
        "-m",
        "tests.bench.data_report",
        model,
        "--child",
        program,
        "--file",
        str(file),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def grown(file: Path, gigabytes: float) -> Path:
    """Return a file of so many gigabytes made of the rows of another."""
    target = file.with_name("large.jsonl")
    block = file.read_bytes()
    with open(target, "wb") as out:
        while out.tell() < gigabytes * 1e9:
            out.write(block)
    return target


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--gigabytes", type=float, default=0.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--child", choices=sorted(PROGRAMS))
    chosen = parser.parse_args()
    if chosen.child:
        print(json.dumps(PROGRAMS[chosen.child](str(chosen.file), chosen.model)))
        return
    print(describe())
    with tempfile.TemporaryDirectory() as folder:
        file = chosen.file or Path(folder) / "rows.jsonl"
        if chosen.file is None:
            make(file, chosen.rows)
        print(f"{file.stat().st_size / 1e6:.0f} MB")
        for name in ("first_rows", "sampled"):
            print(f"{name:12s} {run(name, file, chosen.model)}")
        for _ in range(chosen.rounds):
            compare(file, chosen.model, chosen.peers)
        if chosen.gigabytes:
            large = grown(file, chosen.gigabytes)
            print(f"{large.stat().st_size / 1e9:.1f} GB")
            for name in ("first_rows", "sampled"):
                print(f"{name:12s} {run(name, large, chosen.model)}")


def compare(file: Path, model: str, peers: bool) -> None:
    """Run the tokenizer alone, our report and the peer in turn; print the ratios of the two."""
    alone, own = run("bare", file, model), run("report", file, model)
    print(f"bare         {alone}\nreport       {own}")
    print(f"report at {alone['seconds'] / own['seconds']:.2f} x the speed of the bare tokenizer")
    if peers:
        other = run("peer", file, model)
        print(f"datasets     {other}\nreport at {other['seconds'] / own['seconds']:.2f} x its speed")


if __name__ == "__main__":
    main()
