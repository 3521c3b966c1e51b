"""Greedy answers of base and adapter to every question of a held-out file, in batches."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from engine import durable
from engine.data.templates import load_template
from engine.data.tokenizer import ModelTokenizer
from engine.events import Finished, Progress
from engine.models.library import resolve_model
from engine.runs.store import load_recipe
from engine.runtime.job import Job
from engine.runtime.load import choose_compute, load_base

BATCH_ROWS = 16


def answer_job(job: Job) -> Finished:
    """Answer the questions of `arguments["data"]` with a run's base and adapter; writes answers.json."""
    from peft import PeftModel

    began = time.monotonic()
    arguments = job.spec.arguments
    run = Path(arguments["run"])
    recipe = load_recipe(run)
    folder = resolve_model(recipe.model.path, recipe.model.revision)
    rows = [
        json.loads(line)["messages"]
        for line in Path(arguments["data"]).read_text("utf-8").split("\n")
        if line.strip()
    ]
    template, tokenizer = load_template(folder, recipe.data.chat_template), ModelTokenizer(folder)
    job.phase("load model")
    compute = choose_compute(recipe.training.precision)
    model: Any = PeftModel.from_pretrained(
        load_base(folder, recipe.model, compute), str(run / "adapter")
    ).eval()
    answers: dict[str, list[str]] = {}
    for who in ("adapter", "base"):
        job.phase(f"answer with the {who}")
        limit = int(arguments.get("max_new_tokens", 96))
        prompts = [
            _prompt(messages[:-1], recipe.data.system_prompt, template, tokenizer) for messages in rows
        ]
        with model.disable_adapter() if who == "base" else nullcontext():
            answers[who] = _answer(job, model, prompts, tokenizer, compute.device, limit, who)
    expected = [messages[-1]["content"] for messages in rows]
    durable.write_json(job.folder / "answers.json", {"expected": expected, **answers})
    return Finished(seconds=time.monotonic() - began)


def _prompt(
    messages: list[dict[str, str]], system: str | None, template: Any, tokenizer: ModelTokenizer
) -> list[int]:
    if system and messages[0]["role"] != "system":
        messages = [{"role": "system", "content": system}, *messages]
    return list(tokenizer.encode(template.render(messages, add_generation_prompt=True)))


@torch.no_grad()
def _answer(
    job: Job,
    model: Any,
    prompts: list[list[int]],
    tokenizer: ModelTokenizer,
    device: torch.device,
    limit: int,
    who: str,
) -> list[str]:
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    found = [""] * len(prompts)
    pad = model.config.get_text_config().pad_token_id or 0
    for start in range(0, len(order), BATCH_ROWS):
        chosen = order[start : start + BATCH_ROWS]
        width = max(len(prompts[i]) for i in chosen)
        ids = torch.tensor([[pad] * (width - len(prompts[i])) + prompts[i] for i in chosen], device=device)
        mask = torch.tensor(
            [[0] * (width - len(prompts[i])) + [1] * len(prompts[i]) for i in chosen], device=device
        )
        out = model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=limit, do_sample=False, pad_token_id=pad
        )
        for i, row in zip(chosen, out[:, width:].tolist(), strict=True):
            found[i] = tokenizer.decode(row, skip_special_tokens=True).strip()
        job.write(
            Progress(
                stage=f"answer with the {who}", done=start + len(chosen), total=len(order), unit="questions"
            )
        )
    return found
