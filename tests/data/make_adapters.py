"""Make small bases and adapters for the tests of merging and chat, by plain peft; none of them is nothing.

usage: make_adapters.py TINY FOLDER [NAME...]
writes NAME-base, NAME-adapter, peft's own merge NAME-peft, and NAME-logits with what peft's model answers.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import peft
import torch
import transformers as t
from safetensors.torch import save_file
from torch import Tensor, nn

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
ALL = {"target_modules": "all-linear"}
LORA: dict[str, Any] = {"r": 4, "lora_alpha": 8}
CONV = {"target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {**LORA, **ALL},
    "rslora": {"r": 9, "lora_alpha": 8, "target_modules": ["q_proj", "down_proj"], "use_rslora": True},
    "patterns": {
        **LORA,
        **ALL,
        "rank_pattern": {"q_proj": 7, r"layers\.1\.mlp\.up_proj": 2},
        "alpha_pattern": {"k_proj": 3, r"layers\.0\.mlp\.down_proj": 5},
    },
    "sharded": {"r": 4, "lora_alpha": 4, "target_modules": ["q_proj", "v_proj"]},
    "shardedhead": {**LORA, "target_modules": ["lm_head", "embed_tokens", "v_proj"]},
    "bf16": {**LORA, **ALL},
    "gpt2": {**LORA, **CONV},
    "head": {**LORA, "target_modules": ["lm_head", "q_proj"]},
    "gpt2head": {**LORA, "target_modules": ["lm_head", "c_attn"]},
    "dora": {**LORA, **ALL, "use_dora": True},
    "gpt2dora": {**LORA, **CONV, "use_dora": True},
    "headdora": {**LORA, "target_modules": ["lm_head", "embed_tokens", "q_proj"], "use_dora": True},
    "embedding": {**LORA, "target_modules": ["embed_tokens", "q_proj"]},
    "embeddingtied": {
        **LORA,
        "target_modules": ["embed_tokens", "q_proj"],
        "ensure_weight_tying": True,
    },
    "biased": {**LORA, "target_modules": ["q_proj", "v_proj"], "bias": "all"},
    "biasedonly": {**LORA, "target_modules": ["q_proj", "v_proj"], "bias": "lora_only"},
    "biasedlora": {**LORA, "target_modules": ["q_proj", "v_proj"], "lora_bias": True},
    "wholehead": {**LORA, "target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
    "wholeembedding": {**LORA, "target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
    "wholeboth": {**LORA, "target_modules": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head"]},
    "wholetied": {
        **LORA,
        "target_modules": ["q_proj"],
        "modules_to_save": ["embed_tokens"],
        "ensure_weight_tying": True,
    },
    "wholenorms": {**LORA, **ALL, "modules_to_save": ["input_layernorm", "model.norm"]},
    "untied": {**LORA, "target_modules": ["lm_head", "q_proj"], "modules_to_save": ["embed_tokens"]},
    "layers": {
        **LORA,
        "target_modules": ["q_proj", "up_proj"],
        "layers_to_transform": [1],
        "rank_pattern": {r"layers\.1\.mlp\.up_proj": 9},
    },
    "pissa": {**LORA, **ALL, "init_lora_weights": "pissa"},
    "olora": {**LORA, **ALL, "init_lora_weights": "olora"},
    "adalora": {"peft": peft.AdaLoraConfig, "init_r": 6, "lora_alpha": 12, "total_step": 10, **ALL},
    "gpt2adalora": {"peft": peft.AdaLoraConfig, "init_r": 6, "lora_alpha": 12, "total_step": 10, **CONV},
    "vera": {"peft": peft.VeraConfig, "r": 16, **ALL},
    "veradrawn": {
        "peft": peft.VeraConfig,
        "r": 16,
        "save_projection": False,
        "projection_prng_key": 7,
        "target_modules": ["q_proj", "k_proj", "up_proj"],
    },
    "gpt2vera": {"peft": peft.VeraConfig, "r": 16, "target_modules": ["c_attn", "c_fc"]},
    "ia3": {
        "peft": peft.IA3Config,
        "target_modules": ["k_proj", "v_proj", "down_proj"],
        "feedforward_modules": ["down_proj"],
    },
    "gpt2ia3": {
        "peft": peft.IA3Config,
        "target_modules": ["c_attn", "mlp.c_proj"],
        "feedforward_modules": ["mlp.c_proj"],
        "fan_in_fan_out": True,
    },
    "biasedia3": {
        "peft": peft.IA3Config,
        "target_modules": ["q_proj", "v_proj", "down_proj"],
        "feedforward_modules": ["down_proj"],
    },
    "oft": {"peft": peft.OFTConfig, "oft_block_size": 16, **ALL},
    "oftranks": {"peft": peft.OFTConfig, "r": 8, "oft_block_size": 0, "target_modules": ["q_proj", "v_proj"]},
    "oftshared": {"peft": peft.OFTConfig, "oft_block_size": 16, "block_share": True, **ALL},
    "oftexact": {"peft": peft.OFTConfig, "oft_block_size": 16, "use_cayley_neumann": False, **ALL},
    "oftterms": {"peft": peft.OFTConfig, "oft_block_size": 16, "num_cayley_neumann_terms": 3, **ALL},
    "coft": {"peft": peft.OFTConfig, "oft_block_size": 16, "coft": True, "eps": 0.5, **ALL},
}
# What Tunesmith refuses by name: each would answer as another model there.
REFUSED: dict[str, dict[str, Any]] = {
    "tokens": {**LORA, **ALL, "trainable_token_indices": [3, 4]},
    "rawpissa": {**LORA, **ALL, "init_lora_weights": "pissa"},
    "rawolora": {**LORA, **ALL, "init_lora_weights": "olora"},
    "alora": {**LORA, **ALL, "alora_invocation_tokens": [4, 5]},
    "parameters": {**LORA, "target_modules": ["q_proj"], "target_parameters": ["mlp.up_proj.weight"]},
    "alphas": {**LORA, **ALL, "alpha_pattern": {r".*layers\.[01]\..*k_proj": 3}},
    "oftembedding": {
        "peft": peft.OFTConfig,
        "oft_block_size": 16,
        "target_modules": ["embed_tokens", "q_proj"],
    },
    "loha": {"peft": peft.LoHaConfig, "r": 4, "alpha": 8, "target_modules": ["q_proj", "v_proj"]},
}
# peft's own merge writes into the weight that embedding and head share, or cannot merge the layer at all.
UNMERGED = ("head", "embedding", "gpt2head", "shardedhead")


def make_base(name: str, tiny: Path, folder: Path) -> None:
    """Write the base: the tiny Llama, in several files, in bf16, with biases, with a head; or a GPT-2."""
    if name.startswith("gpt2"):
        config = t.GPT2Config(
            vocab_size=512, n_embd=64, n_layer=2, n_head=4, n_positions=512, eos_token_id=2, bos_token_id=1
        )
        model = t.AutoModelForCausalLM.from_config(config)
    elif name.startswith(("biased", "untied")):
        config = t.AutoConfig.from_pretrained(tiny)
        config.attention_bias = name.startswith("biased")
        config.tie_word_embeddings = not name.startswith("untied")
        model = t.AutoModelForCausalLM.from_config(config)
    else:
        dtype = torch.bfloat16 if name == "bf16" else torch.float32
        model = t.AutoModelForCausalLM.from_pretrained(tiny, dtype=dtype)
    for key, parameter in model.named_parameters():
        if key.endswith(".bias"):
            parameter.data.normal_(std=0.3)
    model.save_pretrained(folder, max_shard_size="200KB" if name.startswith("sharded") else "5GB")
    for file in TOKENIZER:
        if (tiny / file).exists():
            shutil.copy(tiny / file, folder / file)


def train(model: nn.Module) -> None:
    """Move everything that is trained by as much as shows in the answers."""
    for key, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        noise = torch.randn_like(parameter)
        if "lora_B" in key or "lora_embedding_B" in key or "vera_lambda_b" in key or "lora_E" in key:
            parameter.data += 0.5 * noise
        elif "magnitude" in key:
            parameter.data *= 1 + 0.3 * noise
        elif "oft_R" in key:
            parameter.data += 0.15 * noise
        else:
            parameter.data += (0.3 if "ia3_l" in key or key.endswith("bias") else 0.02) * noise


def make_adapter(name: str, options: dict[str, Any], base: Path, out: Path) -> None:
    """Wrap the base, train it and save the adapter, converted where its start changed the base."""
    kind = options.get("peft", peft.LoraConfig)
    given = {key: value for key, value in options.items() if key != "peft"}
    wrapped = peft.get_peft_model(
        t.AutoModelForCausalLM.from_pretrained(base), kind(task_type="CAUSAL_LM", **given)
    )
    start = out / f"{name}-start"
    changed = name in ("pissa", "olora")
    if changed:
        wrapped.peft_config["default"].init_lora_weights = True
        wrapped.save_pretrained(start)
        wrapped.peft_config["default"].init_lora_weights = options["init_lora_weights"]
    train(wrapped)
    if "adalora" in name:
        keys = [key.removesuffix(".default") for key, _ in wrapped.named_parameters() if "lora_E" in key]
        kept = {
            key.removeprefix("base_model.model."): [(i + n) % 3 != 0 and n != 2 for i in range(6)]
            for n, key in enumerate(keys)
        }
        wrapped.peft_config["default"].rank_pattern = kept
    if changed:
        wrapped.save_pretrained(out / f"{name}-adapter", path_initial_model_for_weight_conversion=str(start))
    else:
        wrapped.save_pretrained(out / f"{name}-adapter")


def answers(model: nn.Module) -> Tensor:
    """Return what a model answers to a row of tokens that is the same for all."""
    with torch.inference_mode():
        return model(input_ids=torch.arange(3, 43)[None]).logits[0].float()


def main() -> None:
    """Write all kinds, or those that are named."""
    tiny, out = Path(sys.argv[1]), Path(sys.argv[2])
    t.logging.set_verbosity_error()
    t.logging.disable_progress_bar()
    for number, (name, options) in enumerate({**KINDS, **REFUSED}.items()):
        if sys.argv[3:] and name not in sys.argv[3:]:
            continue
        torch.manual_seed(5 + number)
        base = out / f"{name}-base"
        make_base(name, tiny, base)
        make_adapter(name, options, base, out)
        if name in REFUSED:
            continue
        plain = t.AutoModelForCausalLM.from_pretrained(base).eval()
        logits = {"base": answers(plain)}
        again = peft.PeftModel.from_pretrained(plain, out / f"{name}-adapter").eval()
        logits["adapter"] = answers(again)
        save_file(logits, out / f"{name}-logits.safetensors")
        if name not in UNMERGED:
            again.merge_and_unload().save_pretrained(out / f"{name}-peft")


if __name__ == "__main__":
    main()
