"""Attention and gated blocks of the Llama kind, computed through joined products."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from engine.runtime import attention
from engine.runtime.fused.attended import Attended
from engine.runtime.fused.pieces import ACTIVATIONS, Gated, RmsNorm, Rotated
from engine.runtime.fused.product import Product, can_join, is_plain_lora

PLAIN = "tunesmith_plain_forward"
PRODUCTS = "tunesmith_products"

# transformers' attentions that are: project, norm per head where there is one, rotate, attend, project.
ATTENTIONS = (
    "LlamaAttention",
    "MistralAttention",
    "MixtralAttention",
    "Qwen2Attention",
    "Qwen3Attention",
    "Qwen2MoeAttention",
    "Qwen3MoeAttention",
    "GemmaAttention",
    "Gemma2Attention",
)
NORMS = ("LlamaRMSNorm", "MistralRMSNorm", "MixtralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm", "Phi3RMSNorm")
GATED = ("LlamaMLP", "MistralMLP", "Qwen2MLP", "Qwen3MLP", "GemmaMLP", "Gemma2MLP", "SmolLM3MLP")


def _replace(module: nn.Module, forward: Callable[..., Any], products: dict[str, Product]) -> None:
    setattr(module, PLAIN, module.forward)
    setattr(module, PRODUCTS, products)
    module.forward = types.MethodType(forward, module)


def _plain(module: Any, *args: Any, **kwargs: Any) -> Any:
    return getattr(module, PLAIN)(*args, **kwargs)


def _norm_forward(self: Any, x: Tensor) -> Tensor:
    out: Tensor = RmsNorm.apply(x, self.weight, self.variance_epsilon)
    return out


def _gated_forward(self: Any, x: Tensor) -> Tensor:
    products: dict[str, Product] = getattr(self, PRODUCTS)
    if not all(p.ready for p in products.values()):
        out: Tensor = _plain(self, x)
        return out
    return products["down"](Gated.apply(products["in"](x), _activation(self.config)))


def _activation(config: Any) -> str:
    """Return the name of the gate's activation, as the family's config has it."""
    return str(getattr(config, "hidden_act", None) or getattr(config, "hidden_activation", ""))


def _project(
    module: Any, product: Product, hidden: Tensor, positions: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return query, key and value, [batch, tokens, heads, head_dim], normed where it norms, and rotated."""
    shape = (*hidden.shape[:-1], -1, module.head_dim)
    both = product(hidden)
    (_, wide), (_, after), (_, end) = product.cut.rows
    cos, sin = (part[..., : module.head_dim // 2] for part in positions)
    value = both[..., after:end].view(shape)
    if hasattr(module, "q_norm"):
        query = Rotated.apply(module.q_norm(both[..., :wide].reshape(shape)), cos, sin)
        key = Rotated.apply(module.k_norm(both[..., wide:after].reshape(shape)), cos, sin)
        return query, key, value
    rotated = Rotated.apply(both[..., :after].view(shape), cos, sin)
    heads = wide // module.head_dim
    return rotated[:, :, :heads], rotated[:, :, heads:], value


def _beside(
    module: Any, product: Product, hidden: Tensor, positions: tuple[Tensor, Tensor], window: int | None
) -> Tensor | None:
    """Return what short sequences of a flat row attend to, [1, tokens, heads * head_dim]; None for others."""
    if module.config._attn_implementation != attention.NAME or hasattr(module, "q_norm"):
        return None
    size, dropout = module.head_dim, module.attention_dropout if module.training else 0.0
    (_, wide), (_, after), _ = product.cut.rows
    heads, kv_heads = wide // size, (after - wide) // size
    at = attention.layout_here(heads, kv_heads, size, window, hidden)
    if at is None or dropout or hidden.shape[0] != 1:
        return None
    cos, sin = (part[0, :, : size // 2] for part in positions)
    joined = product(hidden)[0].view(-1, heads + 2 * kv_heads, size)
    found: Tensor = Attended.apply(joined, cos, sin, at, module.scaling)
    return found.view(1, -1, wide)


def _attention_forward(
    self: Any,
    hidden_states: Tensor,
    position_embeddings: tuple[Tensor, Tensor] | None = None,
    attention_mask: Tensor | None = None,
    cache: Any = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    products: dict[str, Product] = getattr(self, PRODUCTS)
    past = kwargs.pop("past_key_values", None) if cache is None else cache
    rotates_whole = position_embeddings is not None and position_embeddings[0].shape[-1] == self.head_dim
    ready = rotates_whole and all(p.ready for p in products.values())
    name = self.config._attn_implementation
    if past is not None or name == "eager" or not ready:
        kept: tuple[Tensor, Tensor | None] = _plain(
            self, hidden_states, position_embeddings, attention_mask, past, **kwargs
        )
        return kept
    assert position_embeddings is not None
    window = getattr(self, "sliding_window", getattr(self.config, "sliding_window", None))
    softcap = getattr(self, "attn_logit_softcapping", None)
    beside = (
        None
        if softcap is not None
        else _beside(self, products["in"], hidden_states, position_embeddings, window)
    )
    if beside is not None:
        return products["out"](beside), None
    query, key, value = _project(self, products["in"], hidden_states, position_embeddings)
    attended, weights = ALL_ATTENTION_FUNCTIONS[name](
        self,
        query.transpose(1, 2),
        key.transpose(1, 2),
        value.transpose(1, 2),
        attention_mask,
        dropout=self.attention_dropout if self.training else 0.0,
        scaling=self.scaling,
        **({} if window is None else {"sliding_window": window}),
        **({} if softcap is None else {"softcap": softcap}),
        **kwargs,
    )
    return products["out"](attended.reshape(*hidden_states.shape[:-1], -1)), weights


def _lora_forward(self: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    product: Product = getattr(self, PRODUCTS)["own"]
    out: Tensor = product(x) if product.ready else self.base_layer(x, *args, **kwargs)
    return out


def fuse(model: nn.Module) -> int:
    """Join what can be joined; return how many LoRA layers that is. Others keep peft's own forward."""
    before = sum(is_plain_lora(m) for m in model.modules())
    for module in list(model.modules()):
        kind = type(module).__name__
        if kind in ATTENTIONS:
            _fuse_attention(module)
        elif kind in GATED:
            _fuse_gated(module)
        elif kind in NORMS and not any(p.requires_grad for p in module.parameters()):
            _replace(module, _norm_forward, {})
    joined = {id(layer) for product in products_of(model) for layer in product.layers}
    for module in list(model.modules()):
        if is_plain_lora(module) and id(module) not in joined and can_join([module]):
            _replace(module, _lora_forward, {"own": Product(module, "own", [module])})
    _leave_the_file(model)
    return before


def _leave_the_file(model: nn.Module) -> None:
    """Copy what the products left: a file's pages stay in memory while one tensor maps them."""
    joined = {product.wide.untyped_storage()._cdata for product in products_of(model)}
    for parameter in model.parameters() if joined else ():
        kept = parameter.requires_grad or parameter.untyped_storage()._cdata in joined
        if parameter.device.type == "cpu" and not kept:
            parameter.data = parameter.data.clone()


def _fuse_attention(module: Any) -> None:
    into = [module.q_proj, module.k_proj, module.v_proj]
    adapted = any(is_plain_lora(x) for x in [*into, module.o_proj])
    if adapted and can_join(into) and can_join([module.o_proj]):
        products = {"in": Product(module, "in", into), "out": Product(module, "out", [module.o_proj])}
        _replace(module, _attention_forward, products)


def _fuse_gated(module: Any) -> None:
    into = [module.gate_proj, module.up_proj]
    same = module.gate_proj.out_features == module.up_proj.out_features
    known = _activation(module.config) in ACTIVATIONS
    if same and known and can_join(into) and can_join([module.down_proj]):
        products = {"in": Product(module, "in", into), "down": Product(module, "down", [module.down_proj])}
        _replace(module, _gated_forward, products)


def products_of(model: nn.Module) -> list[Product]:
    """Return every joined product of a model."""
    return [p for m in model.modules() for p in m.__dict__.get(PRODUCTS, {}).values()]
