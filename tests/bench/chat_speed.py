"""Chat against transformers' generate with a streamer: tokens a second and the wait for the first token.

usage: python -m tests.bench.chat_speed ADAPTER [--tokens 48] [--rounds 4]
Both answer the same prompt greedily in turn, round by round; the ratios are those of each round.
"""

from __future__ import annotations

import argparse
import os
import statistics
import threading
import time
from typing import Any

os.environ["OMP_WAIT_POLICY"] = "passive"  # as in every child; read when torch loads its threads

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, TextIteratorStreamer

from engine.runtime.chat import ChatModel
from engine.runtime.generate import Sampling
from engine.runtime.target import resolve_target
from tests.bench.machine import describe

MESSAGES = [{"role": "user", "content": "Write a short story about a lighthouse keeper and a storm. " * 4}]


def ours(chat: ChatModel, who: str, tokens: int) -> tuple[float, float]:
    """Return seconds to the first token, and tokens a second, of our own loop."""
    answer, _ = chat.answer(who, MESSAGES, Sampling(max_new_tokens=tokens), lambda text, count: None)
    return answer.first_token_seconds, len(answer.ids) / answer.seconds


def theirs(model: Any, tokenizer: Any, prompt: list[int], tokens: int) -> tuple[float, float]:
    """Return the same of `generate` with TextIteratorStreamer."""
    ids = torch.tensor([prompt])
    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True)
    options = {"max_new_tokens": tokens, "do_sample": False, "streamer": streamer}
    made: list[int] = []

    def work() -> None:
        out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **options)
        made.append(out.shape[1] - len(prompt))

    began = time.perf_counter()
    thread = threading.Thread(target=work)
    thread.start()
    pieces = iter(streamer)
    next(pieces)
    first = time.perf_counter() - began
    for _ in pieces:
        pass
    thread.join()
    return first, made[0] / (time.perf_counter() - began)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("adapter")
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=4)
    chosen = parser.parse_args()
    chat = ChatModel(resolve_target(chosen.adapter), device="cpu")
    folder = chat.target.base.path
    tokenizer = AutoTokenizer.from_pretrained(folder)
    plain, under = (
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval() for _ in range(2)
    )
    models = {"base": plain, "adapter": PeftModel.from_pretrained(under, chat.target.adapter.path).eval()}
    prompt = chat.prompt_ids(MESSAGES)
    print(describe())
    for who, model in models.items():
        pairs = []
        for _ in range(chosen.rounds):
            pairs.append((ours(chat, who, chosen.tokens), theirs(model, tokenizer, prompt, chosen.tokens)))
        speed = statistics.median(a[1] / b[1] for a, b in pairs)
        first = statistics.median(a[0] / b[0] for a, b in pairs)
        own = statistics.median(a[1] for a, _ in pairs)
        print(
            f"{who:8s} own {own:5.1f} tok/s, {speed:.2f}x generate; first token after {first:.2f}x its time"
        )


if __name__ == "__main__":
    main()
