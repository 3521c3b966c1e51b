"""What an adapter settles of a recipe: told from names and shapes, refused by field where it clashes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.advice.advise import advise
from engine.advice.situation import Situation
from engine.errors import EngineError
from engine.models.adapter_facts import AdapterFacts, read_adapter_facts
from engine.models.facts import ModelFacts, read_facts
from engine.plan.adapter_size import adapted_linears, trainable_parameters
from engine.plan.taken import take_over
from engine.recipe import codec
from engine.recipe.combinations import clashes
from engine.recipe.recipe import Recipe

Shapes = dict[str, tuple[int, ...]]


@pytest.fixture(scope="module")
def base(tiny_model: Path) -> ModelFacts:
    return read_facts(tiny_model)


def lora(base: ModelFacts, ranks: dict[str, int]) -> Shapes:
    """Return the shapes of a LoRA on the modules whose names end so."""
    found: Shapes = {}
    for linear in base.linears:
        for end, r in ranks.items():
            if linear.name.endswith(end):
                found[f"{linear.name}.lora_A.weight"] = (r, linear.in_features)
                found[f"{linear.name}.lora_B.weight"] = (linear.out_features, r)
    return found


def made(folder: Path, shapes: Shapes, **config: Any) -> AdapterFacts:
    """Write an adapter of zeros and return what is read of it."""
    folder.mkdir(exist_ok=True)
    entries, end = {}, 0
    for name, shape in shapes.items():
        size = 4
        for length in shape:
            size *= length
        entries[f"base_model.model.{name}"] = ("F32", shape, (end, end + size))
        end += size
    head = {n: {"dtype": d, "shape": list(s), "data_offsets": list(o)} for n, (d, s, o) in entries.items()}
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    (folder / "adapter_model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(end))
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", **config}))
    return read_adapter_facts(folder)


def asked(**options: Any) -> Recipe:
    values = {name.replace("__", "."): value for name, value in options.items()}
    return codec.override(Recipe(), {"adapter.path": "an/adapter", **values})


def test_that_fields_at_their_default_become_the_adapters(base: ModelFacts, tmp_path: Path) -> None:
    adapter = made(tmp_path, lora(base, {"q_proj": 4, "v_proj": 4}), r=4, lora_alpha=9, use_rslora=True)
    recipe = take_over(asked(), adapter, base)
    said = recipe.adapter
    assert (said.method, said.r, said.lora_alpha, said.use_rslora) == ("lora", 4, 9, True)
    assert said.target_modules == ["q_proj", "v_proj"] and said.rank_pattern == {}
    assert trainable_parameters(base, said) == adapter.trainable_parameters
    assert take_over(recipe, adapter, base) == recipe and clashes(recipe) == []


def test_that_ranks_alphas_and_layers_are_told_module_by_module(base: ModelFacts, tmp_path: Path) -> None:
    shapes = lora(base, {"0.self_attn.q_proj": 4, "1.self_attn.q_proj": 2, "0.mlp.up_proj": 4})
    adapter = made(tmp_path, shapes, r=4, lora_alpha=45.25, alpha_pattern={"up_proj": 3})
    said = take_over(asked(), adapter, base).adapter
    assert {linear.name: r for linear, r in adapted_linears(base, said)} == {
        m.name: m.r for m in adapter.modules
    }
    assert said.lora_alpha == 45.25 and said.alpha_pattern == {
        "up_proj": 3
    }  # a converted PiSSA has fractions
    assert codec.loads(codec.dumps(asked(**{"adapter.lora_alpha": 45.25}))).adapter.lora_alpha == 45.25


def test_that_one_layer_alone_is_said_by_its_number(base: ModelFacts, tmp_path: Path) -> None:
    adapter = made(tmp_path, lora(base, {"1.self_attn.q_proj": 4}), r=4)
    said = take_over(asked(), adapter, base).adapter
    assert (said.target_modules, said.layers_to_transform) == (["q_proj"], [1])


def test_that_other_words_for_the_same_modules_stay(base: ModelFacts, tmp_path: Path) -> None:
    adapter = made(tmp_path, lora(base, {"q_proj": 4, "v_proj": 4}), r=4)
    said = take_over(asked(adapter__target_modules=["query", "value"], adapter__r=4), adapter, base).adapter
    assert said.target_modules == ["query", "value"] and said.lora_alpha == 8


@pytest.mark.parametrize(
    ("field", "value", "has"),
    [
        ("adapter.r", 8, "4"),
        ("adapter.lora_alpha", 64, "8"),
        ("adapter.method", "ia3", "lora"),
        ("adapter.target_modules", ["q_proj"], "v_proj"),
        ("adapter.layers_to_transform", [0], "None"),
        ("adapter.use_rslora", True, "False"),
        ("adapter.use_dora", True, "False"),
        ("adapter.bias", "all", "none"),
        ("adapter.modules_to_save", ["norm"], "[]"),
        ("adapter.rank_pattern", {"q_proj": 2}, "{}"),
    ],
)
def test_that_what_is_said_otherwise_is_refused_with_both_values(
    base: ModelFacts, tmp_path: Path, field: str, value: Any, has: str
) -> None:
    adapter = made(tmp_path, lora(base, {"q_proj": 4, "v_proj": 4}), r=4)
    with pytest.raises(EngineError, match="REC-01") as refused:
        take_over(asked(**{field: value}), adapter, base)
    assert refused.value.field == field and has in refused.value.message
    assert "merge the adapter" in refused.value.hint


@pytest.mark.parametrize(
    ("shapes", "config", "why"),
    [
        ({"q_proj.lora_B.bias": (64,)}, {}, "lora_bias"),
        ({"lm_head.weight": (512, 64)}, {}, "apart"),
        ({"q_proj.lora_magnitude_vector": (64,)}, {"use_dora": True}, "some of its modules are DoRA"),
    ],
)
def test_that_what_cannot_be_trained_further_is_refused_by_its_name(
    base: ModelFacts, tmp_path: Path, shapes: Shapes, config: dict[str, Any], why: str
) -> None:
    ours = lora(base, {"q_proj": 4})
    first = next(iter(ours)).removesuffix(".lora_A.weight")
    more = {n.replace("q_proj", first) if n.startswith("q_proj") else n: s for n, s in shapes.items()}
    with pytest.raises(EngineError, match="MODEL-05") as refused:
        take_over(asked(), made(tmp_path, {**ours, **more}, r=4, **config), base)
    assert why in refused.value.message and "Merge it" in refused.value.hint


def test_that_ia3_of_other_sides_and_rotations_of_another_kind_are_refused(
    base: ModelFacts, tmp_path: Path
) -> None:
    name = next(linear.name for linear in base.linears if linear.name.endswith("q_proj"))
    before = made(tmp_path / "ia3", {f"{name}.ia3_l": (1, 64)}, peft_type="IA3")
    with pytest.raises(EngineError, match="feedforward_modules"):
        take_over(asked(), before, base)
    turned = {f"{name}.oft_R.weight": (4, 120)}
    shared = made(
        tmp_path / "oft", turned, peft_type="OFT", oft_block_size=16, r=0, num_cayley_neumann_terms=3
    )
    with pytest.raises(EngineError, match="terms = 3"):
        take_over(asked(), shared, base)


def test_that_a_start_that_would_be_drawn_is_refused(base: ModelFacts) -> None:
    for start in ("pissa", "olora", "eva", "gaussian"):
        (clash,) = clashes(asked(adapter__init_lora_weights=start))
        assert clash.field == "adapter.init_lora_weights" and "adapter.path" in clash.hint
    (clash,) = clashes(asked(adapter__method="full"))
    assert clash.field == "adapter.path"


def test_that_no_advice_would_change_what_is_the_adapters(base: ModelFacts) -> None:
    odd = {"adapter.lora_alpha": 4000, "adapter.r": 8, "adapter.use_rslora": False}
    anew = codec.override(Recipe(), odd)
    assert any("adapter.lora_alpha" in finding.fix for finding in advise(Situation(anew, base)))
    begun = codec.override(anew, {"adapter.path": "an/adapter"})
    assert not any("adapter.lora_alpha" in finding.fix for finding in advise(Situation(begun, base)))
