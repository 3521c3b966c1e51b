"""Options of the methods: each has its effect or is refused by name; other families; the known counts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from engine.errors import EngineError
from engine.models.facts import read_facts
from engine.plan.adapter_size import trainable_parameters
from engine.runs import store
from engine.runtime import train
from engine.runtime.fused import blocks
from engine.runtime.methods import portable
from engine.runtime.training import Training
from tests.integration.attempts import attempt
from tests.integration.conftest import MakeRun, MakeTraining, events_of, losses
from tests.integration.method_runs import (
    assert_exact,
    live_logits,
    logits_of,
    make_families,
    options_of,
    plain,
)


@pytest.fixture(scope="session")
def families(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of small models of other families: qwen has biases, gpt2 turned layers."""
    return make_families(tiny_model, tmp_path_factory.mktemp("families"))


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
