"""A LoRA layer that keeps nothing of its frozen weight computes what peft's does, and loses less in bf16."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn

from engine.runtime.fused import gathered


def adapted(dtype: torch.dtype, dropout: float = 0.0, size: float = 0.02) -> tuple[nn.Module, nn.Module]:
    """Return one linear layer with a LoRA as peft has it, and the same as it is computed when shared out."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(32, 48, dtype=dtype))
    config = LoraConfig(r=4, lora_alpha=8, lora_dropout=dropout, target_modules=["0"])
    plain: Any = inject_adapter_in_model(config, model)
    plain[0].lora_A.default.weight.data = plain[0].lora_A.default.weight.data.float()
    plain[0].lora_B.default.weight.data = torch.randn(48, 4) * size
    ours = copy.deepcopy(plain)
    assert gathered.fuse(ours) == 1
    return plain, ours


def results(layer: nn.Module, x: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    torch.manual_seed(3)
    out = layer(x)
    out.float().square().sum().backward()
    assert x.grad is not None
    trained = [p.grad for p in layer.parameters() if p.requires_grad and p.grad is not None]
    assert len(trained) == 2
    return [out.detach(), x.grad, *trained]


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_that_the_product_and_all_its_gradients_are_pefts(dropout: float) -> None:
    plain, ours = adapted(torch.float32, dropout)
    x = torch.randn(2, 7, 32)
    for expected, found in zip(results(plain, x), results(ours, x), strict=True):
        assert torch.allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_that_a_young_adapter_is_not_lost_in_bf16() -> None:
    """B so small that s B A x is below half a bf16 step of Wx: added afterwards it vanishes."""
    plain, ours = adapted(torch.bfloat16, size=1e-3)
    exact, _ = adapted(torch.float32, size=1e-3)
    exact[0].base_layer.weight.data = plain[0].base_layer.weight.data.float()
    exact[0].base_layer.bias.data = plain[0].base_layer.bias.data.float()
    exact[0].lora_A.default.weight.data = plain[0].lora_A.default.weight.data.clone()
    x = torch.randn(4000, 32).bfloat16()
    with torch.no_grad():
        base = exact[0].base_layer(x.float())
        wanted = exact(x.float()) - base
        moved = [(layer(x).float() - base) for layer in (plain, ours)]
    shares = [float((m * wanted).sum() / (wanted * wanted).sum()) for m in moved]
    assert shares[1] == pytest.approx(1.0, abs=0.05)
    assert abs(shares[1] - 1) < abs(shares[0] - 1)


def test_that_a_switched_off_adapter_answers_as_the_base() -> None:
    _, ours = adapted(torch.float32)
    x = torch.randn(3, 32)
    ours[0].enable_adapters(False)
    assert torch.equal(ours(x), ours[0].base_layer(x))
