"""Make small models of several families and say what peft makes of them.

usage: make_shapes.py FOLDER   writes FOLDER/NAME/ and FOLDER/expected.json:
{name: {"parameters", "linears": [names], "trainable": {setting: count}}}; settings come from standard input.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import transformers as t
from peft import LoraConfig, get_peft_model

SMALL = {"vocab_size": 128, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
GATED = {**SMALL, "intermediate_size": 48, "num_key_value_heads": 2}
FAMILIES = {
    "llama": t.LlamaConfig(**GATED, tie_word_embeddings=False),
    "llama-tied": t.LlamaConfig(**GATED, tie_word_embeddings=True),
    "qwen2": t.Qwen2Config(**GATED),
    "qwen3": t.Qwen3Config(**GATED, head_dim=16),
    "gemma2": t.Gemma2Config(**GATED, head_dim=8),
    "phi3": t.Phi3Config(**GATED, pad_token_id=0),
    "gpt2": t.GPT2Config(vocab_size=128, n_embd=32, n_layer=3, n_head=4, n_positions=64),
    "gpt-neox": t.GPTNeoXConfig(**SMALL, intermediate_size=48),
    "opt": t.OPTConfig(**SMALL, ffn_dim=48, word_embed_proj_dim=32),
    "bloom": t.BloomConfig(vocab_size=128, hidden_size=32, n_layer=3, n_head=4),
}


def main() -> None:
    """Write models and expectations."""
    folder, settings = Path(sys.argv[1]), json.load(sys.stdin)
    t.logging.set_verbosity_error()
    t.logging.disable_progress_bar()
    expected = {}
    for name, config in FAMILIES.items():
        model = t.AutoModelForCausalLM.from_config(config)
        model.save_pretrained(folder / name)
        told: dict[str, object] = {"parameters": model.num_parameters(), "trainable": {}}
        for setting, options in settings.get(name, settings["every"]).items():
            fresh = t.AutoModelForCausalLM.from_config(config)
            wrapped = get_peft_model(fresh, LoraConfig(task_type="CAUSAL_LM", **options))
            told["trainable"][setting] = wrapped.num_parameters(only_trainable=True)  # type: ignore[index]
            if setting == "all-linear":
                adapted = [n for n, m in wrapped.named_modules() if hasattr(m, "lora_A")]
                told["linears"] = [n.removeprefix("base_model.model.") for n in adapted]
        expected[name] = told
    (folder / "expected.json").write_text(json.dumps(expected))


if __name__ == "__main__":
    main()
