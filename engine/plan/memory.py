"""Where the memory of a training run goes, term by term, in bytes, at its fullest moment.

A step is followed through its passes: weights, adapter and optimizer states lie there all the time; what
layers keep rises through the forward pass and falls through the backward one; then the optimizer steps. The
arithmetic agrees with replays of real graphs on tensors without values (`tests/bench/plan_accuracy.py`).
"""

from __future__ import annotations

from dataclasses import replace

from engine.models.facts import ModelFacts
from engine.plan import litgpt
from engine.plan.attention_ops import shared_by_layers
from engine.plan.chain import Block, Peak, from_first_trained, measure, through
from engine.plan.head_ops import head_gradient, head_moments
from engine.plan.layer_ops import layer_ops
from engine.plan.layout import Layout, layout_of
from engine.plan.setting import tokens_at_once as tokens_at_once
from engine.plan.several import shared_out
from engine.plan.steps import step_workspace
from engine.plan.way import Setting as Setting
from engine.plan.way import Way, way_of
from engine.plan.weights import adapter_bytes, base_bytes, optimizer_bytes
from engine.recipe.recipe import Recipe

RUNTIME_BYTES = {"cuda": 600e6, "cpu": 450e6}  # a GPU's context and workspaces; a process with its libraries
RESERVE = 0.03  # of an allocator's memory, that it cannot use
TOKEN_BYTES = 64  # ids, places, labels and which are supervised
PROFILES = ("own", "peft", "litgpt")


def memory_terms(
    recipe: Recipe, facts: ModelFacts, setting: Setting, profile: str = "own"
) -> dict[str, float]:
    """Return the bytes of each part at the fullest moment of a step, for one process."""
    if profile == "litgpt":
        return litgpt.terms(recipe, facts, setting) | {"runtime": RUNTIME_BYTES[setting.device]}
    layout = layout_of(facts, recipe.adapter)
    way = way_of(recipe, facts, setting, profile, windowed=False)
    held = {
        "weights": base_bytes(recipe, facts, setting),
        "adapter": adapter_bytes(recipe, facts, setting, layout, way),
        "optimizer": optimizer_bytes(recipe, setting, layout),
    }
    trained = float(setting.adapter_bytes * layout.trained)
    resident = trained if setting.resident else 0.0
    moments = _moments(recipe, facts, setting, profile, layout, way)
    if way.full:  # last in the backward pass comes the embedding's gradient
        table = 4.0 * facts.vocab_size * facts.hidden_size
        # Where the head shares it, both its gradients and their sum are there at once.
        again = table * ((2 if facts.tied else 0) + (1 if setting.resident else 0))
        moments.append(("layer", Peak(0.0, again, trained - resident)))
    step = Peak(0.0, step_workspace(recipe, facts, setting, layout), trained - resident)
    kind, peak = max([*moments, ("step", step)], key=lambda each: each[1].total)
    terms = {
        **held,
        "gradients": resident + peak.gradients,
        "activations": peak.activations,
        "logits": peak.workspace if kind == "head" else 0.0,
        "workspace": 0.0 if kind == "head" else peak.workspace,
        "runtime": RUNTIME_BYTES[setting.device],
    }
    return shared_out(terms, recipe, facts)


def total_bytes(terms: dict[str, float]) -> float:
    """Return the memory a run needs: the parts together, and what the allocator cannot use of its own."""
    parts = sum(terms.values()) - terms["runtime"]
    return parts * (1 + RESERVE) + terms["runtime"]


def _moments(
    recipe: Recipe, facts: ModelFacts, setting: Setting, profile: str, layout: Layout, way: Way
) -> list[tuple[str, Peak]]:
    """Return the fullest moments of the passes, each with the part of the model that it is in."""
    blocks = _blocks(recipe, facts, setting, profile, layout, way)
    tokens = setting.batch_tokens
    width = 4 if way.full else way.number
    inputs = float(facts.hidden_size * width * tokens)
    made = 0.0 if setting.resident else head_gradient(recipe, facts)
    twice = setting.checkpointing
    # Norms keep a float32 copy of a narrower residual, and then nothing keeps itself or what they make.
    passing = 0.0 if way.full or way.number == 4 else 2 * inputs
    layers = through(
        blocks, inputs, checkpointing=twice, resident=setting.resident, made=made, passing=passing
    )
    alive = sum(inputs + block.stays if twice else block.kept for block in blocks)
    shared = tokens * (TOKEN_BYTES + 2 * facts.head_dim * way.number + shared_by_layers(way))
    head, *others = head_moments(recipe, facts, setting, way, layout)
    moments = [("layer", replace(layers, activations=layers.activations + shared))]
    for kind, peak in [("head", head), *[("layer", other) for other in others]]:
        moments.append((kind, replace(peak, activations=peak.activations + alive + shared)))
    return moments


def _blocks(
    recipe: Recipe, facts: ModelFacts, setting: Setting, profile: str, layout: Layout, way: Way
) -> list[Block]:
    """Return the layers from the first that trains on: those before it keep nothing, unless checkpointed."""
    window = facts.sliding_window is not None and setting.row > facts.sliding_window
    narrow = way_of(recipe, facts, setting, profile, windowed=True) if window else way
    made: dict[tuple[int, bool, bool], Block] = {}
    found: list[Block] = []
    begun = recipe.adapter.method == "full" or setting.checkpointing
    for number, layer in enumerate(layout.layers):
        first = not begun and layer.is_adapted
        begun = begun or first
        if not begun:
            continue
        key = (id(layer), window and number < facts.build.sliding_layers, first)
        if key not in made:
            ops = layer_ops(layer, narrow if key[1] else way, facts.build, facts.layers)
            trained = from_first_trained(ops) if first else ops
            made[key] = measure(trained, setting.batch_tokens, resident=setting.resident)
        found.append(made[key])
    return found
