"""Optimizers apart from the loop: which parameters go where, what is refused, what is kept and put back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from engine.errors import EngineError
from engine.plan import optimizers
from engine.plan.optimizers import OF_BITSANDBYTES, PAGED, refuse
from engine.recipe.fields import field_spec
from engine.recipe.training_options import TrainingOptions
from engine.runtime import optim
from engine.runtime.optimizer_state import optimizer_tensors, restore_optimizer

ON_CPU = [name for name in field_spec("training.optim").choices if name not in PAGED]


def options(**values: Any) -> TrainingOptions:
    return TrainingOptions(**{"learning_rate": 1e-2, **values})


def small_model(dtype: torch.dtype = torch.float32) -> nn.Module:
    """A model with a matrix of more than 4096 values, a small one, a bias and a norm."""
    torch.manual_seed(1)
    model = nn.Sequential()
    model.add_module("wide", nn.Linear(96, 64, bias=False))
    model.add_module("narrow", nn.Linear(64, 8))
    model.add_module("final_norm", nn.LayerNorm(8))
    return model.to(dtype)


def take(model: nn.Module, optimizer: torch.optim.Optimizer, chosen: TrainingOptions, steps: range) -> None:
    for step in steps:
        rows = torch.randn(4, 96, generator=torch.Generator().manual_seed(step)).to(next(model.parameters()))
        model(rows).square().sum().backward()
        optim.set_rate(optimizer, chosen, step, 20)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def values_of(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().float().flatten() for p in model.parameters()])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ON_CPU)
def test_that_state_comes_back_bit_by_bit(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    chosen = options(optim=name, weight_decay=0.1)
    model = small_model(dtype)
    optimizer = optim.make_optimizer(model, chosen)
    take(model, optimizer, chosen, range(1, 6))
    names = optim.names_of(optimizer, model)
    before = optimizer_tensors(optimizer, names)
    save_file(before, tmp_path / "optimizer.safetensors")
    other = small_model(dtype)
    other.load_state_dict(model.state_dict())
    again = optim.make_optimizer(other, chosen)
    restore_optimizer(again, names, load_file(tmp_path / "optimizer.safetensors"))
    after = optimizer_tensors(again, names)
    assert before.keys() == after.keys() and len(before) >= len(names)
    assert all(torch.equal(before[k], after[k]) and before[k].dtype == after[k].dtype for k in before)
    take(model, optimizer, chosen, range(6, 12))
    take(other, again, chosen, range(6, 12))
    assert torch.equal(values_of(model), values_of(other))


@pytest.mark.parametrize("name", ["adamw_8bit", "lion_8bit"])
def test_that_8_bit_optimizers_keep_8_bits_of_large_tensors(name: str) -> None:
    chosen = options(optim=name)
    model = small_model()
    optimizer = optim.make_optimizer(model, chosen)
    take(model, optimizer, chosen, range(1, 3))
    kinds = {n: t.dtype for n, t in optimizer_tensors(optimizer, optim.names_of(optimizer, model)).items()}
    assert kinds["wide.weight:state1"] == torch.uint8
    assert kinds["narrow.weight:state1"] == torch.float32


def test_that_state_of_another_model_is_refused() -> None:
    model = small_model()
    optimizer = optim.make_optimizer(model, options())
    with pytest.raises(EngineError) as caught:
        restore_optimizer(optimizer, ["a", "b", "c", "d", "e"], {"z:exp_avg": torch.zeros(1)})
    assert caught.value.code == "MODEL-07" and "z" in caught.value.message and caught.value.hint


# -- what is refused -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(("name", "way_out"), [("paged_adamw", "adamw"), ("paged_adamw_8bit", "adamw_8bit")])
def test_that_paged_optimizers_are_refused_on_a_cpu(name: str, way_out: str) -> None:
    with pytest.raises(EngineError) as caught:
        refuse(options(optim=name), "cpu")
    assert (caught.value.code, caught.value.field) == ("REC-01", "training.optim")
    assert name in caught.value.message and f"Use {way_out}," in caught.value.hint
    refuse(options(optim=name), "cuda")


@pytest.mark.parametrize("name", OF_BITSANDBYTES)
def test_that_optimizers_of_bitsandbytes_are_refused_without_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimizers, "installed", lambda library: False)
    with pytest.raises(EngineError) as caught:
        refuse(options(optim=name), "cuda")
    assert "bitsandbytes" in caught.value.message and caught.value.hint
    refuse(options(optim="muon"), "cuda")


def test_that_names_of_other_trainers_are_read() -> None:
    from engine.recipe import codec
    from engine.recipe.recipe import Recipe

    for given, own in {"adamw_torch": "adamw", "adamw_bnb_8bit": "adamw_8bit", "lion_32bit": "lion"}.items():
        assert codec.loads(f"training: {{optim: {given}}}\n").training.optim == own
        assert codec.override(Recipe(), {"training.optim": given}).training.optim == own
    assert codec.loads("training: {lr_scheduler_type: wsd}\n").training.lr_scheduler_type == (
        "warmup_stable_decay"
    )


# -- groups --------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def plain_lora(tiny_model: Path) -> Any:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    return get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", use_dora=True))


def test_that_lora_plus_groups_are_those_of_peft(plain_lora: Any) -> None:
    from peft.optimizers import create_loraplus_optimizer

    theirs = create_loraplus_optimizer(
        plain_lora, torch.optim.AdamW, lr=1e-2, loraplus_lr_ratio=16.0, loraplus_weight_decay=0.1
    )
    chosen = options(loraplus_lr_ratio=16.0, weight_decay=0.1)
    ours = optim.make_optimizer(plain_lora, chosen)

    def table(optimizer: torch.optim.Optimizer) -> dict[int, tuple[float, float]]:
        return {
            id(p): (pytest.approx(group["lr"]), group["weight_decay"])
            for group in optimizer.param_groups
            for p in group["params"]
        }

    assert table(ours) == table(theirs)
    assert sorted(group["lr"] for group in ours.param_groups) == [1e-2, 0.16]
    assert optim.set_rate(ours, chosen, 3, 100) == pytest.approx(1e-2 * 2 / 3)
    assert [g["lr"] / g["rate_ratio"] for g in ours.param_groups] == pytest.approx([1e-2 * 2 / 3] * 2)


def test_that_weight_decay_leaves_alone_what_transformers_leaves_alone(tiny_model: Path) -> None:
    from transformers import AutoModelForCausalLM, Trainer

    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    chosen = options(weight_decay=0.1)
    decayed = {id(p) for g in optim.groups_of(model, chosen) if g["weight_decay"] for p in g["params"]}
    wanted = set(Trainer.get_decay_parameter_names(None, model))
    named = dict(model.named_parameters())
    assert {name for name, p in named.items() if id(p) in decayed} == wanted & set(named)
    assert len(wanted) < len(named)


def test_that_muon_takes_inner_matrices_and_adamw_the_rest(tiny_model: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    chosen = options(optim="muon", lr_scheduler_type="constant")
    optimizer = optim.make_optimizer(model, chosen)
    ids = torch.arange(3, 40)[None]
    model(input_ids=ids, labels=ids).loss.backward()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    grads = {name: p.grad.clone() for name, p in model.named_parameters()}
    optim.set_rate(optimizer, chosen, 1, 10)
    optimizer.step()
    kept = optimizer_tensors(optimizer, optim.names_of(optimizer, model))
    outer = ("embed_tokens", "lm_head", "norm")
    for name, parameter in model.named_parameters():
        by_muon = not any(word in name for word in outer)
        assert (f"{name}:momentum_buffer" in kept) is by_muon
        assert (f"{name}:exp_avg" in kept) is not by_muon
        alone = nn.Parameter(before[name].clone())
        alone.grad = grads[name].clone()
        if by_muon:
            single = torch.optim.Muon(
                [alone], lr=1e-2, weight_decay=0.0, momentum=0.95, adjust_lr_fn="match_rms_adamw"
            )
        else:
            single = torch.optim.AdamW([alone], lr=1e-2, weight_decay=0.0)
        single.step()
        assert torch.allclose(parameter, alone, atol=1e-6)


def test_that_trained_embeddings_keep_32_bits(tiny_model: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    chosen = options(optim="adamw_8bit")
    optimizer = optim.make_optimizer(model, chosen)
    ids = torch.arange(3, 40)[None]
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    kept = optimizer_tensors(optimizer, optim.names_of(optimizer, model))
    kinds = {name.rpartition(":")[0]: t.dtype for name, t in kept.items() if name.endswith(":state1")}
    assert kinds["model.embed_tokens.weight"] == torch.float32
    assert kinds["model.layers.0.mlp.up_proj.weight"] == torch.uint8
