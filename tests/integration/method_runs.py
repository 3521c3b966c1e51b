"""What the tests of the methods share: short runs, and a run taken up in this process as a resume does it."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.jobs.spec import read_job
from engine.models.library import resolve_model
from engine.runs import store
from engine.runs.event_log import EventWriter
from engine.runtime import keep, start, train
from engine.runtime.control import Control
from engine.runtime.job import Job, Requests
from engine.runtime.training import Training
from engine.runtime.vitals import Vitals

STEPS = 8
SHORT: dict[str, Any] = {
    "data__validation_split": 0.0,
    "training__max_steps": STEPS,
    "checkpoint__save_steps": 2,
    "checkpoint__save_total_limit": 10,
    "adapter__r": 4,
}
PATTERNS = {"rank_pattern": {"layers.1.self_attn.q_proj": 2, "mlp": 3}, "alpha_pattern": {"down": 5}}
METHODS: dict[str, dict[str, Any]] = {
    "lora": {},
    "dora": {"use_dora": True},
    "rank-stabilised": {"use_rslora": True},
    "pissa": {"init_lora_weights": "pissa"},
    "olora": {"init_lora_weights": "olora"},
    "pissa, all at once": {"init_lora_weights": "pissa", "use_dora": True, "use_rslora": True, **PATTERNS},
    "eva": {"init_lora_weights": "eva", **PATTERNS},
    "adalora": {"method": "adalora"},
    "vera": {"method": "vera"},
    "ia3": {"method": "ia3"},
    "oft": {"method": "oft", "oft_block_size": 8},
    "groups and layers": {"target_modules": ["query", "mlp"], "layers_to_transform": [1], **PATTERNS},
    "whole modules": {"modules_to_save": ["norm", "input_layernorm"]},
    "whole head": {"modules_to_save": ["lm_head"]},
}
METHODS["groups and layers"]["rank_pattern"] = {"mlp": 3}
NO_RANK = ("ia3", "oft", "full")


def options_of(adapter: dict[str, Any], **others: Any) -> dict[str, Any]:
    found = {**SHORT, **{f"adapter__{name}": value for name, value in adapter.items()}, **others}
    if adapter.get("method") in NO_RANK:
        del found["adapter__r"]
    if adapter.get("method") in ("adalora", "vera", "ia3", "oft"):  # few numbers, large steps
        found["training__learning_rate"] = 3e-2
    return found


def take_up(folder: Path, step: int) -> Training:
    """Load a run in this process as a resume from the save of `step` does."""
    writer = EventWriter(folder)
    job = Job(folder, read_job(folder), writer, Requests(Control(folder)), Vitals(writer))
    job.resume_from = folder / "checkpoints" / f"step-{step:08d}"
    recipe = store.load_recipe(folder)
    model = resolve_model(recipe.model.path)
    data = start.read_data(job, recipe, model)
    run = start.load_model(job, start.settle(job, recipe, model, data), model, data, job.resume_from)
    keep.ready(run, job.resume_from)
    run.model.train()
    return run


IDS = torch.arange(3, 60)[None]


@torch.no_grad()
def logits_of(model: Any) -> Tensor:
    result: Tensor = model.eval()(input_ids=IDS).logits.float()
    return result


def live_logits(run: Training) -> Tensor:
    return logits_of(run.base)


def plain(base: Path, folder: Path) -> Any:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder)


def trained_values(run: Training) -> dict[str, Tensor]:
    found = {n: p.detach().clone() for n, p in run.model.named_parameters() if p.requires_grad}
    for name, entry in run.optimizer.state_dict()["state"].items():
        found.update({f"{name}:{k}": v.clone() for k, v in entry.items() if isinstance(v, Tensor)})
    return found


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


def assert_exact(folder: Path, step: int) -> Tensor:
    """Go on from `step` to the end: the same numbers as the child's; return the logits of the end."""
    ended, again = take_up(folder, STEPS), take_up(folder, step)
    for _ in range(step, STEPS):
        train.take_step(again)
    assert same(trained_values(again), trained_values(ended))
    assert torch.equal(live_logits(again), live_logits(ended))
    return live_logits(ended)


FAMILY = """
import sys, shutil, pathlib, torch, transformers as t
tiny, out = map(pathlib.Path, sys.argv[1:])
torch.manual_seed(0)
small = dict(vocab_size=512, eos_token_id=2, bos_token_id=1, pad_token_id=0)
for name, config in {
    "qwen": t.Qwen2Config(**small, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                          num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512),
    "gpt2": t.GPT2Config(**small, n_embd=32, n_layer=2, n_head=4, n_positions=512),
}.items():
    model = t.AutoModelForCausalLM.from_config(config)
    for key, parameter in model.named_parameters():
        if key.endswith("bias"):
            parameter.data.normal_(std=0.02)
    model.save_pretrained(out / name)
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if (tiny / file).exists():
            shutil.copy(tiny / file, out / name / file)
"""


@cache
def make_families(tiny: Path, out: Path) -> Path:
    subprocess.run([sys.executable, "-c", FAMILY, str(tiny), str(out)], check=True, capture_output=True)
    return out
