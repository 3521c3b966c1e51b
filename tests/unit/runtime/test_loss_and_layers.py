"""The loop's numbers against the plain way of computing them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

from engine.runtime import attention
from engine.runtime.batches import collate
from engine.runtime.fused import blocks
from engine.runtime.load import choose_layout
from engine.runtime.loss import loss_sum, plain_head

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 97,
}
FAMILIES: dict[str, tuple[Any, bool]] = {
    "llama": (LlamaConfig(**SMALL, num_key_value_heads=2), True),
    "mistral-window": (MistralConfig(**SMALL, num_key_value_heads=2, sliding_window=6), True),
    "qwen2": (Qwen2Config(**SMALL, num_key_value_heads=2), True),
    "qwen3": (Qwen3Config(**SMALL, num_key_value_heads=2, head_dim=8), True),
    "gemma2": (Gemma2Config(**SMALL, num_key_value_heads=2, head_dim=8, sliding_window=6), True),
    "gpt2": (GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=97, attn_pdrop=0.0), True),
    "neox": (GPTNeoXConfig(**SMALL, attention_dropout=0.0, hidden_dropout=0.0), True),
    "mamba": (MambaConfig(hidden_size=32, num_hidden_layers=2, vocab_size=97, state_size=4), False),
}


@dataclass
class Row:
    ids: np.ndarray
    trained: np.ndarray


def rows(seed: int = 0) -> list[Row]:
    rng = np.random.default_rng(seed)
    made = []
    for length in (5, 12, 9):
        trained = np.zeros(length, dtype=bool)
        trained[length // 2 :] = True
        made.append(Row(rng.integers(3, 97, length).astype(np.int32), trained))
    return made


def reference(model: Any, examples: list[Row]) -> torch.Tensor:
    """Full logits of each row alone, ignored labels masked out."""
    total = torch.zeros(())
    for row in examples:
        ids = torch.tensor(row.ids.astype(np.int64))[None]
        logits = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
        labels = torch.where(torch.tensor(row.trained[1:]), ids[0, 1:], -100)
        total = total + F.cross_entropy(logits, labels, ignore_index=-100, reduction="sum")
    return total


@pytest.mark.parametrize("family", FAMILIES)
def test_that_a_flat_or_padded_batch_has_the_loss_of_its_rows_alone(family: str) -> None:
    config, can_be_flat = FAMILIES[family]
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    model.requires_grad_(False)
    expected = reference(model, rows())
    layout = choose_layout(model)
    assert layout.flat is can_be_flat, layout.reason
    batch = collate(rows(), torch.device("cpu"), flat=layout.flat)
    head = plain_head(model) if layout.head_apart else None
    with attention.flat_row(batch.lengths if layout.flat else None):
        found = loss_sum(model, batch, head)
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_that_a_capped_head_is_not_taken_for_a_plain_one() -> None:
    capped = Gemma2Config(**SMALL, num_key_value_heads=2, head_dim=8, final_logit_softcapping=0.05)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(capped).eval()
    model.requires_grad_(False)
    assert choose_layout(model).head_apart is False


def _adapted(
    targets: str | list[str],
    dropout: float = 0.0,
    dtype: torch.dtype = torch.float32,
    family: str = "llama",
) -> Any:
    torch.manual_seed(1)
    config, _ = FAMILIES[family]
    model = AutoModelForCausalLM.from_config(config).to(dtype).eval()
    wrapped = get_peft_model(
        model,
        LoraConfig(r=4, lora_alpha=8, lora_dropout=dropout, target_modules=targets, task_type="CAUSAL_LM"),
    )
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.05)
    return wrapped


def _gradients(model: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    loss = reference(model, rows())
    loss.backward()
    return loss.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def _assert_alike(found: Any, expected: Any) -> None:
    assert torch.allclose(found[0], expected[0], rtol=1e-6)
    assert found[1].keys() == expected[1].keys()
    for name, grad in expected[1].items():
        assert torch.allclose(grad, found[1][name], rtol=1e-4, atol=1e-6), name


@pytest.mark.parametrize("family", ["llama", "mistral-window", "qwen2", "qwen3", "gemma2"])
@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "v_proj"], ["down_proj", "k_proj"]])
def test_that_fused_layers_give_the_gradients_of_pefts_own(family: str, targets: str | list[str]) -> None:
    expected = _gradients(_adapted(targets, family=family).train())
    model = _adapted(targets, family=family).train()
    plain = {n: p.detach().clone() for n, p in model.named_parameters()}
    assert blocks.fuse(model) == (14 if targets == "all-linear" else 4)
    assert blocks.products_of(model)
    _assert_alike(_gradients(model), expected)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, plain[name]), name


def test_that_a_fused_layer_drops_what_pefts_own_drops(monkeypatch: pytest.MonkeyPatch) -> None:
    def drop(x: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:
        keep = (torch.arange(x.shape[-1]) % 3 > 0).to(
            x.dtype
        )  # the same columns each time: no two draws to tell apart
        return x * keep / (1 - p) if training and p else x

    monkeypatch.setattr(F, "dropout", drop)
    expected = _gradients(_adapted("all-linear", 0.3).train())
    model = _adapted("all-linear", 0.3).train()
    blocks.fuse(model)
    _assert_alike(_gradients(model), expected)
    model.eval()
    assert torch.allclose(
        reference(model, rows()), reference(_adapted("all-linear").eval(), rows()), rtol=1e-5
    )


def test_that_a_fused_model_switches_its_adapter_off_and_answers_as_any_other() -> None:
    model = _adapted("all-linear").eval()
    with torch.no_grad():
        expected = reference(model, rows())
        blocks.fuse(model)
        assert torch.allclose(reference(model, rows()), expected, rtol=1e-6)
        layer = model.get_base_model().model.layers[0].mlp.up_proj.base_layer
        assert layer.weight.untyped_storage().data_ptr() == (
            blocks.products_of(model)[2].wide.untyped_storage().data_ptr()
        )
        with model.disable_adapter():
            bare = reference(model, rows())
        torch.manual_seed(1)
        base = AutoModelForCausalLM.from_config(FAMILIES["llama"][0]).eval()
        assert torch.allclose(bare, reference(base, rows()), rtol=1e-6)
        ids = torch.tensor([[5, 6, 7]])
        told = model.generate(input_ids=ids, max_new_tokens=4, do_sample=False, pad_token_id=0)
        plain = _adapted("all-linear").eval()
        assert torch.equal(
            told, plain.generate(input_ids=ids, max_new_tokens=4, do_sample=False, pad_token_id=0)
        )


@pytest.mark.parametrize("family", ["llama", "mistral-window", "qwen3", "gemma2", "gpt2", "neox"])
@pytest.mark.parametrize("front", [9, 20])
def test_that_a_lean_batch_has_the_loss_and_gradient_of_its_whole_rows(family: str, front: int) -> None:
    """What all rows begin with stands once, and what follows the last supervised token is left out."""
    start = np.random.default_rng(3).integers(3, 97, front).astype(np.int32)
    examples = []
    for row in rows():
        trained = np.concatenate([np.zeros(front, dtype=bool), row.trained[:-2], [False, False]])
        examples.append(Row(np.concatenate([start, row.ids]), trained))
    examples[1].trained[front // 2 : front + 2] = True  # supervised within the shared part and across its end
    results = []
    for lean in (False, True):
        targets = {"gpt2": ["c_attn"], "neox": ["query_key_value"]}.get(family, "all-linear")
        model = _adapted(targets, family=family).train()
        blocks.fuse(model)
        layout = choose_layout(model.get_base_model().eval())
        assert layout.flat and layout.shares
        model.train(family != "gpt2")  # which drops by itself
        batch = collate(examples, torch.device("cpu"), flat=True, lean=lean)
        assert batch.shared == (front if lean else 0)
        assert batch.tokens == sum(len(e.ids) for e in examples)
        assert (batch.input_ids.shape[1] < batch.tokens - 2 * front) is lean
        with attention.flat_row(batch.rows):
            loss = loss_sum(model.get_base_model(), batch, None)
            loss.backward()
        grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        results.append((loss.detach(), grads))
    _assert_alike(results[1], results[0])


def test_that_a_padded_lean_batch_has_the_loss_of_its_rows_alone() -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(FAMILIES["mamba"][0]).eval().requires_grad_(False)
    examples = rows()
    for row in examples:
        row.trained[-2:] = False
    batch = collate(examples, torch.device("cpu"), flat=False, lean=True)
    assert batch.input_ids.shape[1] == max(len(r.ids) for r in examples) - 3
    assert float(loss_sum(model, batch, None)) == pytest.approx(float(reference(model, examples)), rel=1e-5)


def test_that_bf16_keeps_a_small_adapter_that_plain_addition_rounds_away() -> None:
    torch.manual_seed(3)
    base = torch.nn.Linear(64, 64, bias=False).to(torch.bfloat16)
    errors = []
    for fuse in (False, True):
        holder = torch.nn.Sequential()
        holder.add_module("proj", torch.nn.Linear(64, 64, bias=False).to(torch.bfloat16))
        holder.proj.weight.data.copy_(base.weight.data)
        torch.manual_seed(4)
        model = get_peft_model(holder, LoraConfig(r=4, lora_alpha=4, target_modules=["proj"]))
        layer = model.base_model.model.proj
        layer.lora_B["default"].weight.data.normal_(std=2e-3)
        if fuse:
            blocks.fuse(model)
        x = torch.randn(512, 64).to(torch.bfloat16)
        update = layer.lora_B["default"].weight @ (layer.lora_A["default"].weight @ x.float().T) * 1.0
        exact = (base.weight.float() @ x.float().T + update).T
        errors.append(float(((layer(x).detach().float() - exact.detach()).mean(0).abs()).mean()))
    assert errors[1] < errors[0]


def test_that_the_heads_own_gradient_is_that_of_full_logits() -> None:
    grads = []
    for own in (False, True):
        model = _adapted(["q_proj", "v_proj"])
        layout = choose_layout(model.get_base_model()) if own else None
        if layout is None:
            loss = reference(model, rows())
        else:
            assert layout.head_apart
            batch = collate(rows(), torch.device("cpu"), flat=True)
            with attention.flat_row(batch.lengths):
                loss = loss_sum(model.get_base_model(), batch, plain_head(model.get_base_model()))
        loss.backward()
        grads.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert torch.allclose(grads[0], grads[1], rtol=1e-4, atol=1e-6)


def test_that_the_first_token_of_a_row_is_never_supervised(tmp_path: Path) -> None:
    row = Row(np.array([4, 5, 6], dtype=np.int32), np.array([True, True, True]))
    batch = collate([row, row], torch.device("cpu"), flat=True)
    assert batch.where.tolist() == [0, 1, 3, 4]
    assert batch.labels.tolist() == [5, 6, 5, 6]
    assert batch.position_ids is not None and batch.position_ids.tolist() == [[0, 1, 2, 0, 1, 2]]


def varlen(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cu_seq_q: torch.Tensor,
    cu_seq_k: torch.Tensor,
    max_q: int,
    max_k: int,
    *,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
    enable_gqa: bool = False,
) -> torch.Tensor:
    """The published interface of torch's `varlen_attn`, [tokens, heads, head_dim], in plain products."""
    assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32 and window_size[1] == 0
    assert enable_gqa == (query.shape[1] != key.shape[1])
    out = []
    for number in range(len(cu_seq_q) - 1):
        q = query[cu_seq_q[number] : cu_seq_q[number + 1]].transpose(0, 1)
        k, v = (
            x[cu_seq_k[number] : cu_seq_k[number + 1]]
            .transpose(0, 1)
            .repeat_interleave(query.shape[1] // key.shape[1], 0)
            for x in (key, value)
        )
        assert q.shape[1] <= max_q and k.shape[1] <= max_k
        back = torch.arange(k.shape[1])[None] - torch.arange(q.shape[1])[:, None] - (k.shape[1] - q.shape[1])
        seen = (back <= 0) & ((back >= -window_size[0]) if window_size[0] >= 0 else torch.tensor(True))
        scores = (q @ k.transpose(1, 2) * scale).masked_fill(~seen, float("-inf"))
        out.append((scores.softmax(-1) @ v).transpose(0, 1))
    return torch.cat(out)


@pytest.mark.parametrize("family", ["llama", "mistral-window", "qwen3"])
def test_that_one_call_for_many_sequences_gives_what_each_gives_alone(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch.nn.attention.varlen

    start = np.arange(3, 14, dtype=np.int32)
    examples = [
        Row(np.concatenate([start, r.ids]), np.concatenate([np.zeros(11, dtype=bool), r.trained]))
        for r in rows()
    ]
    results = []
    for at_once in (False, True):
        model = _adapted("all-linear", family=family)
        blocks.fuse(model)
        choose_layout(model.get_base_model())
        if at_once:
            monkeypatch.setattr(attention, "_has_kernel", lambda q: True)
            monkeypatch.setattr(torch.nn.attention.varlen, "varlen_attn", varlen)
            attention._kernel_is_sound.cache_clear()
        batch = collate(examples, torch.device("cpu"), flat=True, lean=True)
        assert batch.shared == 11
        with attention.flat_row(batch.rows):
            loss = loss_sum(model.get_base_model(), batch, None)
            loss.backward()
        results.append(
            (loss.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None})
        )
    _assert_alike(results[1], results[0])
    attention._kernel_is_sound.cache_clear()


@pytest.mark.parametrize("fault", ["wrong", "raises"])
def test_that_an_unsound_kernel_is_not_used(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch.nn.attention.varlen

    def broken(*args: Any, **options: Any) -> torch.Tensor:
        if fault == "raises":
            raise RuntimeError("no kernel image is available")
        return varlen(*args, **options) * 1.2

    monkeypatch.setattr(torch.nn.attention.varlen, "varlen_attn", broken)
    attention._kernel_is_sound.cache_clear()
    sound = attention._kernel_is_sound(torch.device("cpu"), torch.float32, 8, True)
    attention._kernel_is_sound.cache_clear()
    assert not sound
