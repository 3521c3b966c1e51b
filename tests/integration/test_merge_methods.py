"""Every method's adapter, made by plain peft: loaded, merged to the same answers, shown, refused by name."""

from __future__ import annotations

import dataclasses
import json
import shutil
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from engine.errors import EngineError
from engine.models.adapter_facts import read_adapter_facts
from engine.models.fit import refuse_unready
from engine.runtime import merge_write
from engine.runtime.adapted import AdaptedModel, load_adapted
from engine.runtime.chat import answer_once
from engine.runtime.load import Compute
from engine.runtime.merge import merge_adapter
from engine.runtime.target import resolve_target
from engine.verbs import library
from tests.data.make_adapters import KINDS, REFUSED
from tests.integration.adapters import make_adapters
from tests.integration.test_merge import tensors

CPU = Compute(torch.device("cpu"), torch.float32)
# Where head and embedding share a weight and the adapter moves one of them, or each in its way, they part.
PARTED = {
    "head",
    "gpt2head",
    "headdora",
    "shardedhead",
    "embedding",
    "wholehead",
    "wholeembedding",
    "wholeboth",
}
CERTIFIED = {"dora", "adalora", "vera", "ia3", "oft", "wholeboth", "biased", "shardedhead", "gpt2dora"}
EXACT = sorted(set(KINDS) - {"bf16"})


@pytest.fixture(scope="session")
def adapters(tiny_model: Path) -> Path:
    return make_adapters(tiny_model, *KINDS, *REFUSED)


def answers(model: Any) -> Tensor:
    """Return what a model answers to the row of tokens that make_adapters.py asks with."""
    with torch.inference_mode():
        scores: Tensor = model(input_ids=torch.arange(3, 43)[None], use_cache=False).logits[0].float()
    return scores


def apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


def loaded(adapters: Path, kind: str, strength: float = 1.0) -> AdaptedModel:
    target = resolve_target(str(adapters / f"{kind}-adapter"))
    return load_adapted(target.base, target.adapter, CPU, strength)


@pytest.mark.parametrize("kind", EXACT)
def test_r20_that_a_merge_of_any_method_answers_as_peft_does_with_the_adapter(
    adapters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(merge_write, "BLOCK_VALUES", 1 << 11)  # several blocks of rows for each tensor
    peft = load_file(adapters / f"{kind}-logits.safetensors")
    certified = kind in CERTIFIED
    result = merge_adapter([adapters / f"{kind}-adapter"], tmp_path / "merged", check=certified)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    assert apart(answers(merged), peft["adapter"]) < 1e-3
    assert apart(peft["adapter"], peft["base"]) > 3e-3
    if certified:
        assert result["fidelity"]["passed"] and result["fidelity"]["max_logit_difference"] < 1e-3
    assert merged.config.tie_word_embeddings == (kind not in PARTED | {"untied"})
    assert merged.lm_head.bias is None or "gpt2" not in kind


@pytest.mark.parametrize("kind", EXACT)
def test_that_a_loaded_adapter_answers_as_in_peft_and_the_base_beside_it_as_alone(
    adapters: Path, kind: str
) -> None:
    peft = load_file(adapters / f"{kind}-logits.safetensors")
    model = loaded(adapters, kind)
    with model.speaking("adapter") as who:
        assert apart(answers(model.model), peft["adapter"]) < 1e-5
    with model.speaking("base") as base:
        assert apart(answers(model.model), peft["base"]) < 1e-6
    assert who.startswith(f"{base}+")
    model.set_strength(0.0)
    with model.speaking("adapter") as nobody:
        assert apart(answers(model.model), peft["base"]) < 1e-6
    assert nobody == base
    model.set_strength(0.5)
    with model.speaking("adapter") as half:
        between = answers(model.model)
    assert half == f"{who}*0.5"
    assert min(apart(between, peft["base"]), apart(between, peft["adapter"])) > 1e-3
    model.set_strength(1.0)
    with model.speaking("adapter"):
        assert apart(answers(model.model), peft["adapter"]) < 1e-5


@pytest.mark.parametrize(
    "kind",
    ["dora", "gpt2dora", "adalora", "gpt2adalora", "vera", "veradrawn", "gpt2vera", "ia3", "gpt2ia3"]
    + ["biasedia3", "oft", "oftranks", "oftshared", "oftexact", "oftterms", "coft"]
    + ["biased", "biasedonly", "biasedlora", "wholenorms", "pissa", "olora", "layers"],
)
def test_that_every_tensor_is_the_one_peft_makes_for_any_method(
    adapters: Path, tmp_path: Path, kind: str
) -> None:
    merge_adapter([adapters / f"{kind}-adapter"], tmp_path / "merged", check=False)
    ours, theirs = tensors(tmp_path / "merged"), tensors(adapters / f"{kind}-peft")
    base = tensors(adapters / f"{kind}-base")
    assert set(ours) == set(theirs) == set(base)
    for name, tensor in theirs.items():
        assert apart(ours[name], tensor) <= 2e-6 * max(1.0, float(tensor.abs().max())), name
    assert sum(not torch.equal(ours[name], base[name]) for name in base) >= 2


def test_that_an_adapter_on_a_bf16_base_is_added_in_float32_and_rounded_once(
    adapters: Path, tmp_path: Path
) -> None:
    exact = merge_adapter([adapters / "bf16-adapter"], tmp_path / "exact", dtype="fp32")
    merge_adapter([adapters / "bf16-adapter"], tmp_path / "rounded", check=False)
    assert exact["fidelity"]["dtype"] == "float32" and exact["fidelity"]["max_logit_difference"] < 1e-3
    for name, tensor in tensors(tmp_path / "exact").items():
        assert torch.equal(tensors(tmp_path / "rounded")[name], tensor.to(torch.bfloat16)), name


@pytest.mark.parametrize("kind", ["dora", "adalora", "vera", "ia3", "oft", "wholeboth"])
def test_that_any_method_can_be_chatted_with_beside_its_base(adapters: Path, kind: str) -> None:
    told = answer_once(
        str(adapters / f"{kind}-adapter"), "Hello", compare_base=True, max_new_tokens=6, device="cpu"
    )
    base, adapter = told["replies"]
    alone = answer_once(str(adapters / f"{kind}-base"), "Hello", max_new_tokens=6, device="cpu")
    assert base["text"] == alone["replies"][0]["text"]
    assert base["fingerprint"] == alone["replies"][0]["fingerprint"] != adapter["fingerprint"]


@pytest.mark.parametrize(
    ("kind", "label", "parameters"),
    [
        ("plain", "LoRA r4", 4 * 2 * (2 * 128 + 2 * 96 + 3 * 192)),
        ("dora", "DoRA r4", 4 * 2 * (2 * 128 + 2 * 96 + 3 * 192) + 2 * (64 + 32 + 32 + 64 + 128 + 128 + 64)),
        ("patterns", "LoRA r2-7", None),
        ("adalora", "AdaLoRA r0-4", None),
        ("vera", "VeRA r16", 2 * (7 * 16 + 64 + 32 + 32 + 64 + 128 + 128 + 64)),
        ("ia3", "IA3", 2 * (32 + 32 + 128)),
        ("oft", "OFT, blocks of 16", 2 * 120 * (6 * 4 + 8)),
        ("wholenorms", "LoRA r4", 4 * 2 * (2 * 128 + 2 * 96 + 3 * 192) + 3 * 64),
    ],
)
def test_that_an_adapter_is_shown_with_its_method_and_what_it_trains(
    adapters: Path, kind: str, label: str, parameters: int | None
) -> None:
    shown = library.adapters_show(Namespace(path=str(adapters / f"{kind}-adapter")))["adapters"][0]
    json.dumps(shown)
    assert shown["label"] == label and shown["unready"] == ""
    if parameters is not None:
        assert shown["trainable_parameters"] == parameters
    assert not shown["dropped_fields"]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("tokens", "trainable_token_indices"),
        ("rawpissa", "init_lora_weights = pissa"),
        ("rawolora", "init_lora_weights = olora"),
        ("alora", "alora_invocation_tokens"),
        ("parameters", "target_parameters"),
        ("alphas", "alpha_pattern"),
        ("oftembedding", "embed_tokens"),
        ("loha", "LOHA"),
    ],
)
def test_that_an_adapter_that_would_answer_as_another_model_is_refused_by_name(
    adapters: Path, tmp_path: Path, kind: str, words: str
) -> None:
    folder = adapters / f"{kind}-adapter"
    for use in (lambda: merge_adapter([folder], tmp_path / "merged"), lambda: resolve_target(str(folder))):
        with pytest.raises(EngineError, match=words) as told:
            use()
        assert told.value.code == "MODEL-05" and told.value.hint
    assert not (tmp_path / "merged").exists()
    if kind != "loha":
        assert words in read_adapter_facts(folder).unready


@pytest.mark.parametrize(
    "field", ["use_qalora", "layer_replication", "use_bdlora", "arrow_config", "kasa_config"]
)
def test_that_fields_which_change_what_is_computed_are_refused_by_name(
    adapters: Path, tmp_path: Path, field: str
) -> None:
    changed = copied(adapters, "plain", tmp_path, **{field: [[0, 1]]})
    with pytest.raises(EngineError, match=field):
        refuse_unready(read_adapter_facts(changed))


def copied(adapters: Path, kind: str, out: Path, **config: Any) -> Path:
    """Copy an adapter and set fields of its configuration."""
    folder = out / "changed"
    shutil.copytree(adapters / f"{kind}-adapter", folder)
    values = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**values, **config}))
    return folder


Q0 = "base_model.model.model.layers.0.self_attn.q_proj"
Change = Callable[[dict[str, Tensor]], Any]


def put(name: str, *shape: int, dtype: torch.dtype = torch.float32) -> Change:
    return lambda held: held.__setitem__(name, torch.zeros(shape, dtype=dtype))


def drop(name: str) -> Change:
    return lambda held: held.pop(name)


@pytest.mark.parametrize(
    ("kind", "change", "code", "words"),
    [
        ("plain", drop(f"{Q0}.lora_A.weight"), "MODEL-02", "lacks lora_A"),
        ("plain", put(f"{Q0}.lora_A.weight", 5, 64), "MODEL-02", "do not fit"),
        ("plain", put(f"{Q0}.lora_E", 4, 1), "MODEL-02", "which this method has not"),
        ("plain", put(f"{Q0}.lora_A.weight", 4, 64, dtype=torch.int32), "MODEL-02", "I32"),
        ("plain", put("base_model.model.model.norm.weight", 63), "MODEL-07", "norm"),
        ("plain", put("base_model.model.model.nowhere.weight", 64), "MODEL-07", "nowhere"),
        ("plain", put("base_model.model.lm_head.weight", 9, 64), "MODEL-07", "lm_head"),
        ("dora", put(f"{Q0}.lora_magnitude_vector", 63), "MODEL-02", "magnitude"),
        ("adalora", drop(f"{Q0}.lora_E"), "MODEL-02", "lacks lora_E"),
        ("adalora", put(f"{Q0}.lora_E", 9, 1), "MODEL-02", "singular values"),
        ("vera", put("base_model.vera_A", 16, 63), "MODEL-07", "vera_A"),
        ("vera", put(f"{Q0}.vera_lambda_d", 17), "MODEL-07", "several ranks"),
        ("vera", put(f"{Q0}.vera_lambda_b", 63), "MODEL-07", "q_proj"),
        ("vera", drop(f"{Q0}.vera_lambda_b"), "MODEL-02", "vera_lambda_b"),
        ("ia3", put(f"{Q0}.ia3_l", 3, 5), "MODEL-02", "no vector"),
        ("ia3", put(f"{Q0}.ia3_l", 63, 1), "MODEL-07", "q_proj"),
        ("oft", put(f"{Q0}.oft_R.weight", 4, 121), "MODEL-02", "square blocks"),
        ("oft", put(f"{Q0}.oft_R.weight", 5, 120), "MODEL-07", "q_proj"),
        ("oft", put(f"{Q0}.oft_R.weight", 8, 28), "MODEL-07", "does not fit"),
        ("oftshared", put(f"{Q0}.oft_R.weight", 1, 171), "MODEL-07", "do not divide"),
        ("headdora", put("base_model.model.model.embed_tokens.lora_embedding_A", 4, 99), "MODEL-07", "embed"),
    ],
)
def test_that_a_damaged_or_foreign_adapter_is_told_by_name_and_nothing_is_written(
    adapters: Path, tmp_path: Path, kind: str, change: Change, code: str, words: str
) -> None:
    folder = copied(adapters, kind, tmp_path)
    held = load_file(folder / "adapter_model.safetensors")
    change(held)
    save_file(held, folder / "adapter_model.safetensors")

    def use() -> None:
        target = resolve_target(str(folder))
        load_adapted(target.base, target.adapter, CPU)

    with pytest.raises(EngineError, match=words) as told:
        use()
    assert told.value.code == code
    with pytest.raises(EngineError):
        merge_adapter([folder], tmp_path / "merged")


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("adalora", {"init_r": 2}),
        ("adalora", {"init_r": "six"}),
        ("adalora", {"init_r": 10**9}),
        ("oft", {"oft_block_size": -1}),
        ("oft", {"r": 4, "oft_block_size": 16}),
        ("oft", {"num_cayley_neumann_terms": 10**6}),
        ("coft", {"eps": "small"}),
        ("veradrawn", {"projection_prng_key": "seven"}),
        ("plain", {"lora_alpha": None}),
    ],
)
def test_that_impossible_numbers_in_a_configuration_are_refused(
    adapters: Path, tmp_path: Path, kind: str, config: dict[str, Any]
) -> None:
    with pytest.raises(EngineError) as told:
        read_adapter_facts(copied(adapters, kind, tmp_path, **config))
    assert told.value.code == "MODEL-05"


def test_that_a_bias_the_base_has_not_is_refused_in_a_merge_and_answers_in_a_chat(
    adapters: Path, tmp_path: Path
) -> None:
    folder = copied(adapters, "biasedlora", tmp_path, base_model_name_or_path=str(adapters / "plain-base"))
    with pytest.raises(EngineError, match="no bias there") as told:
        merge_adapter([folder], tmp_path / "merged")
    assert told.value.code == "MODEL-05" and not (tmp_path / "merged").exists()
    told_once = answer_once(str(folder), "Hello", max_new_tokens=3, device="cpu")
    assert "+" in told_once["replies"][0]["fingerprint"]


def test_that_values_beyond_the_type_are_refused(adapters: Path, tmp_path: Path) -> None:
    folder = copied(adapters, "plain", tmp_path, lora_alpha=1 << 20)
    with pytest.raises(EngineError, match="float16 holds") as told:
        merge_adapter([folder], tmp_path / "merged", dtype="fp16")
    assert told.value.code == "MODEL-05" and not (tmp_path / "merged").exists()


def test_that_the_numbers_of_a_formula_are_heard(adapters: Path, tmp_path: Path) -> None:
    """Each number of a configuration that a formula needs changes the merged weights."""
    asked: list[tuple[str, dict[str, Any]]] = [
        ("plain", {"lora_alpha": 4}),
        ("plain", {"use_rslora": True}),
        ("patterns", {"alpha_pattern": {"k_proj": 4}}),
        ("adalora", {"init_r": 8}),
        ("veradrawn", {"projection_prng_key": 8}),
        ("coft", {"eps": 0.2}),
        ("oft", {"num_cayley_neumann_terms": 3}),
        ("oft", {"use_cayley_neumann": False}),
        ("oft", {"coft": True}),
    ]
    for number, (kind, config) in enumerate(asked):
        place = tmp_path / str(number)
        folder = copied(adapters, kind, place, **config)
        merge_adapter([folder], place / "merged", check=False)
        merge_adapter([adapters / f"{kind}-adapter"], place / "plain", check=False)
        ours, theirs = tensors(place / "merged"), tensors(place / "plain")
        assert any(not torch.equal(ours[name], theirs[name]) for name in ours), (kind, config)


def test_that_the_window_reads_the_same_facts(adapters: Path) -> None:
    """What the library keeps of an adapter is plain data: equal for equal folders, and hashable."""
    for kind in ("oft", "vera", "wholeboth"):
        facts = read_adapter_facts(adapters / f"{kind}-adapter")
        assert facts == read_adapter_facts(adapters / f"{kind}-adapter")
        assert hash(facts) == hash(dataclasses.replace(facts))
