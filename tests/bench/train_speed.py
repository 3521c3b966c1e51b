"""Our loop against TRL's SFTTrainer: same rows, batches, threads and LoRA, one step each in turn.

    python tests/bench/train_speed.py [--steps 12] [--targets qv|all] [--rows 160]

Prints, for each, real tokens per second, the median of the ratio step by step, the largest difference of
losses, and the peak memory. Needs the `bench` extra and the starter model on disk.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
TARGETS = {
    "qv": ["q_proj", "v_proj"],
    "all": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
}
BATCH = 8


def emit(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def gate() -> bool:
    return bool(sys.stdin.readline())


def rows_of(limit: int) -> list[list[dict[str, str]]]:
    path = ROOT / "resources" / "examples" / "support" / "train.jsonl"
    return [json.loads(line)["messages"] for line in path.read_text("utf-8").split("\n")[:limit] if line]


def own(args: argparse.Namespace) -> None:
    """One worker: our training, a step for each line on stdin."""
    import time

    from engine.jobs.spec import read_job
    from engine.models.library import resolve_model
    from engine.recipe import codec
    from engine.recipe.recipe import Recipe
    from engine.runs import store
    from engine.runs.event_log import EventReader, EventWriter
    from engine.runtime import keep, memory, start, train
    from engine.runtime.control import Control
    from engine.runtime.job import Job, Requests
    from engine.runtime.vitals import Vitals

    folder = Path(tempfile.mkdtemp())
    data = folder / "rows.jsonl"
    data.write_text("\n".join(json.dumps({"messages": m}) for m in rows_of(args.rows)) + "\n")
    options = {
        "data.train": [str(data)],
        "data.validation_split": 0.0,
        "data.shuffle": False,
        "data.max_length": 512,
        "data.train_on": "last",
        "adapter.r": 8,
        "adapter.lora_alpha": 16,
        "adapter.lora_dropout": 0.0,
        "adapter.target_modules": TARGETS[args.targets],
        "training.per_device_train_batch_size": BATCH,
        "training.lr_scheduler_type": "constant",
        "training.max_grad_norm": 0.0,
        "training.precision": args.precision,
    }
    recipe = codec.override(Recipe(), options)
    run_folder = store.create_run(recipe, folder / "run")
    writer = EventWriter(run_folder)
    job = Job(run_folder, read_job(run_folder), writer, Requests(Control(run_folder)), Vitals(writer))
    model = resolve_model("starter")
    run = start.load_model(job, recipe, model, start.read_data(job, recipe, model))
    keep.ready(run, None)
    draw_adapter(run.model)
    run.model.train()
    reader = EventReader(run_folder)
    reader.read_new()
    emit(kind="ready")
    while gate():
        began = time.perf_counter()
        train.take_step(run)
        wall = time.perf_counter() - began
        step = [e for e in reader.read_new() if e.type == "step"][-1]
        emit(
            kind="step",
            loss=step.loss,
            tokens=step.tokens,
            supervised=step.supervised_tokens,
            wall=wall,
            memory=memory.peak_bytes(run.compute.device),
        )


def draw_adapter(model: Any) -> None:
    """Give A the same values in both programs, so that the losses can be compared."""
    import torch

    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_A" in name:
            with torch.no_grad():
                values = torch.rand(parameter.shape, generator=generator) * 2 - 1
                parameter.copy_(values / parameter.shape[1] ** 0.5)


def trl(args: argparse.Namespace) -> None:
    """The other worker: SFTTrainer without gradient checkpointing, completion-only loss, in file order."""
    import resource
    import time

    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from engine.models.library import resolve_model

    folder = resolve_model("starter")
    seen: list[tuple[int, int]] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            draw_adapter(trainer.model)
            emit(kind="ready")

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            gate()
            self.began = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.wall = time.perf_counter() - self.began

        def on_log(
            self, _args: Any, state: Any, _control: Any, logs: dict[str, float] | None = None, **__: Any
        ) -> None:
            if logs and "loss" in logs:
                tokens, supervised = seen[state.global_step - 1]
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
                emit(
                    kind="step",
                    loss=logs["loss"],
                    tokens=tokens,
                    supervised=supervised,
                    wall=self.wall,
                    memory=peak,
                )

    dtype = torch.bfloat16 if args.precision == "bf16" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    lora = LoraConfig(
        r=8, lora_alpha=16, lora_dropout=0.0, target_modules=TARGETS[args.targets], task_type="CAUSAL_LM"
    )
    config = SFTConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=BATCH,
        learning_rate=2e-4,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=0.0,
        logging_steps=1,
        report_to=[],
        max_steps=args.steps,
        save_strategy="no",
        use_cpu=not torch.cuda.is_available(),
        disable_tqdm=True,
        gradient_checkpointing=False,
        bf16=False,
        max_length=512,
        train_sampling_strategy="sequential",
    )
    data = Dataset.from_list([{"prompt": m[:-1], "completion": m[-1:]} for m in rows_of(args.rows)])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    trainer = SFTTrainer(
        model=model,
        args=config,
        train_dataset=data,
        processing_class=tokenizer,
        peft_config=lora,
        callbacks=[Clock()],
    )
    collate = trainer.data_collator

    def counting(features: Any) -> Any:
        batch = collate(features)
        for row in batch["labels"]:  # TRL trains the newline behind the end of the turn too; we do not
            row[(row != -100).nonzero()[-1]] = -100
        mask = batch.get("attention_mask")
        real = int(mask.sum()) if mask is not None else batch["input_ids"].numel()
        seen.append((real, int((batch["labels"] != -100).sum())))
        return batch

    trainer.data_collator = counting
    trainer.train()


def read(process: subprocess.Popen[str], kind: str) -> dict[str, Any] | None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith('{"kind"'):
            value: dict[str, Any] = json.loads(line)
            if value["kind"] == kind:
                return value
    return None


def compare(args: argparse.Namespace) -> int:
    """Start both, let one take a step at a time, and print what came of it."""
    environment = dict(
        os.environ,
        HF_HUB_OFFLINE="1",
        OMP_WAIT_POLICY="passive",
        TOKENIZERS_PARALLELISM="false",
        PYTHONPATH=str(ROOT),
    )
    logs = {name: tempfile.NamedTemporaryFile("w+", suffix=".log") for name in ("own", "trl")}
    workers = {
        name: subprocess.Popen(
            [sys.executable, __file__, "--worker", name, *sys.argv[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=logs[name],
            text=True,
            env=environment,
        )
        for name in ("own", "trl")
    }
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


def report(steps: dict[str, list[dict[str, Any]]], args: argparse.Namespace) -> None:
    """Print speeds, losses and the ratio step by step."""
    from tests.bench.machine import describe

    pairs = list(zip(steps["own"], steps["trl"], strict=True))[1:]
    speeds = {name: [s["tokens"] / s["wall"] for s in values[1:]] for name, values in steps.items()}
    ratios = [(a["tokens"] / a["wall"]) / (b["tokens"] / b["wall"]) for a, b in pairs]
    print(describe())
    print(f"targets {args.targets}, {args.precision}, batch {BATCH}, {len(pairs)} steps after the first")
    for name, values in steps.items():
        first, last = values[0], values[-1]
        supervised = sum(v["supervised"] for v in values)
        print(
            f"{name:4s} {statistics.median(speeds[name]):7.0f} tok/s, peak {last['memory'] / 1e9:.2f} GB, ",
            end="",
        )
        print(f"loss {first['loss']:.4f} -> {last['loss']:.4f}, {supervised} supervised tokens")
    worst = max(abs(a["loss"] - b["loss"]) for a, b in pairs)
    middle = statistics.median(ratios)
    print(f"ratio own / trl: min {min(ratios):.2f}, median {middle:.2f}, max {max(ratios):.2f}")
    print(f"largest difference of losses {worst:.1e}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worker", choices=["own", "trl"])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rows", type=int, default=160)
    parser.add_argument("--targets", choices=list(TARGETS), default="qv")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    args = parser.parse_args()
    if args.worker is None:
        return compare(args)
    {"own": own, "trl": trl}[args.worker](args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
