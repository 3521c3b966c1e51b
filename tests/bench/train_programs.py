"""The three programs that `train_speed.py` lets train in turn: ours, TRL's SFTTrainer, transformers' Trainer.

    python -m tests.bench.train_programs own|trl|hf [options of train_speed]

Each says {"kind": "ready"}, then takes a step for each line on stdin and says what it was. With --alone it
takes its first step unasked and ends.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TARGETS = {
    "qv": ["q_proj", "v_proj"],
    "all": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
}
BATCH, RANK, ALPHA, RATE, LONGEST = 8, 8, 16, 2e-4, 512
FILLER = (
    "I have already restarted it twice.",
    "The number on the back ends with 4417.",
    "My colleague saw the same thing last week.",
    "It began after the update on Monday.",
    "We also tried another cable and another room.",
)


def options() -> argparse.ArgumentParser:
    """Return the options that every program of a comparison shares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", nargs="?", choices=["own", "trl", "hf"])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--targets", choices=list(TARGETS), default="all")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument(
        "--peer-precision",
        choices=["as ours", "fp32", "autocast"],
        default="as ours",
        help="as ours: the peers' weights are in the same type; autocast: float32 weights, TRL's own way",
    )
    parser.add_argument("--data", choices=["support", "longer", "skewed"], default="support")
    parser.add_argument("--alone", action="store_true")
    return parser


def emit(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def rows_of(data: str, limit: int) -> list[list[dict[str, str]]]:
    """Return conversations: the shipped support messages, or those made as long as lognormal lengths ask.

    `longer` ones have up to three more sentences each, 95 tokens a row and even in length. `skewed` lengths
    have a median near 80 tokens and end at 450, in random order.
    """
    path = ROOT / "resources" / "examples" / "support" / "train.jsonl"
    rows = [json.loads(line)["messages"] for line in path.read_text("utf-8").split("\n")[:limit] if line]
    if data == "support":
        return rows
    source = random.Random(7)
    for messages in rows:
        more = min(420, int(source.lognormvariate(math.log(80), 0.75))) - 60
        count = max(0, more // 10) if data == "skewed" else source.randint(1, 4)
        words = [source.choice(FILLER) for _ in range(count)]
        question = next(m for m in messages if m["role"] == "user")
        question["content"] = " ".join([question["content"], *words])
    return rows


def gate(args: argparse.Namespace) -> bool:
    return args.alone or bool(sys.stdin.readline())


def draw_adapter(model: Any) -> None:
    """Give A the same values in every program, so that the losses can be compared."""
    import torch

    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_A" in name:
            with torch.no_grad():
                values = torch.rand(parameter.shape, generator=generator) * 2 - 1
                parameter.copy_(values / parameter.shape[1] ** 0.5)


def own_run(args: argparse.Namespace, folder: Path) -> Path:
    """Make our run's folder; rows in file order, but for skewed lengths, where each program does its own."""
    from engine.recipe import codec
    from engine.recipe.recipe import Recipe
    from engine.runs import store

    data = folder / "rows.jsonl"
    rows = rows_of(args.data, args.rows)
    data.write_text("\n".join(json.dumps({"messages": m}) for m in rows) + "\n", encoding="utf-8")
    values = {
        "data.train": [str(data)],
        "data.validation_split": 0.0,
        "data.shuffle": args.data == "skewed",
        "data.max_length": LONGEST,
        "data.train_on": "last",
        "adapter.r": RANK,
        "adapter.lora_alpha": ALPHA,
        "adapter.lora_dropout": 0.0,
        "adapter.target_modules": TARGETS[args.targets],
        "training.per_device_train_batch_size": BATCH,
        "training.learning_rate": RATE,
        "training.lr_scheduler_type": "constant",
        "training.max_grad_norm": 0.0,
        "training.precision": args.precision,
        "training.gradient_checkpointing": "none",
        "evaluation.eval_steps": None,
    }
    return store.create_run(codec.override(Recipe(), values), folder / "run")


def load_own(args: argparse.Namespace) -> Any:
    """Load our run in this process, ready to take steps."""
    from engine.jobs.spec import read_job
    from engine.models.library import resolve_model
    from engine.runs import store
    from engine.runs.event_log import EventWriter
    from engine.runtime import keep, start
    from engine.runtime.control import Control
    from engine.runtime.job import Job, Requests
    from engine.runtime.vitals import Vitals

    folder = own_run(args, Path(tempfile.mkdtemp()))
    writer = EventWriter(folder)
    job = Job(folder, read_job(folder), writer, Requests(Control(folder)), Vitals(writer))
    recipe = store.load_recipe(folder)
    model = resolve_model("starter")
    data = start.read_data(job, recipe, model)
    run = start.load_model(job, start.settle(job, recipe, model, data), model, data)
    keep.ready(run, None)
    draw_adapter(run.model)
    run.model.train()
    return run


def own(args: argparse.Namespace) -> None:
    """Our training, a step for each line on stdin."""
    from engine.runs.event_log import EventReader
    from engine.runtime import memory, train

    run = load_own(args)
    reader = EventReader(run.job.folder)
    reader.read_new()
    emit(kind="ready")
    for _ in range(args.steps):
        gate(args)
        began = time.perf_counter()
        train.take_step(run)
        wall = time.perf_counter() - began
        step = [e for e in reader.read_new() if e.type == "step"][-1]
        peak = memory.peak_bytes(run.compute.device)
        emit(
            kind="step",
            loss=step.loss,
            tokens=step.tokens,
            supervised=step.supervised_tokens,
            wall=wall,
            memory=peak,
        )


def clock(args: argparse.Namespace, seen: list[tuple[int, int]], start: Any) -> Any:
    """Return the callback that lets a Trainer take its steps on demand and says what they were."""
    from transformers import TrainerCallback

    from engine.runtime.resident import peak_of_process

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            start()
            emit(kind="ready")

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            gate(args)
            self.began = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.wall = time.perf_counter() - self.began

        def on_log(
            self, _args: Any, state: Any, _control: Any, logs: dict[str, float] | None = None, **__: Any
        ) -> None:
            if logs and "loss" in logs:
                tokens, supervised = seen[state.global_step - 1]
                emit(
                    kind="step",
                    loss=logs["loss"],
                    tokens=tokens,
                    supervised=supervised,
                    wall=self.wall,
                    memory=peak_of_process(),
                )

    return Clock()


def counting(collate: Any, seen: list[tuple[int, int]]) -> Any:
    """Return a collator that notes the real and the supervised tokens of each batch."""

    def count(features: Any) -> Any:
        batch = collate(features)
        for row in batch["labels"]:  # the newline behind the end of the turn is not trained in any program
            places = (row != -100).nonzero()
            if batch["input_ids"].shape == batch["labels"].shape and len(places):
                row[places[-1]] = -100
        mask = batch.get("attention_mask")
        real = int(mask.sum()) if mask is not None else batch["input_ids"].numel()
        seen.append((real, int((batch["labels"] != -100).sum())))
        return batch

    return count


def common(args: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of both Trainers: no checkpointing, file order, no clipping, a constant rate."""
    import torch

    return {
        "output_dir": tempfile.mkdtemp(),
        "per_device_train_batch_size": BATCH,
        "learning_rate": RATE,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "max_grad_norm": 0.0,
        "logging_steps": 1,
        "report_to": [],
        "max_steps": 1 if args.alone else args.steps,
        "save_strategy": "no",
        "use_cpu": not torch.cuda.is_available(),
        "disable_tqdm": True,
        "gradient_checkpointing": False,
        "bf16": args.peer_precision == "autocast",
        "train_sampling_strategy": "sequential",
    }


def base_and_lora(args: argparse.Namespace) -> tuple[Any, Any, Any]:
    """Return the model with its weights in the precision asked for, peft's LoRA, and the tokenizer."""
    import torch
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from engine.models.library import resolve_model

    folder = resolve_model("starter")
    low = args.precision == "bf16" and args.peer_precision == "as ours"
    dtype = torch.bfloat16 if low else torch.float32
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    lora = LoraConfig(
        r=RANK,
        lora_alpha=ALPHA,
        lora_dropout=0.0,
        target_modules=TARGETS[args.targets],
        task_type="CAUSAL_LM",
    )
    return model, lora, AutoTokenizer.from_pretrained(folder)


def trl(args: argparse.Namespace) -> None:
    """TRL's SFTTrainer with completion-only loss."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    model, lora, tokenizer = base_and_lora(args)
    seen: list[tuple[int, int]] = []
    rows = rows_of(args.data, args.rows)
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(max_length=LONGEST, **common(args)),
        train_dataset=Dataset.from_list([{"prompt": m[:-1], "completion": m[-1:]} for m in rows]),
        processing_class=tokenizer,
        peft_config=lora,
        callbacks=[clock(args, seen, lambda: draw_adapter(trainer.model))],
    )
    trainer.data_collator = counting(trainer.data_collator, seen)
    trainer.train()


def hf(args: argparse.Namespace) -> None:
    """transformers' Trainer over peft, on the same rows."""
    from peft import get_peft_model
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

    model, lora, tokenizer = base_and_lora(args)
    features = []
    for row in rows_of(args.data, args.rows):
        ids = tokenizer.apply_chat_template(row, return_dict=False)[:LONGEST]
        head = tokenizer.apply_chat_template(row[:-1], add_generation_prompt=True, return_dict=False)
        labels = [-100] * len(head) + ids[len(head) :]
        features.append({"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels})
    seen: list[tuple[int, int]] = []
    trainer = Trainer(
        model=get_peft_model(model, lora),
        args=TrainingArguments(**common(args)),
        train_dataset=features,
        data_collator=counting(DataCollatorForSeq2Seq(tokenizer), seen),
        processing_class=tokenizer,
        callbacks=[clock(args, seen, lambda: draw_adapter(trainer.model))],
    )
    trainer.train()


if __name__ == "__main__":
    chosen = options().parse_args()
    {"own": own, "trl": trl, "hf": hf}[chosen.program](chosen)
