"""The memory of the article's trainer (Lit-GPT, autumn 2023): another graph than ours, with its own terms.

Queries, keys and values are one product with one dropout, the output head is quantised too and never tied,
logits are all kept. The ten bytes for each logit and the third copy of the head's weights are fitted to
published rows; the rest follows from its graph.
"""

from __future__ import annotations

from engine.models.facts import ModelFacts
from engine.plan.layout import layout_of
from engine.plan.way import Setting
from engine.plan.weights import NF4_BYTES, NF4_PLAIN_BYTES
from engine.recipe.recipe import Recipe

WIDTH = 2  # everything is bf16, adapters too
LOGIT_BYTES = 10
STATES = {"sgd": 0.0, "paged_adamw": 0.0, "paged_adamw_8bit": 0.0, "adamw_8bit": 0.5, "lion": 1.0}
USUAL_STATES = 2.0  # times the bytes of a parameter


def terms(recipe: Recipe, facts: ModelFacts, setting: Setting) -> dict[str, float]:
    """Return the bytes of each part at the peak of a step, the libraries' own left out."""
    if recipe.adapter.method == "full":
        return _whole(recipe, facts)
    trained = layout_of(facts, recipe.adapter).trained * WIDTH
    states = 0.0 if setting.first_step else trained * STATES.get(recipe.training.optim, USUAL_STATES)
    resident = 0.0 if setting.first_step or not setting.resident else float(trained)
    kept, backward = _activations(recipe, facts, setting)
    logits, unpacked = _head(recipe, facts, setting)
    always = {"weights": _weights(recipe, facts), "adapter": float(trained), "optimizer": states}
    if logits >= backward:
        passes = {"gradients": resident, "activations": kept, "logits": logits, "workspace": unpacked}
    else:
        passes = {"gradients": resident, "activations": kept, "logits": 0.0, "workspace": backward + unpacked}
    copies = trained if USUAL_STATES == STATES.get(recipe.training.optim, USUAL_STATES) else 0
    step = {"gradients": float(trained), "activations": 0.0, "logits": 0.0, "workspace": float(copies)}
    fullest = max(passes, step, key=lambda each: sum(each.values()))
    return always | fullest


def _parts(recipe: Recipe, facts: ModelFacts) -> list[tuple[str, int, int]]:
    """Return the adapted matrices of one layer, the first adapted one: (part, inputs, rank)."""
    layer = next((each for each in layout_of(facts, recipe.adapter).layers if each.is_adapted), None)
    if layer is None:
        return []
    named = [("into", layer.into), ("out", layer.out), ("wide", layer.wide), ("down", layer.down)]
    return [(part, m.inputs, m.rank) for part, group in named for m in group if m.adapted]


def _weights(recipe: Recipe, facts: ModelFacts) -> float:
    head = facts.vocab_size * facts.hidden_size
    whole = facts.parameters + (head if facts.tied else 0)
    if not recipe.model.load_in_4bit:
        return float(WIDTH * whole)
    packed = facts.linear_parameters + head
    four = NF4_BYTES if recipe.model.bnb_4bit_use_double_quant else NF4_PLAIN_BYTES
    return packed * four + WIDTH * (whole - packed)


def _activations(recipe: Recipe, facts: ModelFacts, setting: Setting) -> tuple[float, float]:
    """Return what the layers keep, and what the backward pass of one needs beside it."""
    d, f, q = facts.hidden_size, facts.intermediate_size, facts.heads * facts.head_dim
    k, tokens = facts.kv_heads * facts.head_dim, setting.batch_tokens
    made = 6 * q if k < q else 2 * (q + 2 * k) + 4 * q  # v keeps the whole product, or all heads are copied
    one = 8 * d + made + 2 * q + 4 * facts.heads + 6 * f + _adapters(recipe, facts)
    if recipe.model.load_in_4bit:  # bitsandbytes 0.41 kept each product's input
        one += 4 * d + 2 * f
    if setting.checkpointing:
        return float(2 * d * tokens * facts.layers), float(tokens * (one + 6 * f))
    return float(one * tokens * facts.layers), float(6 * f * tokens)


def _adapters(recipe: Recipe, facts: ModelFacts) -> int:
    adapted = _parts(recipe, facts)
    into = [inputs for part, inputs, _ in adapted if part == "into"]
    read = into[:1] + [inputs for part, inputs, _ in adapted if part != "into"]
    kept = sum(read) * (3 if recipe.adapter.lora_dropout else 2) + sum(2 * rank for _, _, rank in adapted)
    if 0 < len(into) < 3:  # an update of some of q, k and v is scattered, and its source kept
        kept += 2 * (facts.heads + facts.kv_heads) * facts.head_dim
    return kept


def _head(recipe: Recipe, facts: ModelFacts, setting: Setting) -> tuple[float, float]:
    """Return the bytes of the logits, and those of the head's weights unpacked."""
    adapted = layout_of(facts, recipe.adapter).head_rank and recipe.adapter.lora_dropout
    tokens = setting.batch_tokens
    logits = LOGIT_BYTES * facts.vocab_size * tokens + (3 * facts.hidden_size * tokens if adapted else 0)
    unpacked = 3 * WIDTH * facts.vocab_size * facts.hidden_size if recipe.model.load_in_4bit else 0
    return float(logits), float(unpacked)


def _whole(recipe: Recipe, facts: ModelFacts) -> dict[str, float]:
    """Return the terms of full finetuning: shares of weights, gradients and two states in bf16.

    Beside them one copy in the step, and the unit gathered last: embedding, head and norm, with gradients.
    """
    share = facts.parameters * WIDTH / recipe.launcher.processes
    root = facts.vocab_size * facts.hidden_size * (1 if facts.tied else 2) + facts.hidden_size
    return {
        "weights": share,
        "adapter": 0.0,
        "optimizer": 2 * share,
        "gradients": share,
        "activations": 0.0,
        "logits": 0.0,
        "workspace": share + (2.0 * WIDTH * root if recipe.launcher.processes > 1 else 0.0),
    }
