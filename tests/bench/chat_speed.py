"""Chat against transformers' generate with a streamer: tokens a second and the wait for the first token.

usage: python -m tests.bench.chat_speed ADAPTER [--tokens 48] [--rounds 4]
Both answer the same prompt greedily in turn, round by round; the ratios are those of each round.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from typing import Any

import torch
from transformers import TextIteratorStreamer

from engine.runtime.chat import ChatModel
from engine.runtime.generate import Sampling
from engine.runtime.target import resolve_target
from tests.bench.machine import describe

MESSAGES = [{"role": "user", "content": "Write a short story about a lighthouse keeper and a storm. " * 4}]


def ours(chat: ChatModel, who: str, tokens: int) -> tuple[float, float]:
    """Return seconds to the first token, and tokens a second, of our own loop."""
    answer, _ = chat.answer(who, MESSAGES, Sampling(max_new_tokens=tokens), lambda text, count: None)
    return answer.first_token_seconds, len(answer.ids) / answer.seconds


def theirs(chat: ChatModel, who: str, tokens: int, tokenizer: Any) -> tuple[float, float]:
    """The same from `generate` with TextIteratorStreamer on the same loaded model."""
    ids = torch.tensor([chat.prompt_ids(MESSAGES)])
    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True)
    options = {"max_new_tokens": tokens, "do_sample": False, "streamer": streamer}
    with chat.adapted.speaking(who):
        began = time.perf_counter()
        mask = torch.ones_like(ids)
        thread = threading.Thread(
            target=chat.adapted.model.generate, kwargs={"input_ids": ids, "attention_mask": mask, **options}
        )
        thread.start()
        pieces = iter(streamer)
        next(pieces)
        first = time.perf_counter() - began
        made = 1 + sum(1 for _ in pieces)
        thread.join()
        return first, made / (time.perf_counter() - began)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("adapter")
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=4)
    chosen = parser.parse_args()
    chat = ChatModel(resolve_target(chosen.adapter), device="cpu")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(chat.target.base.path)
    print(describe())
    for who in ("base", "adapter"):
        pairs = []
        for _ in range(chosen.rounds):
            pairs.append((ours(chat, who, chosen.tokens), theirs(chat, who, chosen.tokens, tokenizer)))
        speed = statistics.median(a[1] / b[1] for a, b in pairs)
        first = statistics.median(a[0] / b[0] for a, b in pairs)
        own = statistics.median(a[1] for a, _ in pairs)
        print(
            f"{who:8s} own {own:5.1f} tok/s, {speed:.2f}x generate; first token after {first:.2f}x its time"
        )


if __name__ == "__main__":
    main()
