"""Greedy answers of a run's base and result to every question of a held-out file, in batches."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from engine import durable
from engine.data.templates import load_template
from engine.data.tokenizer import ModelTokenizer
from engine.events import Finished, Progress
from engine.models.facts import read_facts
from engine.models.library import resolve_model
from engine.recipe.recipe import ModelOptions, Recipe
from engine.runs.store import load_recipe
from engine.runtime.adapted import AdaptedModel
from engine.runtime.job import Job
from engine.runtime.load import Compute, choose_compute, load_base
from engine.runtime.target import Target, resolve_target

BATCH_ROWS = 16


def answer_job(job: Job) -> Finished:
    """Answer the questions of `arguments["data"]` with a run's base and what it trained.

    Writes answers.json: {"expected", "adapter", "base"}; the result of full finetuning answers as `adapter`.
    """
    began = time.monotonic()
    arguments = job.spec.arguments
    run = Path(arguments["run"])
    recipe = load_recipe(run)
    target = resolve_target(str(run))
    folder = resolve_model(recipe.model.path, recipe.model.revision)
    rows = [
        json.loads(line)["messages"]
        for line in Path(arguments["data"]).read_text("utf-8").split("\n")
        if line.strip()
    ]
    template, tokenizer = load_template(folder, recipe.data.chat_template), ModelTokenizer(folder)
    compute = choose_compute(recipe.training.precision)
    limit = int(arguments.get("max_new_tokens", 96))
    prompts = [_prompt(messages[:-1], recipe.data.system_prompt, template, tokenizer) for messages in rows]
    answers: dict[str, list[str]] = {}
    for who, model in _speakers(job, recipe, target, folder, compute):
        job.phase(f"answer with the {who}")
        answers[who] = _answer(job, model, prompts, tokenizer, compute.device, limit, who)
    expected = [messages[-1]["content"] for messages in rows]
    durable.write_json(job.folder / "answers.json", {"expected": expected, **answers})
    return Finished(seconds=time.monotonic() - began)


def _speakers(
    job: Job, recipe: Recipe, target: Target, folder: Path, compute: Compute
) -> Iterator[tuple[str, Any]]:
    """Give `adapter` and `base` in turn: one loaded model, or two in turn when it was trained whole."""
    job.phase("load model")
    if target.adapter is None:
        yield "adapter", load_base(target.base.path, ModelOptions(path=str(target.base.path)), compute).eval()
        gc.collect()
        job.phase("load model")
        yield "base", load_base(folder, recipe.model, compute).eval()
        return
    base = load_base(folder, recipe.model, compute).eval()
    adapted = AdaptedModel(base, read_facts(folder), target.adapter, 1.0)
    for who in ("adapter", "base"):
        with adapted.speaking(who):
            yield who, adapted.model


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
