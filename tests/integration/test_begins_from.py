"""Runs that begin from an adapter: its answers at step 0, its end as their start, without it from then on."""

from __future__ import annotations

import ast
import hashlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.errors import EngineError
from engine.jobs.spec import read_job
from engine.models.facts import read_facts
from engine.plan.adapter_size import trainable_parameters
from engine.recipe import codec
from engine.runs import beginnings, check, resume_gate, script, store
from engine.runtime import begun, train
from engine.runtime.methods import portable
from engine.verbs import starts
from tests.integration.conftest import MakeRun, MakeTraining, events_of, losses
from tests.integration.conftest import run_to_end as run_in_a_new_process
from tests.integration.method_runs import live_logits, logits_of, plain, take_up
from tests.integration.warm import run_to_end

KINDS: dict[str, dict[str, Any]] = {
    "lora": {"adapter__r": 4, "adapter__rank_pattern": {"q_proj": 2}, "adapter__use_rslora": True},
    "dora": {"adapter__r": 4, "adapter__use_dora": True, "adapter__modules_to_save": ["norm"]},
    "tied": {
        "adapter__r": 4,
        "adapter__target_modules": "query",
        "adapter__modules_to_save": ["embed_tokens"],
    },
    "pissa": {"adapter__r": 4, "adapter__init_lora_weights": "pissa"},
    "adalora": {"adapter__r": 4, "adapter__method": "adalora", "training__max_steps": 6},
    "vera": {"adapter__method": "vera", "training__seed": 7},
    "ia3": {"adapter__method": "ia3"},
    "oft": {"adapter__method": "oft", "adapter__oft_block_size": 16},
}


def saved(run: Any, folder: Path) -> Path:
    """Write the adapter of a run as a save holds it."""
    tensors, config, _ = portable.saved_form(run.model)
    folder.mkdir()
    config.save_pretrained(folder)
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_that_a_run_begins_with_the_values_and_answers_of_its_adapter(
    make_training: MakeTraining, tiny_model: Path, tmp_path: Path, kind: str
) -> None:
    first = make_training(**{"adapter__r": 16, **KINDS[kind]})
    for _ in range(2):
        train.take_step(first)
    folder = saved(first, tmp_path / kind)
    usual = {"training__max_steps": 6} if kind == "adalora" else {}
    again = make_training(adapter__path=str(folder), **usual)
    assert float((live_logits(again) - logits_of(plain(tiny_model, folder))).abs().max()) < 1e-5
    trained = sum(p.numel() for p in again.model.parameters() if p.requires_grad)
    assert trained == trainable_parameters(read_facts(tiny_model), again.recipe.adapter)
    assert not again.optimizer.state_dict()["state"] and again.step == 0
    kept, now = load_file(folder / "adapter_model.safetensors"), portable.saved_form(again.model)[0]
    assert kept.keys() == now.keys() and all(torch.equal(kept[name], now[name]) for name in kept)


def test_that_a_quantised_base_begins_from_it_too(
    make_training: MakeTraining, tiny_model: Path, tmp_path: Path
) -> None:
    folder = saved(make_training(adapter__r=4), tmp_path / "four")
    again = make_training(adapter__path=str(folder), model__load_in_4bit=True)
    assert {p.dtype for p in again.model.parameters() if p.requires_grad} == {torch.float32}
    kept, now = load_file(folder / "adapter_model.safetensors"), portable.saved_form(again.model)[0]
    assert all(torch.equal(kept[name], now[name]) for name in kept)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {"place": tmp_path_factory.mktemp("two")}


@pytest.fixture
def pair(make_run: MakeRun, two: dict[str, Path]) -> tuple[Path, Path]:
    """Return copies of a finished run and of one that began from it, in a process of its own."""
    place = two["place"]
    if "second" not in two:
        options = {"adapter__lora_dropout": 0.0, "training__num_train_epochs": 3}
        one = make_run(adapter__r=4, adapter__target_modules=["q_proj", "v_proj"], **options)
        assert run_to_end(one) == "finished"
        two["first"] = Path(shutil.move(one, place / "first"))
        second = make_run(adapter__path=str(place / "first"), training__max_steps=12, **options)
        assert run_in_a_new_process(second) == "finished"
        two["second"] = Path(shutil.move(second, place / "second"))
    return two["first"], two["second"]


def test_that_it_goes_on_where_the_adapter_ended_and_says_from_what(
    pair: tuple[Path, Path], tiny_model: Path
) -> None:
    one, other = pair
    before, after = losses(one), losses(other)
    assert abs(after[1] - before[max(before)]) < 0.1 * before[1] and after[1] < before[1] - 0.1
    values = (one / "adapter" / "adapter_model.safetensors").read_bytes()
    kept = beginnings.recorded(read_job(other).arguments)
    assert kept["path"] == str(one / "adapter")
    digest = hashlib.sha256(values).hexdigest()
    assert beginnings.digest(read_job(other).arguments) == digest
    assert digest in (other / "adapter" / "README.md").read_text()
    said = store.load_recipe(other).adapter
    assert (said.r, said.target_modules, said.path) == (4, ["q_proj", "v_proj"], str(one / "adapter"))
    effects = [e for e in events_of(other) if e.type == "effect_measured"]
    assert effects and all(e.beside == "adapter" for e in effects)
    assert logits_of(plain(tiny_model, other / "adapter")).isfinite().all()


def test_that_the_script_of_such_a_run_compares_the_adapter_and_begins_from_it(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    one, other = pair
    script.write_script(other, tmp_path / "train.py", check=False)
    text = (tmp_path / "train.py").read_text()
    said = {}
    for line in ast.parse(text).body:
        if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
            said[line.targets[0].id] = getattr(line.value, "value", None)
    assert said["BEGINS_FROM"] == str(one / "adapter") and "set_peft_model_state_dict(model, values)" in text
    assert said["BEGINS_FROM_SHA256"] == beginnings.digest(read_job(other).arguments)


def test_that_its_own_saves_go_on_without_the_adapter_and_a_start_needs_it(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    one, other = pair
    run = tmp_path / "run"
    shutil.copytree(other, run)
    shutil.rmtree(run / "adapter")
    for note in run.glob("exit*.json"):
        note.unlink()
    weights = one / "adapter" / "adapter_model.safetensors"
    aside = weights.read_bytes()
    weights.write_bytes(aside[:-1] + bytes([aside[-1] ^ 1]))
    try:
        assert not [f for f in resume_gate.examine(run).findings if f.code == "REC-01"]
        went_on = take_up(run, 6)
        saves = check.checkpoint_folders(run)
        held = load_file(next(p for p in saves if check.step_of(p) == 6) / "adapter_model.safetensors")
        now = portable.adapter_tensors(went_on.model)
        assert all(torch.equal(held[name], now[name]) for name in held)
        shutil.rmtree(run / "checkpoints")
        found = next(f for f in resume_gate.examine(run).findings if f.code == "REC-01")
        assert "adapter_model.safetensors changed" in found.message and not found.way_on
        job: Any = SimpleNamespace(spec=read_job(run))
        with pytest.raises(EngineError, match="REC-01"):
            begun.read(job, store.load_recipe(run), resumed=False)
        weights.unlink()
        assert "is gone" in next(f for f in resume_gate.examine(run).findings if f.code == "REC-01").message
    finally:
        weights.write_bytes(aside)


def test_that_another_base_than_the_adapters_is_asked_for(
    pair: tuple[Path, Path], tiny_model: Path, tmp_path: Path
) -> None:
    one, other = pair
    recipe = store.load_recipe(other)
    starts.ask_base(recipe, anyway=False)
    shutil.copytree(tiny_model, tmp_path / "base")
    weights = load_file(tmp_path / "base" / "model.safetensors")
    weights["model.norm.weight"] += 1
    save_file(weights, tmp_path / "base" / "model.safetensors", metadata={"format": "pt"})
    moved = codec.override(recipe, {"model.path": str(tmp_path / "base")})
    with pytest.raises(EngineError, match="MODEL-08") as asked:
        starts.ask_base(moved, anyway=False)
    assert "--anyway" in asked.value.hint
    starts.ask_base(moved, anyway=True)


def test_that_what_is_no_adapter_of_this_base_is_refused_before_a_run_is_made(
    make_run: MakeRun, tiny_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(EngineError, match="RUN-03") as nowhere:
        make_run(adapter__path="nowhere")
    assert nowhere.value.field == "adapter.path"
    (tmp_path / "wide").mkdir()
    name = "base_model.model.model.layers.0.self_attn.q_proj"
    pair = {f"{name}.lora_A.weight": torch.ones(2, 8), f"{name}.lora_B.weight": torch.ones(8, 2)}
    save_file(pair, tmp_path / "wide" / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 2, "target_modules": "(a+)+$", "megatron_core": "megatron.evil"}
    (tmp_path / "wide" / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(EngineError, match="MODEL-07"):
        make_run(adapter__path=str(tmp_path / "wide"))
