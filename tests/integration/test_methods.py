"""Every method in a real child: it trains, opens in plain peft on the plain base and merges to the same
logits, and going on from one of its saves gives the very same weights."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from engine.errors import EngineError
from engine.jobs.spec import read_job
from engine.models.facts import read_facts
from engine.models.library import resolve_model
from engine.plan.adapter_size import trainable_parameters
from engine.runs import check, store
from engine.runs.event_log import EventWriter
from engine.runtime import keep, start, train
from engine.runtime.control import Control
from engine.runtime.fused import blocks
from engine.runtime.job import Job, Requests
from engine.runtime.methods import portable
from engine.runtime.training import Training
from engine.runtime.vitals import Vitals
from tests.integration.conftest import MakeRun, MakeTraining, events_of, losses, run_to_end

STEPS = 8
SHORT: dict[str, Any] = {
    "data__validation_split": 0.0,
    "training__max_steps": STEPS,
    "checkpoint__save_steps": 2,
    "checkpoint__save_total_limit": 10,
    "adapter__r": 4,
}
PATTERNS = {"rank_pattern": {"layers.1.self_attn.q_proj": 2, "mlp": 3}, "alpha_pattern": {"down": 5}}
METHODS: dict[str, dict[str, Any]] = {
    "lora": {},
    "dora": {"use_dora": True},
    "rank-stabilised": {"use_rslora": True},
    "pissa": {"init_lora_weights": "pissa"},
    "olora": {"init_lora_weights": "olora"},
    "pissa, all at once": {"init_lora_weights": "pissa", "use_dora": True, "use_rslora": True, **PATTERNS},
    "eva": {"init_lora_weights": "eva", **PATTERNS},
    "adalora": {"method": "adalora"},
    "vera": {"method": "vera"},
    "ia3": {"method": "ia3"},
    "oft": {"method": "oft", "oft_block_size": 8},
    "groups and layers": {"target_modules": ["query", "mlp"], "layers_to_transform": [1], **PATTERNS},
    "whole modules": {"modules_to_save": ["norm", "input_layernorm"]},
    "whole head": {"modules_to_save": ["lm_head"]},
}
METHODS["groups and layers"]["rank_pattern"] = {"mlp": 3}
NO_RANK = ("ia3", "oft", "full")


def options_of(adapter: dict[str, Any], **others: Any) -> dict[str, Any]:
    found = {**SHORT, **{f"adapter__{name}": value for name, value in adapter.items()}, **others}
    if adapter.get("method") in NO_RANK:
        del found["adapter__r"]
    if adapter.get("method") in ("adalora", "vera", "ia3", "oft"):  # few numbers, large steps
        found["training__learning_rate"] = 3e-2
    return found


def take_up(folder: Path, step: int) -> Training:
    """Load a run in this process as a resume from the save of `step` does."""
    writer = EventWriter(folder)
    job = Job(folder, read_job(folder), writer, Requests(Control(folder)), Vitals(writer))
    job.resume_from = folder / "checkpoints" / f"step-{step:08d}"
    recipe = store.load_recipe(folder)
    model = resolve_model(recipe.model.path)
    data = start.read_data(job, recipe, model)
    run = start.load_model(job, start.settle(job, recipe, model, data), model, data, job.resume_from)
    keep.ready(run, job.resume_from)
    run.model.train()
    return run


IDS = torch.arange(3, 60)[None]


@torch.no_grad()
def logits_of(model: Any) -> Tensor:
    result: Tensor = model.eval()(input_ids=IDS).logits.float()
    return result


def live_logits(run: Training) -> Tensor:
    return logits_of(run.base)


def plain(base: Path, folder: Path) -> Any:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder)


def trained_values(run: Training) -> dict[str, Tensor]:
    found = {n: p.detach().clone() for n, p in run.model.named_parameters() if p.requires_grad}
    for name, entry in run.optimizer.state_dict()["state"].items():
        found.update({f"{name}:{k}": v.clone() for k, v in entry.items() if isinstance(v, Tensor)})
    return found


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


def assert_exact(folder: Path, step: int) -> Tensor:
    """Go on from `step` to the end: the same numbers as the child's; return the logits of the end."""
    ended, again = take_up(folder, STEPS), take_up(folder, step)
    for _ in range(step, STEPS):
        train.take_step(again)
    assert same(trained_values(again), trained_values(ended))
    assert torch.equal(live_logits(again), live_logits(ended))
    return live_logits(ended)


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
    assert check.check_run(folder) == []
    loaded = next(e for e in events_of(folder) if e.type == "model_loaded")
    assert loaded.trainable_parameters == read_facts(tiny_model).parameters
    weights = folder / "checkpoints" / f"step-{STEPS:08d}" / "model" / "model.safetensors"
    with open(weights, "r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    assert [d.path for d in check.check_run(folder)] == [f"checkpoints/step-{STEPS:08d}"]


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


# -- biases: a family that has them -------------------------------------------------------------------------
FAMILY = """
import sys, shutil, pathlib, torch, transformers as t
tiny, out = map(pathlib.Path, sys.argv[1:])
torch.manual_seed(0)
small = dict(vocab_size=512, eos_token_id=2, bos_token_id=1, pad_token_id=0)
for name, config in {
    "qwen": t.Qwen2Config(**small, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                          num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512),
    "gpt2": t.GPT2Config(**small, n_embd=32, n_layer=2, n_head=4, n_positions=512),
}.items():
    model = t.AutoModelForCausalLM.from_config(config)
    for key, parameter in model.named_parameters():
        if key.endswith("bias"):
            parameter.data.normal_(std=0.02)
    model.save_pretrained(out / name)
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if (tiny / file).exists():
            shutil.copy(tiny / file, out / name / file)
"""


@cache
def _families(tiny: Path, out: Path) -> Path:
    subprocess.run([sys.executable, "-c", FAMILY, str(tiny), str(out)], check=True, capture_output=True)
    return out


@pytest.fixture(scope="session")
def families(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of small models of other families: qwen has biases, gpt2 turned layers."""
    return _families(tiny_model, tmp_path_factory.mktemp("families"))


@pytest.mark.parametrize(
    ("family", "adapter"),
    [
        ("qwen", {"bias": "all"}),
        ("qwen", {"bias": "lora_only", "target_modules": "attention"}),
        ("qwen", {"bias": "lora_only", "method": "vera", "target_modules": "attention"}),
        ("gpt2", {"init_lora_weights": "pissa", "target_modules": ["attention", "down"]}),
        ("gpt2", {"init_lora_weights": "eva"}),
        ("gpt2", {"method": "ia3"}),
    ],
)
def test_that_other_families_train_biases_and_turned_layers(
    make_run: MakeRun, families: Path, family: str, adapter: dict[str, Any]
) -> None:
    from tests.integration.attempts import attempt

    folder = make_run(**options_of(adapter), model__path=str(families / family))
    attempt(folder)
    loaded = next(e for e in events_of(folder) if e.type == "model_loaded")
    recipe = store.load_recipe(folder)
    assert loaded.trainable_parameters == trainable_parameters(read_facts(families / family), recipe.adapter)
    live = assert_exact(folder, 4)
    opened = plain(families / family, folder / "adapter")
    if adapter.get("bias"):
        moved = load_file(folder / "adapter" / "adapter_model.safetensors")
        base = load_file(families / family / "model.safetensors")
        key = next(n for n in moved if n.endswith("q_proj.base_layer.bias"))
        plain_key = key.removeprefix("base_model.model.").replace("base_layer.", "")
        assert not torch.equal(moved[key], base[plain_key])
    assert float((logits_of(opened) - live).abs().max()) < 1e-5
    assert float((logits_of(opened.merge_and_unload()) - live).abs().max()) < 1e-4


# -- what is refused, by name --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("adapter", "others", "field"),
    [
        ({"use_dora": True, "method": "ia3"}, {}, "adapter.use_dora"),
        ({"method": "vera", "lora_alpha": 9}, {}, "adapter.lora_alpha"),
        ({"target_r": 4}, {}, "adapter.target_r"),
        ({"oft_block_size": 4}, {}, "adapter.oft_block_size"),
        ({"method": "oft", "lora_dropout": 0.2}, {}, "adapter.lora_dropout"),
        ({"method": "full"}, {"model__load_in_4bit": True}, "adapter.method"),
        ({"method": "full"}, {"model__dtype": "bfloat16"}, "model.dtype"),
        ({"init_lora_weights": "pissa"}, {"model__load_in_4bit": True}, "adapter.init_lora_weights"),
        ({"use_dora": True}, {"model__load_in_8bit": True}, "adapter.use_dora"),
        ({}, {"model__load_in_8bit": True, "model__load_in_4bit": True}, "model.load_in_8bit"),
    ],
)
def test_that_options_that_do_not_go_together_are_refused_before_a_run_is_made(
    make_run: MakeRun, adapter: dict[str, Any], others: dict[str, Any], field: str
) -> None:
    with pytest.raises(EngineError) as caught:
        make_run(**options_of(adapter), **others)
    assert (caught.value.code, caught.value.field) == ("REC-01", field)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("adapter", "field", "word"),
    [
        ({"target_modules": ["q_proj", "nonsense"]}, "target_modules", "nonsense"),
        ({"target_modules": ["(a+)+$"]}, "target_modules", "name of a module"),
        ({"layers_to_transform": [0, 9]}, "layers_to_transform", "9"),
        ({"rank_pattern": {"nonsense": 4}}, "rank_pattern", "nonsense"),
        ({"target_modules": "attention", "alpha_pattern": {"mlp": 4}}, "alpha_pattern", "mlp"),
        ({"modules_to_save": ["nonsense"]}, "modules_to_save", "nonsense"),
        ({"method": "ia3", "modules_to_save": ["lm_head"]}, "modules_to_save", "share"),
        ({"init_lora_weights": "pissa", "r": 500}, "r", "500"),
        ({"init_lora_weights": "pissa", "target_modules": ["head"]}, "target_modules", "embedding"),
        ({"init_lora_weights": "eva", "r": 100}, "init_lora_weights", "100"),
        ({"bias": "all"}, "bias", "no biases"),
    ],
)
def test_that_what_the_model_cannot_do_is_refused_by_name(
    make_training: MakeTraining, adapter: dict[str, Any], field: str, word: str
) -> None:
    with pytest.raises(EngineError) as caught:
        make_training(**options_of(adapter))
    assert (caught.value.code, caught.value.field) == ("REC-01", f"adapter.{field}")
    assert word in caught.value.message and caught.value.hint


def test_that_adalora_refuses_a_run_too_short_to_prune(make_training: MakeTraining) -> None:
    with pytest.raises(EngineError) as caught:
        make_training(**{**options_of({"method": "adalora"}), "training__max_steps": 2})
    assert caught.value.field == "adapter.method"


# -- each option has its effect ------------------------------------------------------------------------------
EFFECTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "target_r": ({"method": "adalora"}, {"method": "adalora", "target_r": 2}),
    "adalora's rank": ({"method": "adalora"}, {"method": "adalora", "r": 2}),
    "vera's rank": ({"method": "vera"}, {"method": "vera", "r": 8}),
    "vera's dropout": ({"method": "vera"}, {"method": "vera", "lora_dropout": 0.5}),
    "oft_block_size": ({"method": "oft", "oft_block_size": 8}, {"method": "oft", "oft_block_size": 16}),
    "bias": ({}, {"bias": "all"}),
    "modules_to_save": ({}, {"modules_to_save": ["norm"]}),
    "use_dora": ({}, {"use_dora": True}),
    "init pissa": ({}, {"init_lora_weights": "pissa"}),
    "init olora": ({"init_lora_weights": "pissa"}, {"init_lora_weights": "olora"}),
    "init eva": ({}, {"init_lora_weights": "eva"}),
    "target group": ({"target_modules": "attention"}, {"target_modules": "mlp"}),
    "rank of a layer": ({}, {"rank_pattern": {"layers.0.self_attn.q_proj": 2}}),
    "alpha of a group": ({}, {"alpha_pattern": {"attention": 99}}),
}


@pytest.mark.parametrize("name", EFFECTS)
def test_that_an_option_of_a_method_changes_what_is_trained(
    make_training: MakeTraining, families: Path, name: str
) -> None:
    base = {"model__path": str(families / "qwen")} if name == "bias" else {}
    told = []
    for adapter in EFFECTS[name]:
        run = make_training(**{**options_of(adapter), "training__learning_rate": 1e-2, **base})
        for _ in range(3):
            train.take_step(run)
        told.append([v for v in losses(run.job.folder).values()])
    assert told[0] != told[1]


def test_that_eva_begins_with_the_directions_of_the_inputs(
    make_training: MakeTraining, tiny_model: Path
) -> None:
    from transformers import AutoModelForCausalLM

    from engine.runtime.batches import collate

    run = make_training(**options_of({"init_lora_weights": "eva"}))
    base = AutoModelForCausalLM.from_pretrained(tiny_model).eval()
    place, seen = "model.layers.1.mlp.down_proj", list[Tensor]()
    base.get_submodule(place).register_forward_pre_hook(lambda m, x: seen.append(x[0][0]))
    rows = []
    with torch.no_grad():
        for example in run.data.train:
            batch = collate([example], torch.device("cpu"), flat=False)
            base(input_ids=batch.input_ids)
            rows.append(seen.pop()[batch.where])
    inputs = torch.cat(rows)
    directions = torch.linalg.svd(inputs - inputs.mean(0), full_matrices=False).Vh[:4]
    layer = run.base.get_submodule(place)
    a = layer.lora_A["default"].weight.detach()
    assert float((directions @ a.T).norm() ** 2 / 4) > 0.9  # they span the same space
    assert bool((layer.lora_B["default"].weight == 0).all())


def test_that_pissa_leaves_the_start_unchanged_and_takes_the_largest_part(
    make_training: MakeTraining, tiny_model: Path
) -> None:
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    run = make_training(**options_of({"init_lora_weights": "pissa"}))
    assert float((live_logits(run) - logits_of(base)).abs().max()) < 1e-5
    for _ in range(2):
        train.take_step(run)
    moved = live_logits(run)
    with portable.untouched(run.model):  # what the samples of the untouched base are answered with
        assert float((live_logits(run) - logits_of(base)).abs().max()) < 1e-5
    assert torch.equal(live_logits(run), moved) and not torch.allclose(moved, logits_of(base), atol=1e-3)
    whole = base.model.layers[0].self_attn.q_proj.weight.detach()
    rest = run.base.model.layers[0].self_attn.q_proj.base_layer.weight.detach()
    expected = torch.linalg.svdvals(whole)[4]
    assert float(torch.linalg.svdvals(rest)[0]) == pytest.approx(float(expected), rel=1e-4)


def test_that_the_fused_product_is_kept_to_plain_layers(make_training: MakeTraining, families: Path) -> None:
    def fused(**adapter: Any) -> int:
        run = make_training(**options_of(adapter), model__path=str(families / "qwen"))
        return sum(len(product.layers) for product in blocks.products_of(run.model))

    assert fused() == 14 and fused(init_lora_weights="pissa") == 14
    assert fused(use_dora=True) == 0 and fused(bias="all") == 0


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


# -- counts --------------------------------------------------------------------------------------------------
SEVEN_B = """
import json, struct, sys, pathlib, torch, transformers as t
from accelerate import init_empty_weights
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runtime import adapter
folder = pathlib.Path(sys.argv[1])
config = t.LlamaConfig(vocab_size=32000, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32,
                       num_attention_heads=32, tie_word_embeddings=False)
config.architectures = ["LlamaForCausalLM"]
config.save_pretrained(folder)
found = []
for targets, r in (("all-linear", 8), (["all-linear", "head"], 8), (["query", "value"], 8)):
    with torch.device("meta"), init_empty_weights():
        model = t.LlamaForCausalLM(config)
    at = 0
    header = {}
    for name, p in model.named_parameters():
        header[name] = {"dtype": "F16", "shape": list(p.shape), "data_offsets": [at, at + 2 * p.numel()]}
        at += 2 * p.numel()
    recipe = codec.override(Recipe(), {"adapter.r": r, "adapter.target_modules": targets})
    with torch.device("meta"):
        wrapped = adapter.add_adapter(model, recipe)
    found.append(sum(p.numel() for p in wrapped.parameters() if p.requires_grad))
text = json.dumps(header).encode()
with open(folder / "model.safetensors", "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text)
    file.truncate(8 + len(text) + at)  # a hole: nothing is written
print(json.dumps(found))
"""


def test_that_a_llama_2_7b_trains_the_numbers_that_are_known(tmp_path: Path) -> None:
    from engine.recipe.adapter_options import AdapterOptions

    done = subprocess.run(
        [sys.executable, "-c", SEVEN_B, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    known = [19_988_480, 20_277_248, 4_194_304]
    assert json.loads(done.stdout.splitlines()[-1]) == known
    facts = read_facts(tmp_path)
    settings: list[Any] = ["all-linear", ["all-linear", "head"], ["query", "value"]]
    planned = [trainable_parameters(facts, AdapterOptions(r=8, target_modules=t)) for t in settings]
    assert planned == known


def test_that_a_save_holds_what_a_resume_needs_and_no_more(make_training: MakeTraining) -> None:
    def names(run: Training) -> set[str]:
        return set(portable.saved_form(run.model)[2])

    assert names(make_training(**options_of({}))) == set()
    assert any(n.startswith("raw:") for n in names(make_training(**options_of({"method": "adalora"}))))
