"""Mixtures of experts: which of their layers an adapter reaches, and how much of the model it leaves out.

In transformers 5 the experts of a layer are one parameter of three dimensions, no linear layers, so no method
adapts them. In most of these families peft (0.21) also reads `gate_proj`, `up_proj` and `down_proj` as the
names that experts bore in older files: an MLP without experts that bears them, as in some layers of a mixed
model, would be left out and all experts taken in its place. LoRA therefore leaves such an MLP alone; the
other methods of peft take names as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from engine.models.model_facts import Linear

# By the name of peft's table (huggingface/peft src/peft/utils/transformers_weight_conversion.py).
_NAMES = {
    "mixtral": frozenset({"gate", "w1", "w2", "w3"}),
    "qwen2_moe": frozenset({"gate", "gate_proj", "up_proj", "down_proj"}),
}
_TYPES = {
    "mixtral": "mixtral minimax minimax_m2",
    "qwen2_moe": (
        "afmoe beam cohere2_moe deepseek_v2 deepseek_v3 deepseek_v32 dots1 ernie4_5_moe exaone_moe flex_olmo "
        "glm4_moe glm4_moe_lite glm4v_moe glm_moe_dsa hunyuan_v1_moe longcat_flash mellum olmoe qwen3_moe "
        "qwen3_next qwen3_omni_moe qwen3_omni_moe_text qwen3_omni_moe_thinker sarvam_mla solar_open"
    ),
}
READ_AS_EXPERTS: dict[str, frozenset[str]] = {
    model_type: _NAMES[kind] for kind, types in _TYPES.items() for model_type in types.split()
}


def reached(linears: Iterable[Linear], model_type: str, method: str) -> list[Linear]:
    """Return the layers that a method reaches under their own names."""
    mistaken = READ_AS_EXPERTS.get(model_type, frozenset()) if method == "lora" else frozenset()
    return [linear for linear in linears if linear.leaf not in mistaken]


def is_expert(name: str) -> bool:
    """Return whether a parameter's name is that of experts."""
    return ".experts." in name


def values_in_experts(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Return how many values the experts of a model hold, from the shapes of its parameters."""
    total = 0
    for name, shape in shapes.items():
        if is_expert(name):
            count = 1
            for size in shape:
                count *= size
            total += count
    return total
