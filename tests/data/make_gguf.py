"""Write the tests' Llama as a .gguf, as llama.cpp's converter would.

usage: make_gguf.py TINY FILE.gguf
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def turned(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Return q or k in llama.cpp's order of rotary pairs."""
    rows, columns = weight.shape
    return weight.view(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def main() -> None:
    """Write the file."""
    tiny, out = Path(sys.argv[1]), sys.argv[2]
    config, tokenizer = AutoConfig.from_pretrained(tiny), AutoTokenizer.from_pretrained(tiny)
    writer = gguf.GGUFWriter(out, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    words = json.loads((tiny / "tokenizer.json").read_text())["model"]
    order = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    special = set(tokenizer.all_special_tokens)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([text for text, _ in order])
    writer.add_token_types([3 if text in special else 1 for text, _ in order])
    writer.add_token_merges([pair if isinstance(pair, str) else " ".join(pair) for pair in words["merges"]])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(
        tokenizer.pad_token_id
    )  # wrong on purpose: the template's end of turn must be found
    writer.add_unk_token_id(tokenizer.unk_token_id)
    writer.add_chat_template(tokenizer.chat_template)
    for name, tensor in AutoModelForCausalLM.from_pretrained(tiny).state_dict().items():
        stem = name.removesuffix(".weight").removeprefix("model.")
        if stem == "lm_head":
            continue
        if "q_proj" in stem:
            tensor = turned(tensor, config.num_attention_heads)
        elif "k_proj" in stem:
            tensor = turned(tensor, config.num_key_value_heads)
        if stem.startswith("layers."):
            _, layer, inner = stem.split(".", 2)
            stem = f"blk.{layer}.{NAMES[inner]}"
        else:
            stem = {"embed_tokens": "token_embd", "norm": "output_norm"}[stem]
        writer.add_tensor(f"{stem}.weight", np.ascontiguousarray(tensor.float().numpy()))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
