"""Our loop against TRL's SFTTrainer and transformers' Trainer: same model, rows, threads and LoRA, in turn.

    python -m tests.bench.train_speed [--targets qv|all] [--precision fp32|bf16] [--data support|skewed]
    python -m tests.bench.train_speed --start 3      from process start to the end of the first step

Each step is taken by one program after the other; the ratio is taken step by step, its median counts.
Tokens are real tokens, never padding. Needs the `bench` extra and the starter model on disk.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from engine.jobs.process import PATIENCE
from tests.bench.train_programs import BATCH, ROOT, options, own_run

PROGRAMS = ("own", "trl", "hf")


def environment(name: str, waiting: str) -> dict[str, str]:
    """Return a program's environment. `waiting` is how threads of a processor wait for one another.

    own: ours as our children get them, asleep, the peers' as a person starts them, spinning; asleep or
    spinning: all alike.
    """
    shared = dict(os.environ, HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", PYTHONPATH=str(ROOT))
    asleep = waiting == "asleep" or (waiting == "own" and name == "own")
    return shared | PATIENCE if asleep else shared


def read(process: subprocess.Popen[str], kind: str) -> dict[str, Any] | None:
    """Return the next message of a kind, None at the end."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith('{"kind"'):
            value: dict[str, Any] = json.loads(line)
            if value["kind"] == kind:
                return value
    return None


def start_program(name: str, arguments: list[str], log: Any, waiting: str = "own") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.bench.train_programs", name, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env=environment(name, waiting),
        cwd=ROOT,
    )


def compare(args: Namespace, arguments: list[str]) -> int:
    """Let the programs take a step each in turn, and print what came of it."""
    logs = {name: tempfile.NamedTemporaryFile("w+", suffix=".log") for name in args.programs}
    workers = {name: start_program(name, arguments, logs[name], args.waiting) for name in args.programs}
    steps: dict[str, list[dict[str, Any]]] = {name: [] for name in workers}
    for name, worker in workers.items():
        if read(worker, "ready") is None:
            print(f"{name} did not start: {Path(logs[name].name).read_text()[-2000:]}")
            return 1
    for _ in range(args.steps):
        for name, worker in workers.items():
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
            step = read(worker, "step")
            if step is None:
                print(f"{name} ended early: {Path(logs[name].name).read_text()[-2000:]}")
                return 1
            steps[name].append(step)
    for worker in workers.values():
        worker.kill()
    report(steps, args)
    return 0


def report(steps: dict[str, list[dict[str, Any]]], args: Namespace) -> None:
    """Print speeds, memory, losses, and the ratios step by step."""
    from tests.bench.machine import describe

    print(describe())
    print(
        f"targets {args.targets}, {args.precision} (peers {args.peer_precision}), {args.data}, "
        f"threads {args.waiting}, batch {BATCH}, {args.steps - 1} steps after the first"
    )
    for name, values in steps.items():
        speed = statistics.median(s["tokens"] / s["wall"] for s in values[1:])
        supervised = sum(v["supervised"] for v in values)
        print(
            f"{name:4s} {speed:7.0f} tok/s, peak {values[-1]['memory'] / 1e9:.2f} GB, loss "
            f"{values[0]['loss']:.4f} -> {values[-1]['loss']:.4f}, {supervised} supervised tokens"
        )
    for other in list(steps)[1:]:
        pairs = list(zip(steps["own"], steps[other], strict=True))[1:]
        ratios = [(a["tokens"] / a["wall"]) / (b["tokens"] / b["wall"]) for a, b in pairs]
        whole = sum(b["wall"] for _, b in pairs) / sum(b["tokens"] for _, b in pairs)
        whole /= sum(a["wall"] for a, _ in pairs) / sum(a["tokens"] for a, _ in pairs)
        memory = steps["own"][-1]["memory"] / steps[other][-1]["memory"]
        apart = max(abs(a["loss"] - b["loss"]) for a, b in pairs)
        same = "" if args.data == "skewed" else f", losses within {apart:.1e}"
        print(
            f"own / {other}: median {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f}), over all steps {whole:.2f}, memory {memory:.2f}{same}"
        )


def first_step(args: Namespace, arguments: list[str]) -> int:
    """Time each program from process start to the end of its first step, in turn."""
    from tests.bench.machine import describe

    taken: dict[str, list[float]] = {name: [] for name in args.programs}
    for _ in range(args.start):
        for name in args.programs:
            taken[name].append(own_first_step(args) if name == "own" else peer_first_step(name, arguments))
    print(describe())
    for name, seconds in taken.items():
        print(f"{name:4s} first step done after {statistics.median(seconds):.1f} s (best {min(seconds):.1f})")
    for other in list(taken)[1:]:
        ratios = [a / b for a, b in zip(taken["own"], taken[other], strict=True)]
        print(f"own / {other}: median {statistics.median(ratios):.2f}")
    return 0


def own_first_step(args: Namespace) -> float:
    """Start the real child of a run, as the window does, and wait for its first step."""
    from engine.jobs import process
    from engine.runs.event_log import EventReader

    folder = own_run(args, Path(tempfile.mkdtemp()))
    began = time.perf_counter()
    child = process.start(folder)
    reader = EventReader(folder)
    while not any(event.type == "step" for event in reader.read_new()):
        time.sleep(0.01)
    seconds = time.perf_counter() - began
    child.kill()
    child.wait(60)
    return seconds


def peer_first_step(name: str, arguments: list[str]) -> float:
    with tempfile.NamedTemporaryFile("w+", suffix=".log") as log:
        began = time.perf_counter()
        worker = start_program(name, ["--alone", *arguments], log)
        if read(worker, "step") is None:
            raise SystemExit(f"{name} ended early: {Path(log.name).read_text()[-2000:]}")
        seconds = time.perf_counter() - began
        worker.kill()
        worker.wait()
    return seconds


def main() -> int:
    parser = options()
    parser.add_argument("--programs", default="own,trl,hf")
    parser.add_argument("--waiting", choices=["own", "asleep", "spinning"], default="own")
    parser.add_argument("--start", type=int, default=0, help="time the start this many times instead")
    args = parser.parse_args()
    args.programs = args.programs.split(",")
    passed = ["steps", "rows", "targets", "precision", "data"]
    arguments = [text for name in passed for text in (f"--{name}", str(getattr(args, name)))]
    arguments += ["--peer-precision", args.peer_precision]
    return first_step(args, arguments) if args.start else compare(args, arguments)


if __name__ == "__main__":
    sys.exit(main())
