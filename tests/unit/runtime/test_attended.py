"""Attention of short sequences side by side, against each sequence by itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM, GPTNeoXConfig, LlamaConfig, MistralConfig, Qwen3Config

from engine.runtime import attention
from engine.runtime.attention import Rows, flat_row
from engine.runtime.fused import attended, blocks, threads
from engine.runtime.fused.pieces import Rotated
from engine.runtime.load import choose_layout

HEADS = [(4, 4), (6, 2), (4, 1)]
LENGTHS: list[tuple[list[int], int]] = [
    ([5, 9, 7], 0),
    ([5, 9, 7], 4),
    ([1, 1, 1], 0),
    ([3, 1], 6),  # what is shared is longer than any sequence's own
    ([8, 8, 8, 8], 1),
]


def drawn(total: int, heads: int, kv_heads: int, size: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(1, h, total, size, generator=generator, requires_grad=True)
        for h in (heads, kv_heads, kv_heads)
    ]


def results(parts: list[Tensor], out: Tensor) -> list[Tensor]:
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    return [out, *torch.autograd.grad(out, parts, grad)]


@pytest.mark.parametrize("window", [None, 1, 3])
@pytest.mark.parametrize(("lengths", "shared"), LENGTHS)
@pytest.mark.parametrize(("heads", "kv_heads"), HEADS)
def test_that_sequences_side_by_side_attend_as_each_alone(
    heads: int, kv_heads: int, lengths: list[int], shared: int, window: int | None
) -> None:
    rows = Rows(lengths, shared)
    parts = drawn(sum(lengths) + shared, heads, kv_heads, 16)
    at = attended.places(lengths, shared, heads, kv_heads, window, torch.device("cpu"))
    together = torch.cat([x[0].transpose(0, 1) for x in parts], 1)
    found = results(parts, attended.Attended.apply(together, None, None, at, 0.25)[None])
    way = attention._Way(0.25, 0.0, window, None)
    expected = results(parts, attention._one_by_one(*parts, way, rows))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=5e-6)


def test_that_it_rotates_as_before_attention() -> None:
    lengths, size = [5, 9, 7], 16
    x = torch.randn(1, 21, 8, size, generator=torch.Generator().manual_seed(0), requires_grad=True)
    angles = torch.rand(1, 21, size // 2, generator=torch.Generator().manual_seed(2))
    at = attended.places(lengths, 0, 4, 2, None, torch.device("cpu"))
    found = results([x], attended.Attended.apply(x[0], angles[0].cos(), angles[0].sin(), at, 0.25)[None])
    turned = Rotated.apply(x[:, :, :6], angles.cos(), angles.sin())
    q, k, v = (y.transpose(1, 2) for y in (turned[:, :, :4], turned[:, :, 4:], x[:, :, 6:]))
    way = attention._Way(0.25, 0.0, None, None)
    expected = results([x], attention._one_by_one(q, k, v, way, Rows(lengths)))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=5e-6)


def test_that_long_or_uneven_sequences_are_attended_one_by_one() -> None:
    assert attended.pay([50, 45, 60], 20, 64)
    assert not attended.pay([400, 400], 0, 64)  # more weights would be kept than a layer keeps anyway
    assert not attended.pay([120, 5, 5, 5, 5, 5], 0, 64)  # most would be idle
    assert not attended.pay([30], 0, 64)


FAMILIES: dict[str, Any] = {
    "llama": (LlamaConfig, {"num_key_value_heads": 2}),
    "mistral-window": (MistralConfig, {"num_key_value_heads": 2, "sliding_window": 6}),
    "qwen3": (Qwen3Config, {"num_key_value_heads": 2, "head_dim": 32}),
    "neox": (GPTNeoXConfig, {}),
}


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("shared", [0, 5])
@pytest.mark.parametrize("family", FAMILIES)
def test_that_models_give_the_gradients_of_sequences_attended_one_by_one(
    family: str, shared: int, joined: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, more = FAMILIES[family]
    torch.manual_seed(0)
    size = {"hidden_size": 128, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    base = AutoModelForCausalLM.from_config(kind(vocab_size=97, **size, **more)).eval()
    assert choose_layout(base).flat
    model = get_peft_model(base, LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM"))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.05)
    if joined:
        blocks.fuse(model)
    rows = Rows([7, 9, 8], shared)
    front = torch.arange(shared)
    places = torch.cat([front, *(torch.arange(shared, shared + n) for n in rows.lengths)])[None]
    ids = torch.randint(3, 97, places.shape, generator=torch.Generator().manual_seed(1))
    called = []
    apply = attended.Attended.apply
    monkeypatch.setattr(attended.Attended, "apply", lambda *a: called.append(1) or apply(*a))
    results = []
    for beside in (True, False):
        if not beside:
            monkeypatch.setattr(attended, "pay", lambda *_: False)
        model.zero_grad()
        with flat_row(Rows(rows.lengths, shared)):
            logits = base(input_ids=ids, position_ids=places, use_cache=False).logits
            logits.square().mean().backward()
        results.append([logits, *(p.grad.clone() for p in model.parameters() if p.grad is not None)])
    assert len(called) == 2  # once a layer, in the first turn
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_that_small_work_stays_in_one_thread_and_the_count_comes_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with threads.InOneThread(torch.zeros(10)):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        with pytest.raises(RuntimeError), threads.InOneThread(torch.zeros(10)):
            raise RuntimeError
        assert torch.get_num_threads() == 2
        with threads.InOneThread(torch.zeros(10), threads.SMALL + 1):
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
