"""What lies in memory from the start: base weights, adapter, and what an optimizer keeps beside it; bytes."""

from __future__ import annotations

from engine.models.facts import ModelFacts
from engine.plan.layer_ops import joins_attention, joins_mlp
from engine.plan.layout import Layer, Layout, Matrix
from engine.plan.optimizers import PAGED, state_bytes
from engine.plan.way import Setting, Way
from engine.recipe.recipe import Recipe

NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)  # nibbles, an 8-bit scale each 64 values, a float32 each 256 scales
NF4_PLAIN_BYTES = 0.5 + 4 / 64
INT8_BYTES = 1.0  # and a float32 for each output


def base_bytes(recipe: Recipe, facts: ModelFacts, setting: Setting) -> float:
    """Return the bytes of the base: quantised are its linear layers alone, not embedding, head and norms."""
    options = recipe.model
    if recipe.adapter.method == "full":  # float32
        return float(facts.parameters * 4)
    if not (options.load_in_4bit or options.load_in_8bit):
        return float(facts.parameters * setting.number_bytes)
    packed = facts.linear_parameters
    if options.load_in_8bit:
        scales = 4.0 * sum(linear.out_features for linear in facts.linears)
        return packed * INT8_BYTES + scales + (facts.parameters - packed) * setting.number_bytes
    four = NF4_BYTES if options.bnb_4bit_use_double_quant else NF4_PLAIN_BYTES
    return packed * four + (facts.parameters - packed) * setting.number_bytes


def adapter_bytes(recipe: Recipe, facts: ModelFacts, setting: Setting, layout: Layout, way: Way) -> float:
    """Return the bytes of what is trained beside the base, and of the room that the joined products hold."""
    adapter = recipe.adapter
    if adapter.method == "full":
        return 0.0
    held = float(setting.adapter_bytes * layout.trained)
    if adapter.method == "adalora":  # the importance of each value and two averages of it
        held += 12.0 * layout.trained
    if adapter.method == "vera":
        held += 4.0 * _drawn_once(layout.layers)
    if (
        layout.head_rank and way.joins_alone
    ):  # the head's product; one that it shares with the embedding twice
        vocabulary, hidden = facts.vocab_size, facts.hidden_size
        whole = hidden if facts.tied else 0
        held += float(setting.number_bytes * vocabulary * (layout.head_rank + whole))
    for layer, count in layout.kinds:
        groups = [layer.into, layer.out] if way.own_attention and joins_attention(layer) else []
        groups += [layer.wide, layer.down] if joins_mlp(layer, way) else []
        alone = [m for m in layer.matrices if m.adapted and not any(m in group for group in groups)]
        groups += [(m,) for m in alone] if way.joins_alone else []
        held += count * setting.number_bytes * sum(_room(group) for group in groups)
    return held


def _room(group: tuple[Matrix, ...]) -> int:
    """Return the values of the columns for sB beside the weights of a joined product."""
    return sum(m.outputs for m in group) * sum(m.rank for m in group)


def _drawn_once(layers: tuple[Layer, ...]) -> int:
    """Return the values of VeRA's two frozen matrices, as large as the largest layer asks for."""
    adapted = [m for layer in layers for m in layer.matrices if m.adapted]
    if not adapted:
        return 0
    rank = max(m.rank for m in adapted)
    return rank * (max(m.inputs for m in adapted) + max(m.outputs for m in adapted))


def optimizer_bytes(recipe: Recipe, setting: Setting, layout: Layout) -> float:
    """Return the bytes of the optimizer's states in the device's memory: paged ones are outside of it."""
    if setting.first_step or (recipe.training.optim in PAGED and setting.device == "cuda"):
        return 0.0
    states = state_bytes(recipe, layout.trained)
    whole = "8bit" not in recipe.training.optim
    return states * (setting.adapter_bytes / 4 if whole else 1.0)
