"""What an optimizer's step needs for a moment, beside weights, gradients and states; bytes."""

from __future__ import annotations

from engine.models.facts import ModelFacts
from engine.plan.layout import Layout
from engine.plan.way import Setting
from engine.recipe.recipe import Recipe

BUCKET_VALUES = 1 << 24  # of the flat message in which processes sum gradients, as in engine.runtime.ranks


def step_workspace(recipe: Recipe, facts: ModelFacts, setting: Setting, layout: Layout) -> float:
    """Return the bytes.

    AdamW's fused kernel and bitsandbytes need none. SGD adds weight decay to a copy of all gradients. Muon
    and Adafactor take one matrix after the other and make some copies of it.
    """
    trained = float(setting.adapter_bytes * layout.trained)
    training, name = recipe.training, recipe.training.optim
    several = recipe.launcher.processes > 1 and recipe.launcher.strategy == "ddp"
    summed = min(trained, 4.0 * (BUCKET_VALUES + _largest(recipe, facts, layout))) if several else 0.0
    if setting.adapter_bytes < 4 and name.startswith("adamw") and "8bit" not in name:
        return max(summed, trained)  # other trainers' AdamW: one more copy for all parameters at once
    if name == "sgd":
        return max(summed, trained if training.weight_decay and setting.device == "cuda" else 0.0)
    if name in ("adafactor", "muon"):
        return max(summed, 12.0 * _largest(recipe, facts, layout))
    return summed


def _largest(recipe: Recipe, facts: ModelFacts, layout: Layout) -> int:
    """Return the values of the largest trained matrix."""
    if recipe.adapter.method == "full":
        widest = max((linear.in_features * linear.out_features for linear in facts.linears), default=0)
        return max(widest, facts.vocab_size * facts.hidden_size)
    adapted = [m for layer in layout.layers for m in layer.matrices if m.adapted]
    return max((max(m.rank, 1) * max(m.inputs, m.outputs) for m in adapted), default=0)
