"""The families that transformers 5 builds, each as a table of its modules (see shapes.py for the letters).

`defaults` are transformers' own for keys that config.json files leave out. Experts are three-dimensional
parameters there, no linear modules: peft's `all-linear` takes none of them.
"""

from __future__ import annotations

from typing import Any

from engine.models.parts import attention, conv1d, experts, gated, linear, norms, plain, table
from engine.models.shapes import YES, Family, Part
from engine.models.sizes import Config

TWO = norms("input_layernorm", "post_attention_layernorm")
TWO_BIASED = norms("input_layernorm", "post_attention_layernorm", bias=YES)
FOUR = (*TWO, *norms("pre_feedforward_layernorm", "post_feedforward_layernorm"))
AFTER = norms("post_attention_layernorm", "post_feedforward_layernorm")
OF_HEADS = norms("self_attn.q_norm", "self_attn.k_norm", size="h")
OF_ALL = (*norms("self_attn.q_norm", size="q"), *norms("self_attn.k_norm", size="k"))
OUTSIDE = (table("model.embed_tokens"), *norms("model.norm"))
SILU: dict[str, Any] = {"hidden_act": "silu"}
GELU: dict[str, Any] = {"hidden_act": "gelu_pytorch_tanh"}
UPPER: dict[str, Any] = {"use_sliding_window": False, "sliding_window": 4096, "max_window_layers": 28}

_WITH_BIAS = attention("attention_bias")
UNKNOWN = Family((*attention(), *gated(), *TWO), OUTSIDE, window="")  # Llama's kind, its switches unread
LLAMA = Family(
    (*_WITH_BIAS, *gated(bias="mlp_bias"), *TWO), OUTSIDE, {"intermediate_size": 11008, **SILU}, window=""
)
_GEMMA: dict[str, Any] = {
    "head_dim": 256,
    "tie_word_embeddings": True,
    "hidden_activation": "gelu_pytorch_tanh",
}
_SOFTCAPS: dict[str, Any] = {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}
_GEMMA3: dict[str, Any] = {
    **_GEMMA,
    "vocab_size": 262208,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "sliding_window": 4096,
    "sliding_window_pattern": 6,
    "max_position_embeddings": 131072,
}
_GEMMA3_LAYER = (*_WITH_BIAS, *OF_HEADS, *gated(), *FOUR)
_FALCON = (
    Part("self_attention.query_key_value", ("d+2k", "d"), "linear", "bias"),
    linear("self_attention.dense", "d", "d", "bias"),
    *plain("mlp.dense_h_to_4h", "mlp.dense_4h_to_h", "bias"),
    *norms("input_layernorm", bias=YES, when="!two_norms"),
    *norms("post_attention_layernorm", bias=YES, when="!parallel_attn"),
    *norms("ln_attn", "ln_mlp", bias=YES, when="two_norms"),
)


def _prepare_falcon(config: Config) -> None:
    """Keys and values are one head, a head for each query, or (newer) of their own number."""
    newer = config.flag("new_decoder_architecture")
    beside = config.flag("parallel_attn")
    count = config.number(("num_ln_in_parallel_attn",), 2, 2 if newer else 1)
    config.values |= {"two_norms": beside and count == 2, "parallel": beside or newer}
    if not newer:
        config.values["num_kv_heads"] = 1 if config.flag("multi_query") else None


def _prepare_opt(config: Config) -> None:
    """Positions are counted from 2; embeddings of another width are projected; the older layers norm last."""
    narrow = config.get("word_embed_proj_dim")
    config.values["projected"] = narrow is not None and narrow != config.get("hidden_size")
    config.values["norm_last"] = config.flag("do_layer_norm_before") and not config.flag(
        "_remove_final_layer_norm"
    )


_BLOOM = (
    linear("self_attention.query_key_value", "d", "3d", YES),
    linear("self_attention.dense", "d", "d", YES),
    *plain("mlp.dense_h_to_4h", "mlp.dense_4h_to_h"),
    *TWO_BIASED,
)
_OPT = (
    *attention("enable_bias", out="out_proj"),
    *plain("fc1", "fc2", "enable_bias"),
    *norms("self_attn_layer_norm", "final_layer_norm", bias=YES),
)

_SIGLIP = Family(
    (
        *norms("layer_norm1", "layer_norm2", bias=YES),
        *attention(YES, out="out_proj"),
        *plain("mlp.fc1", "mlp.fc2"),
    ),
    (
        Part("model.vision_tower.embeddings.patch_embedding", ("d", "c", "p", "p"), "other", YES),
        table("model.vision_tower.embeddings.position_embedding", "n"),
        *norms("model.vision_tower.post_layernorm", bias=YES),
        Part("model.vision_tower.head.probe", ("1", "1", "d"), "parameter", when="vision_use_head"),
        *(
            Part(f"model.vision_tower.head.{name}", shape, kind, bias, "vision_use_head")
            for name, shape, kind, bias in (
                ("attention.in_proj_weight", ("3d", "d"), "parameter", ""),
                ("attention.in_proj_bias", ("3d",), "parameter", ""),
                ("attention.out_proj", ("d", "d"), "linear", YES),
                ("layernorm", ("d",), "norm", YES),
                ("mlp.fc1", ("f", "d"), "linear", YES),
                ("mlp.fc2", ("d", "f"), "linear", YES),
            )
        ),
        Part("model.multi_modal_projector.mm_input_projection_weight", ("d", "t"), "parameter"),
        *norms("model.multi_modal_projector.mm_soft_emb_norm"),
    ),
    {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "image_size": 224,
        "patch_size": 16,
        "vision_use_head": True,
        "vocab_size": 1,
    },
    stack="model.vision_tower.encoder.layers",
    own_head_dim=False,
)

FAMILIES: dict[str, Family] = {
    "llama": LLAMA,
    "mistral": Family(
        (*attention(), *gated(), *TWO),
        OUTSIDE,
        {"intermediate_size": 14336, "num_key_value_heads": 8, "sliding_window": 4096, **SILU},
    ),
    "ministral": Family(
        (*attention(), *gated(), *TWO),
        OUTSIDE,
        {"intermediate_size": 14336, "num_key_value_heads": 8, "sliding_window": 4096, **SILU},
    ),
    "qwen2": Family(
        (*attention(YES, ""), *gated(), *TWO),
        OUTSIDE,
        {"intermediate_size": 22016, "num_key_value_heads": 32, **UPPER, **SILU},
        window="upper",
    ),
    "qwen3": Family(
        (*_WITH_BIAS, *OF_HEADS, *gated(), *TWO),
        OUTSIDE,
        {"intermediate_size": 22016, "num_key_value_heads": 32, "head_dim": 128, **UPPER, **SILU},
        window="upper",
    ),
    "gemma": Family(
        (*_WITH_BIAS, *gated(), *TWO),
        OUTSIDE,
        {"intermediate_size": 24576, "num_key_value_heads": 16, **_GEMMA, **GELU},
    ),
    "gemma2": Family(
        (*_WITH_BIAS, *gated(), *FOUR),
        OUTSIDE,
        {
            "intermediate_size": 9216,
            "num_key_value_heads": 4,
            "sliding_window": 4096,
            "sliding_window_pattern": 2,
            **_SOFTCAPS,
            **_GEMMA,
        },
        window="most",
    ),
    "gemma3_text": Family(_GEMMA3_LAYER, OUTSIDE, {"intermediate_size": 9216, **_GEMMA3}, window="most"),
    "gemma3": Family(
        _GEMMA3_LAYER,
        (table("model.language_model.embed_tokens"), *norms("model.language_model.norm")),
        {"intermediate_size": 9216, "hidden_size": 2304, "num_hidden_layers": 26, **_GEMMA3},
        stack="model.language_model.layers",
        window="most",
        beside=(_SIGLIP, "vision_config"),
    ),
    "phi": Family(
        (
            *attention(YES, out="dense"),
            *norms("self_attn.q_layernorm", "self_attn.k_layernorm", size="h", bias=YES, when="qk_layernorm"),
            *plain("mlp.fc1", "mlp.fc2"),
            *norms("input_layernorm", bias=YES),
        ),
        (table("model.embed_tokens"), *norms("model.final_layernorm", bias=YES)),
        {"intermediate_size": 8192, "hidden_act": "gelu_new"},
        head_bias=True,
        norm="layer",
        parallel=YES,
    ),
    "phi3": Family(
        (
            linear("self_attn.qkv_proj", "d", "q+2k"),
            linear("self_attn.o_proj", "q", "d"),
            linear("mlp.gate_up_proj", "d", "2f"),
            linear("mlp.down_proj", "f", "d"),
            *TWO,
        ),
        OUTSIDE,
        {"intermediate_size": 8192, **SILU},
    ),
    "smollm3": Family(
        (*_WITH_BIAS, *gated(bias="mlp_bias"), *TWO),
        OUTSIDE,
        {
            "intermediate_size": 11008,
            "num_key_value_heads": 4,
            "tie_word_embeddings": True,
            "use_sliding_window": False,
            **SILU,
        },
        window="none",
    ),
    "gpt2": Family(
        (
            conv1d("attn.c_attn", "d", "3d"),
            conv1d("attn.c_proj", "d", "d"),
            conv1d("mlp.c_fc", "d", "f"),
            conv1d("mlp.c_proj", "f", "d"),
            *norms("ln_1", "ln_2", bias=YES),
        ),
        (table("transformer.wte"), table("transformer.wpe", "P"), *norms("transformer.ln_f", bias=YES)),
        {"n_positions": 1024, "tie_word_embeddings": True, "activation_function": "gelu_new"},
        stack="transformer.h",
        own_head_dim=False,
        norm="layer",
        rotary="",
    ),
    "gpt_neox": Family(
        (
            linear("attention.query_key_value", "d", "3d", "attention_bias"),
            linear("attention.dense", "d", "d", "attention_bias"),
            *plain("mlp.dense_h_to_4h", "mlp.dense_4h_to_h"),
            *TWO_BIASED,
        ),
        (table("gpt_neox.embed_in"), *norms("gpt_neox.final_layer_norm", bias=YES)),
        {
            "intermediate_size": 24576,
            "attention_bias": True,
            "use_parallel_residual": True,
            "hidden_act": "gelu",
        },
        stack="gpt_neox.layers",
        own_head_dim=False,
        norm="layer",
        parallel="use_parallel_residual",
    ),
    "falcon": Family(
        _FALCON,
        (table("transformer.word_embeddings"), *norms("transformer.ln_f", bias=YES)),
        {
            "tie_word_embeddings": True,
            "multi_query": True,
            "parallel_attn": True,
            "new_decoder_architecture": False,
            "activation": "gelu",
        },
        stack="transformer.h",
        own_head_dim=False,
        norm="layer",
        parallel="parallel",
        rotary="!alibi",
        prepare=_prepare_falcon,
    ),
    "bloom": Family(
        _BLOOM,
        (
            table("transformer.word_embeddings"),
            *norms("transformer.word_embeddings_layernorm", "transformer.ln_f", bias=YES),
        ),
        {"tie_word_embeddings": True, "activation": "gelu"},
        stack="transformer.h",
        own_head_dim=False,
        norm="layer",
        rotary="",
    ),
    "opt": Family(
        _OPT,
        (
            table("model.decoder.embed_tokens", width="e"),
            table("model.decoder.embed_positions", "P+2"),
            Part("model.decoder.project_out", ("e", "d"), "linear", when="projected"),
            Part("model.decoder.project_in", ("d", "e"), "linear", when="projected"),
            *norms("model.decoder.final_layer_norm", bias=YES, when="norm_last"),
        ),
        {
            "tie_word_embeddings": True,
            "ffn_dim": 3072,
            "enable_bias": True,
            "do_layer_norm_before": True,
            "activation_function": "relu",
        },
        stack="model.decoder.layers",
        own_head_dim=False,
        norm="layer",
        rotary="",
        prepare=_prepare_opt,
    ),
    "olmo": Family(
        (
            *_WITH_BIAS,
            *gated(),
            *(Part(part.name, part.shape, "bare") for part in TWO),
        ),
        (table("model.embed_tokens"),),
        {"intermediate_size": 11008, **SILU},
        norm="bare",
    ),
    "olmo2": Family((*_WITH_BIAS, *OF_ALL, *gated(), *AFTER), OUTSIDE, {"intermediate_size": 11008, **SILU}),
    "olmo3": Family(
        (*_WITH_BIAS, *OF_ALL, *gated(), *AFTER),
        OUTSIDE,
        {"intermediate_size": 11008, "sliding_window": 4096, "sliding_window_pattern": 4, **SILU},
        window="most",
    ),
    "granite": Family(
        (*_WITH_BIAS, *gated(bias="mlp_bias"), *TWO), OUTSIDE, {"intermediate_size": 11008, **SILU}
    ),
    "starcoder2": Family(
        (*attention("use_bias"), *plain("mlp.c_fc", "mlp.c_proj", "use_bias"), *TWO_BIASED),
        (table("model.embed_tokens"), *norms("model.norm", bias=YES)),
        {
            "intermediate_size": 12288,
            "num_key_value_heads": 2,
            "use_bias": True,
            "tie_word_embeddings": True,
            **GELU,
        },
        norm="layer",
    ),
    "mixtral": Family(
        (*attention(), *experts(), *TWO),
        OUTSIDE,
        {
            "intermediate_size": 14336,
            "num_key_value_heads": 8,
            "num_local_experts": 8,
            "num_experts_per_tok": 2,
            **SILU,
        },
    ),
    "qwen2_moe": Family(
        (
            *attention("qkv_bias", ""),
            *experts(),
            *gated(layers="dense"),
            *gated("mlp.shared_expert", "s", layers="sparse"),
            linear("mlp.shared_expert_gate", "d", "1", layers="sparse"),
            *TWO,
        ),
        OUTSIDE,
        {
            "intermediate_size": 5632,
            "num_key_value_heads": 16,
            "qkv_bias": True,
            "num_experts": 60,
            "num_experts_per_tok": 4,
            "moe_intermediate_size": 1408,
            "shared_expert_intermediate_size": 5632,
            **UPPER,
            **SILU,
        },
        window="lower",
    ),
    "qwen3_moe": Family(
        (*_WITH_BIAS, *OF_HEADS, *experts(), *gated(layers="dense"), *TWO),
        OUTSIDE,
        {
            "intermediate_size": 6144,
            "num_key_value_heads": 4,
            "num_local_experts": 128,
            "num_experts_per_tok": 8,
            "moe_intermediate_size": 768,
            **UPPER,
            **SILU,
        },
    ),
}


def family_of(model_type: str) -> Family | None:
    """Return the table of a family, None when there is none."""
    return FAMILIES.get(model_type)
