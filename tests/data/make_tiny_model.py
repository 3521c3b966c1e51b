"""Make the tests' model: a random Llama of two layers, hidden size 64, a BPE tokenizer, a ChatML template.

usage: make_tiny_model.py FOLDER [--layers 2]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
# A few lines of the kind the tests train on; every byte is in the alphabet, so any text can be tokenised.
LINES = [
    "system user assistant",
    "Answer with one JSON object: queue, priority, summary.",
    '{"queue": "billing", "priority": "high", "summary": "charged twice"}',
    '{"queue": "technical", "priority": "normal", "summary": "app crashes"}',
    '{"queue": "shipping", "priority": "low", "summary": "parcel is late"}',
    "Hello, I was charged twice for my order, please help me today.",
    "The app crashes whenever I open the settings. It worked last week.",
    "Where is my parcel? No hurry, thank you for your answer.",
    "Write a short poem about the sea. Translate this sentence into French.",
    "The quick brown fox jumps over the lazy dog, then it sleeps in the sun.",
    "What is the capital of France? The capital of France is Paris.",
]


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Train a byte-level BPE of 512 entries on the lines above."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(LINES, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token="<|endoftext|>",
        model_max_length=512,
    )
    fast.chat_template = TEMPLATE
    return fast


def main() -> None:
    """Write the model's folder."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=2)
    chosen = parser.parse_args()
    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=chosen.layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(chosen.folder, safe_serialization=True)
    tokenizer.save_pretrained(chosen.folder)


if __name__ == "__main__":
    main()
