"""Make small bases and adapters for the tests of merging and chat; B is not zero.

usage: make_adapters.py TINY FOLDER   writes NAME-base, NAME-adapter and peft's own merge, NAME-peft
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import torch
import transformers as t
from peft import LoraConfig, PeftModel, get_peft_model

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
KINDS: dict[str, dict[str, Any]] = {
    "plain": {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"},
    "rslora": {"r": 9, "lora_alpha": 8, "target_modules": ["q_proj", "down_proj"], "use_rslora": True},
    "patterns": {
        "r": 4,
        "lora_alpha": 8,
        "target_modules": "all-linear",
        "rank_pattern": {"q_proj": 7, "layers.1.mlp.up_proj": 2},
        "alpha_pattern": {"k_proj": 3},
    },
    "sharded": {"r": 4, "lora_alpha": 4, "target_modules": ["q_proj", "v_proj"]},
    "bf16": {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"},
    "gpt2": {"r": 4, "lora_alpha": 8, "target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True},
    "head": {"r": 4, "lora_alpha": 8, "target_modules": ["lm_head", "q_proj"]},
}


def make_base(name: str, tiny: Path, folder: Path) -> None:
    """Write the base: the tiny Llama as it is, in several files or in bf16; or a GPT-2, stored (in, out)."""
    if name == "gpt2":
        config = t.GPT2Config(
            vocab_size=512, n_embd=64, n_layer=2, n_head=4, n_positions=512, eos_token_id=2, bos_token_id=1
        )
        model = t.AutoModelForCausalLM.from_config(config)
    else:
        dtype = torch.bfloat16 if name == "bf16" else torch.float32
        model = t.AutoModelForCausalLM.from_pretrained(tiny, dtype=dtype)
    model.save_pretrained(folder, max_shard_size="200KB" if name == "sharded" else "5GB")
    for file in TOKENIZER:
        if (tiny / file).exists():
            shutil.copy(tiny / file, folder / file)


def main() -> None:
    """Write all kinds."""
    tiny, out = Path(sys.argv[1]), Path(sys.argv[2])
    t.logging.set_verbosity_error()
    t.logging.disable_progress_bar()
    torch.manual_seed(5)
    for name, options in KINDS.items():
        base = out / f"{name}-base"
        make_base(name, tiny, base)
        wrapped = get_peft_model(
            t.AutoModelForCausalLM.from_pretrained(base), LoraConfig(task_type="CAUSAL_LM", **options)
        )
        for key, parameter in wrapped.named_parameters():
            if "lora_B" in key:
                parameter.data.normal_(std=0.5)
        wrapped.save_pretrained(out / f"{name}-adapter")
        if name != "head":  # peft would change the embedding that shares the head's weight
            again = PeftModel.from_pretrained(
                t.AutoModelForCausalLM.from_pretrained(base), out / f"{name}-adapter"
            )
            again.merge_and_unload().save_pretrained(out / f"{name}-peft")


if __name__ == "__main__":
    main()
