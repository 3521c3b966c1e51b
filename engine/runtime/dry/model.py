"""A base model of shapes alone, from its configuration, laid out as the real one would be."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import unset_fake_temporarily

from engine.errors import EngineError
from engine.models.gate import open_model
from engine.recipe.recipe import Recipe
from engine.runtime import attention
from engine.runtime.load import DTYPES, Compute, Layout, choose_layout
from engine.runtime.opened import config_of

SMALL = {"hidden_size": 64, "intermediate_size": 96, "vocab_size": 128}
HEAD_DIM = 16
AT_MOST = {
    "rotary_dim": 16,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
}
FEW_LAYERS = 6  # of the small model: families that alternate kinds of layers do so within these


def read_config(folder: Path) -> Any:
    """Return transformers' configuration of a model folder; raises EngineError MODEL-04 / MODEL-05."""
    opened = open_model(folder, weights=False)
    if opened.config.values.get("quantization_config") is not None:
        raise EngineError(
            f"{folder.name} is quantised already: what its layers hold cannot be counted from config.json.",
            "Use the formula's figure, or the model in full numbers with load_in_4bit.",
            "MODEL-05",
            file=str(folder),
        )
    return config_of(opened)


def imagine_base(config: Any, recipe: Recipe, compute: Compute, layout: Layout, *, whole: bool) -> Any:
    """Build the frozen base of shapes alone, as `load.load_base` loads it and `layout` leaves it."""
    from transformers import AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    options = recipe.model
    dtype = torch.float32 if whole else DTYPES.get(options.dtype, compute.dtype)
    with no_init_weights():
        model = AutoModelForCausalLM.from_config(copy.deepcopy(config), dtype=dtype, trust_remote_code=False)
    model.tie_weights()  # left out above with the drawing of values
    model.eval()
    if options.load_in_4bit or options.load_in_8bit:
        from engine.runtime.dry.packed import pack

        pack(model, options, compute)
    model.requires_grad_(False)
    if layout.flat:
        attention.register()
        model.set_attn_implementation(
            attention.NAME if options.attn_implementation == "auto" else options.attn_implementation
        )
    elif options.attn_implementation != "auto":
        model.set_attn_implementation(options.attn_implementation)
    return model


def try_layout(config: Any, asked: str) -> Layout:
    """Return the layout of a family, tried for real on a small model of its kind with drawn weights.

    Raises EngineError MODEL-05 for a family of which no small model can be made.
    """
    from transformers import AutoModelForCausalLM

    with unset_fake_temporarily(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            small = AutoModelForCausalLM.from_config(
                _shrunk(config), dtype=torch.float32, trust_remote_code=False
            )
            layout: Layout = choose_layout(small.eval().requires_grad_(False), asked)
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise EngineError(
                f"Models of the kind {config.model_type} cannot be counted: none can be made small enough "
                "to try their batches.",
                "Use the formula's figure, or try 20 steps.",
                "MODEL-05",
            ) from error
    return layout


def _shrunk(config: Any) -> Any:
    """Return the configuration with few and narrow layers; what kind of layers they are stays."""
    small = copy.deepcopy(config)
    inner = small.get_text_config()
    heads = inner.num_attention_heads
    shared = getattr(inner, "num_key_value_heads", None)
    if shared:
        inner.num_key_value_heads = 2
    inner.num_attention_heads = 4 if shared and shared < heads else 2
    inner.num_hidden_layers = min(inner.num_hidden_layers, FEW_LAYERS)
    if getattr(inner, "layer_types", None):
        inner.layer_types = inner.layer_types[: inner.num_hidden_layers]
    if getattr(inner, "word_embed_proj_dim", None) == inner.hidden_size:
        inner.word_embed_proj_dim = SMALL["hidden_size"]
    for name, value in SMALL.items():
        if getattr(inner, name, None) is not None:
            setattr(inner, name, value)
    for name, most in AT_MOST.items():
        if isinstance(vars(inner).get(name), int):
            setattr(inner, name, min(most, getattr(inner, name)))
    if isinstance(vars(inner).get("head_dim"), int) and not hasattr(inner, "kv_lora_rank"):
        inner.head_dim = HEAD_DIM
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        if getattr(inner, name, None) is not None:
            setattr(inner, name, 0)
    return small


@contextmanager
def plain_moves() -> Iterator[None]:
    """Let modules be moved and cast by giving them new parameters: those without values cannot be swapped."""
    real = nn.Module._apply

    def apply(self: nn.Module, fn: Any, recurse: bool = True) -> nn.Module:
        for child in self.children() if recurse else ():
            apply(child, fn)
        for name, parameter in self._parameters.items():
            if parameter is not None:
                with torch.no_grad():
                    moved = fn(parameter)
                if moved is not parameter:
                    self._parameters[name] = nn.Parameter(moved, parameter.requires_grad)
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    nn.Module._apply = apply
    try:
        yield
    finally:
        nn.Module._apply = real
