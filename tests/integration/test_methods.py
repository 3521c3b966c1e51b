"""Every method in a real child: it trains, opens in plain peft on the plain base and merges to the same
logits, and going on from one of its saves gives the very same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from engine.models.facts import read_facts
from engine.plan.adapter_size import trainable_parameters
from engine.runs import check, store
from engine.runs.fsck import fsck
from engine.runtime import keep, train
from engine.runtime.training import Training
from tests.integration.conftest import MakeRun, MakeTraining, events_of, losses
from tests.integration.method_runs import (
    METHODS,
    STEPS,
    assert_exact,
    live_logits,
    logits_of,
    options_of,
    plain,
    same,
    trained_values,
)
from tests.integration.warm import run_to_end


@pytest.mark.parametrize("name", METHODS)
def test_that_a_method_trains_opens_in_plain_peft_merges_and_goes_on(
    make_run: MakeRun, tiny_model: Path, name: str
) -> None:
    folder = make_run(**options_of(METHODS[name]))
    assert run_to_end(folder) == "finished"
    curve = losses(folder)
    assert curve[STEPS] < curve[1]
    loaded = next(e for e in events_of(folder) if e.type == "model_loaded")
    recipe = store.load_recipe(folder)
    assert loaded.trainable_parameters == trainable_parameters(read_facts(tiny_model), recipe.adapter)
    live = assert_exact(folder, 4)
    for place in (folder / "adapter", folder / "checkpoints" / f"step-{STEPS:08d}"):
        opened = plain(tiny_model, place)
        assert float((logits_of(opened) - live).abs().max()) < 1e-5
    assert float((logits_of(opened.merge_and_unload()) - live).abs().max()) < 1e-4


def test_that_adalora_prunes_to_its_mean_rank_and_goes_on_while_it_settles(
    make_run: MakeRun, tiny_model: Path
) -> None:
    folder = make_run(**options_of({"method": "adalora", "target_r": 3}))
    assert run_to_end(folder) == "finished"
    assert_exact(folder, 6)
    first, last = (load_file(p / "adapter_model.safetensors") for p in check.checkpoint_folders(folder)[::3])
    ranks = [len(t) for n, t in last.items() if "lora_E" in n]
    assert {len(t) for n, t in first.items() if "lora_E" in n} == {4}
    assert sum(ranks) <= 3 * len(ranks) and max(ranks) > min(ranks)


def test_that_adalora_keeps_its_vectors_orthogonal(make_training: MakeTraining) -> None:
    from engine.runtime.methods import adalora

    run = make_training(**options_of({"method": "adalora"}))
    weights = {n: p for n, p in run.model.named_parameters() if ".lora_A." in n or ".lora_B." in n}
    adalora.before_update(run.model)
    config = run.model.peft_config["default"]
    for name, p in weights.items():
        q = p.detach().clone().requires_grad_(True)
        product = q @ q.T if "lora_A" in name else q.T @ q
        (
            config.orth_reg_weight * torch.linalg.norm(product - torch.eye(len(product))) / len(weights)
        ).backward()
        assert torch.allclose(p.grad, q.grad, rtol=1e-4, atol=1e-8)


def test_that_a_tied_head_trains_alone_and_the_embedding_stays(make_run: MakeRun, tiny_model: Path) -> None:
    folder = make_run(**options_of({"target_modules": ["head", "q_proj"]}))
    assert run_to_end(folder) == "finished"
    live = assert_exact(folder, 4)
    opened = plain(tiny_model, folder / "adapter")
    assert float((logits_of(opened) - live).abs().max()) < 1e-5
    embedding = opened.get_base_model().get_input_embeddings().weight
    assert torch.equal(embedding, load_file(tiny_model / "model.safetensors")["model.embed_tokens.weight"])


def test_that_a_full_finetuning_leaves_a_plain_model_folder(make_run: MakeRun, tiny_model: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = make_run(**options_of({"method": "full"}, training__learning_rate=1e-3))
    assert run_to_end(folder) == "finished"
    assert losses(folder)[STEPS] < losses(folder)[1]
    live = assert_exact(folder, 4)
    model = AutoModelForCausalLM.from_pretrained(folder / "model")
    assert torch.equal(logits_of(model), live)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert AutoTokenizer.from_pretrained(folder / "model").chat_template
    assert fsck(folder).findings == ()
    loaded = next(e for e in events_of(folder) if e.type == "model_loaded")
    assert loaded.trainable_parameters == read_facts(tiny_model).parameters
    weights = folder / "checkpoints" / f"step-{STEPS:08d}" / "model" / "model.safetensors"
    with open(weights, "r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    assert [d.path for d in fsck(folder).findings] == [f"checkpoints/step-{STEPS:08d}"]


def test_that_full_finetuning_in_bf16_keeps_float32_weights(make_training: MakeTraining) -> None:
    options = options_of({"method": "full"}, training__learning_rate=1e-3)
    exact, half = make_training(**options), make_training(**options, training__precision="bf16")
    assert {p.dtype for p in half.model.parameters()} == {torch.float32}
    for _ in range(4):
        train.take_step(exact)
        train.take_step(half)
    ours, theirs = losses(half.job.folder), losses(exact.job.folder)
    assert ours != theirs
    assert all(abs(ours[s] - theirs[s]) < 2e-2 for s in theirs)


@pytest.mark.parametrize(
    "adapter",
    [{"modules_to_save": ["lm_head", "norm"]}, METHODS["dora"], METHODS["pissa"], METHODS["adalora"]],
)
def test_that_bf16_learns_as_fp32_does(make_training: MakeTraining, adapter: dict[str, Any]) -> None:
    exact = make_training(**options_of(adapter))
    half = make_training(**options_of(adapter), training__precision="bf16")
    assert {p.dtype for p in half.model.parameters() if p.requires_grad} == {torch.float32}
    count = [sum(p.numel() for p in r.model.parameters() if p.requires_grad) for r in (exact, half)]
    assert count[0] == count[1]
    for _ in range(6):
        train.take_step(exact)
        train.take_step(half)
    ours, theirs = losses(half.job.folder), losses(exact.job.folder)
    assert all(abs(ours[s] - theirs[s]) < 3e-2 for s in theirs)


QUANTISED = {
    "nf4": {"model__load_in_4bit": True},
    "fp4": {"model__load_in_4bit": True, "model__bnb_4bit_quant_type": "fp4"},
    "nf4, plain scales": {"model__load_in_4bit": True, "model__bnb_4bit_use_double_quant": False},
    "int8": {"model__load_in_8bit": True},
}


@pytest.mark.parametrize("name", QUANTISED)
def test_that_a_quantised_base_trains_on_right_gradients(make_training: MakeTraining, name: str) -> None:
    import bitsandbytes as bnb

    def gradient(run: Training) -> Tensor:
        torch.manual_seed(5)
        for key, parameter in run.model.named_parameters():
            if "lora_B" in key:
                parameter.data.normal_(std=0.02)
        train.gradients(run, 1, [[run.data.train[i] for i in rows] for rows in run.table.micro_batches(1)])
        return torch.cat([p.grad.flatten() for p in run.model.parameters() if p.grad is not None])

    run = make_training(**options_of({}), **QUANTISED[name])
    kinds = (bnb.nn.Linear4bit, bnb.nn.Linear8bitLt)
    layers = {n: m for n, m in run.base.named_modules() if isinstance(m, kinds)}
    assert len(layers) == 14
    plain_run = make_training(**options_of({}))
    for place, layer in layers.items():
        if isinstance(layer, bnb.nn.Linear8bitLt):
            weight = layer.weight.data.float() * layer.state.SCB.view(-1, 1) / 127
        else:
            weight = bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state).float()
        plain_run.base.get_submodule(place).weight.data.copy_(weight)
    expected, found = gradient(plain_run), gradient(run)
    assert float((found - expected).norm() / expected.norm()) < 0.02


@pytest.mark.parametrize(("name", "told"), [("int8", "int8"), ("fp4", "fp4")])
def test_that_a_quantised_run_learns_and_goes_on(make_run: MakeRun, name: str, told: str) -> None:
    folder = make_run(**options_of({}), **QUANTISED[name])
    assert run_to_end(folder) == "finished"
    assert losses(folder)[STEPS] < losses(folder)[1]
    assert next(e for e in events_of(folder) if e.type == "model_loaded").quantization == told
    assert_exact(folder, 4)


@pytest.mark.parametrize(
    "adapter", [METHODS["dora"], METHODS["eva"], *(METHODS[n] for n in ("vera", "ia3", "oft"))]
)
def test_that_other_methods_learn_over_four_bits(
    make_training: MakeTraining, adapter: dict[str, Any]
) -> None:
    run = make_training(**options_of(adapter), model__load_in_4bit=True)
    for _ in range(4):
        train.take_step(run)
    curve = losses(run.job.folder)
    assert curve[4] < curve[1]


@pytest.mark.parametrize(
    "adapter", [METHODS["pissa"], METHODS["eva"], METHODS["adalora"], {"method": "full"}], ids=str
)
def test_that_a_pause_makes_a_method_anew_from_its_save(
    make_training: MakeTraining, adapter: dict[str, Any]
) -> None:
    run = make_training(**options_of(adapter))
    for _ in range(4):
        train.take_step(run)
    place = keep.save(run, wait=True)
    fresh = run.reload()
    keep.ready(fresh, place)
    fresh.model.train()
    assert same(trained_values(fresh), trained_values(run))
    for each in (run, fresh):
        train.take_step(each)
    assert same(trained_values(fresh), trained_values(run))
    assert torch.equal(live_logits(fresh), live_logits(run))


# -- continued pretraining on raw text -----------------------------------------------------------------------
def test_that_raw_text_is_trained_on_every_token(make_run: MakeRun, tmp_path: Path, tiny_model: Path) -> None:
    text = tmp_path / "book.txt"
    line = "The quick brown fox jumps over the lazy dog, then it sleeps in the sun. "
    text.write_text("\n\n".join(line * 3 for _ in range(40)))
    folder = make_run(
        **options_of({"modules_to_save": ["embed_tokens", "lm_head"]}),
        data__train=[str(text)],
        data__format="text",
        data__max_length=64,
    )
    assert run_to_end(folder) == "finished"
    prepared = next(e for e in events_of(folder) if e.type == "data_prepared")
    assert prepared.supervised_tokens >= prepared.tokens - prepared.train_examples
    curve = losses(folder)
    assert curve[STEPS] < curve[1] - 0.2
    live = assert_exact(folder, 4)
    assert float((logits_of(plain(tiny_model, folder / "adapter")) - live).abs().max()) < 1e-5
