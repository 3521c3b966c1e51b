"""What headers tell of a model and an adapter, against transformers and peft."""

from __future__ import annotations

import json
import shutil
import struct
import time
from pathlib import Path
from typing import Any

import pytest

from engine.errors import EngineError
from engine.models.adapter_facts import read_adapter_facts
from engine.models.config_keys import NEVER, is_builtin, known_keys
from engine.models.facts import read_facts
from engine.models.fit import check_fit, refuse_unready
from engine.models.gate import open_model
from engine.models.rebuilt import rebuild_config, rebuild_quantization
from tests.unit.shapes import FAMILIES, make_shapes


@pytest.mark.parametrize("family", FAMILIES)
def test_that_parameters_and_linear_modules_are_those_of_transformers_and_peft(family: str) -> None:
    folder, expected = make_shapes()
    facts = read_facts(folder / family)
    assert facts.parameters == expected[family]["parameters"]
    assert {linear.name for linear in facts.linears} == set(expected[family]["linears"])
    assert facts.layers == 3
    assert {linear.layer for linear in facts.linears} == {0, 1, 2}


def test_that_facts_of_the_tiny_model_name_its_parts(tiny_model: Path) -> None:
    facts = read_facts(tiny_model)
    assert list(facts.groups) == ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    assert (facts.tied, facts.chat_template, facts.dtype, facts.heads, facts.kv_heads) == (
        True,
        True,
        "float32",
        4,
        2,
    )


def copied(model: Path, to: Path, **config: Any) -> Path:
    """Copy a model with another config.json; None removes a key."""
    shutil.copytree(model, to)
    values = {**json.loads((to / "config.json").read_text()), **config}
    (to / "config.json").write_text(json.dumps({k: v for k, v in values.items() if v is not None}))
    return to


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({"hidden_size": 10**9}, "MODEL-05"),
        ({"num_hidden_layers": 10**6}, "MODEL-05"),
        ({"num_hidden_layers": 3}, "MODEL-02"),
        ({"hidden_size": 128}, "MODEL-05"),
        ({"hidden_size": "64"}, "MODEL-05"),
        ({"vocab_size": None}, "MODEL-05"),
        ({"auto_map": {"AutoModel": "evil.Model"}, "model_type": "evil"}, "MODEL-04"),
    ],
)
def test_m22_that_a_config_that_does_not_fit_the_weights_is_refused_before_anything_is_built(
    tiny_model: Path, tmp_path: Path, config: dict[str, Any], code: str
) -> None:
    with pytest.raises(EngineError) as told:
        read_facts(copied(tiny_model, tmp_path / "model", **config))
    assert told.value.code == code


def test_m14_that_program_files_of_a_built_in_family_are_ignored_and_named(
    tiny_model: Path, tmp_path: Path
) -> None:
    folder = copied(tiny_model, tmp_path / "model", auto_map={"AutoModel": "evil.Model"})
    (folder / "evil.py").write_text("raise SystemExit")
    facts = read_facts(folder)
    assert (facts.ignored, facts.dropped_fields) == (("evil.py",), ("auto_map",))


@pytest.mark.parametrize("inner", [{"model_type": "evil"}, {"text_config": {"model_type": "evil"}}])
def test_m14_that_a_type_that_needs_its_own_program_is_refused(
    tiny_model: Path, tmp_path: Path, inner: dict[str, Any]
) -> None:
    model = {"model_type": "gemma3", "auto_map": {"AutoModel": "evil.Model"}, **inner}
    with pytest.raises(EngineError) as told:
        open_model(copied(tiny_model, tmp_path / "model", **model))
    assert told.value.code == "MODEL-04" and "evil" in told.value.message


@pytest.mark.parametrize("model_type", ["gemma3_text", "gpt-sw3", "qwen3_moe", "deepseek_v2", "llama4_text"])
def test_m14_that_every_type_of_transformers_is_known_by_its_own_name(model_type: str) -> None:
    assert is_builtin(model_type) and not is_builtin(f"../{model_type}") and not is_builtin("auto")
    assert {"hidden_size", "rope_theta"} <= known_keys(model_type)
    assert not known_keys(model_type) & NEVER


@pytest.mark.parametrize(
    ("settings", "fits"),
    [
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, True),
        ({"quant_method": "bitsandbytes", "_load_in_4bit": True, "bnb_4bit_quant_type": "fp4"}, True),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True, "llm_int8_skip_modules": ["lm_head"]}, True),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True, "llm_int8_skip_modules": ["(a+)+$"]}, False),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "load_in_8bit": True}, False),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "evil"}, False),
        ({"quant_method": "gptq", "bits": 4}, False),
        ({"quant_method": "awq", "modules_to_not_convert": ["evil.module"]}, False),
        ({"quant_method": "quark"}, False),
        ({"quant_method": "../../evil", "load_in_4bit": True}, False),
        ("evil", False),
    ],
)
def test_m18_that_a_base_is_quantised_by_bitsandbytes_or_not_at_all(settings: Any, fits: bool) -> None:
    if fits:
        kept = {k: v for k, v in settings.items() if not k.startswith("_")}
        made = rebuild_quantization({**settings, "evil": 1})
        assert made.items() >= kept.items() and "evil" not in made
        return
    with pytest.raises(EngineError, match="quantization_config") as told:
        rebuild_config({"model_type": "llama", "quantization_config": settings})
    assert told.value.code == "MODEL-05"


def test_that_a_folder_without_config_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="config.json is missing"):
        read_facts(tmp_path)


def adapter(folder: Path, shapes: dict[str, tuple[int, int]], **config: Any) -> Path:
    """Write an adapter folder with zeros of the given shapes."""
    folder.mkdir(parents=True)
    header, at = {}, 0
    for name, shape in shapes.items():
        size = shape[0] * shape[1] * 4
        header[f"base_model.model.{name}.weight"] = {
            "dtype": "F32",
            "shape": list(shape),
            "data_offsets": [at, at + size],
        }
        at += size
    raw = json.dumps(header).encode()
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(raw)) + raw + bytes(at))
    values = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "base_model_name_or_path": "starter", **config}
    (folder / "adapter_config.json").write_text(json.dumps(values))
    return folder


def pair(module: str, r: int, inner: int, outer: int) -> dict[str, tuple[int, int]]:
    return {f"{module}.lora_A": (r, inner), f"{module}.lora_B": (outer, r)}


Q0 = "model.layers.0.self_attn.q_proj"


def test_m20_that_targets_and_ranks_come_from_the_tensors_and_patterns_are_dropped(tmp_path: Path) -> None:
    shapes = pair(Q0, 4, 64, 64) | pair("model.layers.1.mlp.up_proj", 2, 64, 128)
    began = time.perf_counter()
    facts = read_adapter_facts(
        adapter(
            tmp_path / "evil",
            shapes,
            target_modules="(a+)+$",
            exclude_modules="(b+)+$",
            alpha_pattern={"up_proj": 6, "(c+)+$": 9},
            megatron_core="megatron.evil",
            eva_config={"rho": 1},
        )
    )
    assert time.perf_counter() - began < 20  # the pattern itself would never end
    assert {m.name: (m.r, m.alpha) for m in facts.modules} == {
        Q0: (4, 16),
        "model.layers.1.mlp.up_proj": (2, 6),
    }
    assert facts.target_modules == ("q_proj", "up_proj")
    assert facts.dropped_fields == ("eva_config", "exclude_modules", "megatron_core", "target_modules")
    assert facts.trainable_parameters == 4 * 128 + 2 * 192


@pytest.mark.parametrize(
    ("shapes", "config", "code"),
    [
        (pair(Q0, 4, 64, 64), {"r": 10**9}, "MODEL-05"),
        (pair(Q0, 3000, 1, 1), {}, "MODEL-05"),
        (pair(Q0, 4, 64, 64), {"lora_alpha": "16"}, "MODEL-05"),
        (pair(Q0, 4, 64, 64), {"peft_type": "MEGATRON"}, "MODEL-05"),
        ({f"{Q0}.lora_A": (4, 64)}, {}, "MODEL-02"),
        ({f"{Q0}.lora_A": (4, 64), f"{Q0}.lora_B": (64, 5)}, {}, "MODEL-02"),
    ],
)
def test_m21_that_an_adapter_that_cannot_be_is_refused(
    tmp_path: Path, shapes: dict[str, tuple[int, int]], config: dict[str, Any], code: str
) -> None:
    with pytest.raises(EngineError) as told:
        read_adapter_facts(adapter(tmp_path / "bad", shapes, **config))
    assert told.value.code == code


@pytest.mark.parametrize(
    "config",
    [
        {"target_modules": r".*\.layers\.\d+\.self_attn\.(q|v)_proj$", "auto_mapping": None},
        {"target_modules": r"^(?!.*vision).*(?:self_attn|mlp).*(?:q_proj|up_proj)$", "r": 16},
        {
            "auto_mapping": {
                "base_model_class": "FalconForCausalLM",
                "parent_library": "transformers_modules",
            },
            "target_modules": ["query_key_value"],
        },
        {
            "target_modules": "all-linear",
            "loftq_config": {},
            "megatron_core": "megatron.core",
            "eva_config": None,
        },
        {"auto_map": {"AutoModel": "m.M"}, "rank_pattern": {r"model\.layers\.(0|1)\..*": 4}},
        {"layers_to_transform": [0, 1], "layers_pattern": "layers", "qalora_group_size": 16},
    ],
)
def test_m20_that_adapters_as_they_are_found_open(
    tiny_model: Path, tmp_path: Path, config: dict[str, Any]
) -> None:
    facts = read_adapter_facts(
        adapter(tmp_path / "real", pair(Q0, 4, 64, 64), task_type="CAUSAL_LM", **config)
    )
    refuse_unready(facts)
    check_fit(facts, read_facts(tiny_model))
    assert [(m.name, m.r) for m in facts.modules] == [(Q0, 4)]


@pytest.mark.parametrize("base", [r"\\host\share\m", "//host/share/m", "https://host/m", "smb://h/m", "a\nb"])
def test_m19_that_the_base_of_an_adapter_is_never_on_another_computer(tmp_path: Path, base: str) -> None:
    facts = read_adapter_facts(adapter(tmp_path / "far", pair(Q0, 4, 64, 64), base_model_name_or_path=base))
    assert facts.base == "" and "base_model_name_or_path" in facts.dropped_fields


@pytest.mark.parametrize("module", [pair(Q0, 4, 32, 64), pair("model.layers.9.self_attn.q_proj", 4, 64, 64)])
def test_m19_that_an_adapter_of_another_base_is_told_by_name(
    tiny_model: Path, tmp_path: Path, module: dict[str, tuple[int, int]]
) -> None:
    facts = read_adapter_facts(adapter(tmp_path / "other", module))
    with pytest.raises(EngineError) as told:
        check_fit(facts, read_facts(tiny_model))
    assert told.value.code == "MODEL-07"
    assert "q_proj" in told.value.message


def test_that_modules_trained_whole_are_named_and_must_have_the_shapes_of_the_base(
    tiny_model: Path, tmp_path: Path
) -> None:
    whole = {"lm_head": (512, 64), "model.embed_tokens": (512, 64)}
    facts = read_adapter_facts(adapter(tmp_path / "whole", pair(Q0, 4, 64, 64) | whole))
    refuse_unready(facts)
    assert facts.trained_whole == ("lm_head.weight", "model.embed_tokens.weight")
    check_fit(facts, read_facts(tiny_model))
    for name, shape in {"lm_head": (8, 8), "model.nowhere": (64, 64)}.items():
        facts = read_adapter_facts(adapter(tmp_path / name, pair(Q0, 4, 64, 64) | {name: shape}))
        with pytest.raises(EngineError, match=name) as told:
            check_fit(facts, read_facts(tiny_model))
        assert told.value.code == "MODEL-07"
