"""Make small random models of each family that a GGUF can hold, with norms and biases that are not 1 or 0.

usage: make_gguf_models.py FOLDER [NAME ...]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from engine.paths import resources
from tests.data.make_tiny_model import LINES, TEMPLATE, make_tokenizer

SIZES: dict[str, Any] = {
    "vocab_size": 520,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {"tie_word_embeddings": False, "attention_bias": True}),
    "llama3": ("llama", {"tie_word_embeddings": True, "rope_parameters": LLAMA3}),
    "mistral": ("mistral", {"tie_word_embeddings": False, "head_dim": 32, "sliding_window": 128}),
    "qwen2": ("qwen2", {"tie_word_embeddings": True}),
    "qwen3": ("qwen3", {"tie_word_embeddings": False, "head_dim": 32}),
    "gemma2": (
        "gemma2",
        {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 16, "final_logit_softcapping": 5.0},
    ),
    "gemma3": (
        "gemma3_text",
        {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 16, "num_hidden_layers": 7},
    ),
    "phi3": ("phi3", {"tie_word_embeddings": False, "sliding_window": None}),
}


def make_pieces() -> PreTrainedTokenizerFast:
    """Return a tokenizer of sentencepiece's kind: pieces over bytes, every way to make one named."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{value:02X}>" for value in range(256))]
    text = "".join(f"\u2581{word}" for line in LINES for word in line.split())
    letters = sorted(set(text))
    pieces += letters
    words = sorted(
        {text[i : i + n] for i in range(0, len(text), 7) for n in (2, 3, 4)}, key=lambda w: (len(w), w)
    )
    merges: list[tuple[str, str]] = []
    for word in words[:200]:
        ways = [(word[:cut], word[cut:]) for cut in range(1, len(word))]
        known = [(a, b) for a, b in ways if a in pieces and b in pieces]
        if known:
            pieces.append(word)
            merges += known
    vocab = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([AddedToken(mark, normalized=False) for mark in ("<unk>", "<s>", "</s>")])
    tokenizer.add_tokens([AddedToken("<extra>", normalized=False)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="</s>"
    )
    fast.chat_template = resources("templates", "llama2.jinja").read_text("utf-8").rstrip("\n")
    return fast


def make_model(name: str, folder: Path) -> None:
    """Write one model."""
    torch.manual_seed(1)
    pieces = name == "pieces"
    kind, options = FAMILIES["mistral" if pieces else name]
    tokenizer = make_pieces() if pieces else make_tokenizer()
    if not pieces:
        tokenizer.chat_template = TEMPLATE
    ids = {f"{mark}_token_id": getattr(tokenizer, f"{mark}_token_id") for mark in ("bos", "eos", "pad")}
    config = CONFIG_MAPPING[kind](**{**SIZES, **options, **ids})
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, 0.5, 0.3)
        else:
            torch.nn.init.normal_(parameter, 0.0, 0.15)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main() -> None:
    """Write the models that are named, or all."""
    place = Path(sys.argv[1])
    for name in sys.argv[2:] or [*FAMILIES, "pieces"]:
        make_model(name, place / name)


if __name__ == "__main__":
    main()
