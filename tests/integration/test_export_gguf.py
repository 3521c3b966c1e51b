"""GGUF files of every family: read back, answered through transformers, and refused where they cannot be."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from engine.errors import EngineError
from engine.models.export_facts import number_type
from engine.runtime import export_gguf
from engine.runtime.export import beside, export_model
from engine.runtime.export_gguf import Made, load_gguf, make_gguf, prove_gguf
from engine.runtime.gguf.numbers import KINDS, excess, pack, unpack
from engine.runtime.gguf.write import About
from engine.runtime.target import resolve_target
from tests.data.make_gguf_models import FAMILIES, make_model

SMALL = ("q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "bf16", "f16", "f32")


def quiet(stage: str, done: int, total: int) -> None:
    """Tell nobody."""


@pytest.fixture(scope="session")
def families(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("families")
    for name in (*FAMILIES, "pieces"):
        make_model(name, folder / name)
    return folder


def write(folder: Path, out: Path, kind: str = "f32") -> Made:
    """Write a folder's GGUF."""
    return make_gguf(
        resolve_target(str(folder)), folder, out, number_type(kind), About(folder.name, "a base"), quiet
    )


def reasons(made: Made) -> dict[str, str]:
    """Return what did not pass."""
    return {name: found.reason for name, found in prove_gguf(made, quiet).items() if not found.passed}


@pytest.mark.parametrize("name", [*FAMILIES, "pieces"])
def test_that_each_family_answers_the_same_from_its_file(families: Path, tmp_path: Path, name: str) -> None:
    made = write(families / name, tmp_path / "model.gguf")
    assert reasons(made) == {}
    ids = torch.randint(3, 260, (1, 40), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        own = AutoModelForCausalLM.from_pretrained(families / name, dtype=torch.float32).eval()
        read = load_gguf(made.path, families / name)
        difference = (own(input_ids=ids).logits - read(input_ids=ids).logits).abs().max()
    assert float(difference) < 1e-5


def test_that_transformers_reads_shape_and_tokenizer_from_the_file_alone(
    families: Path, tmp_path: Path
) -> None:
    write(families / "qwen2", tmp_path / "model.gguf")
    read = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="model.gguf", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, gguf_file="model.gguf")
    own = AutoModelForCausalLM.from_pretrained(families / "qwen2", dtype=torch.float32)
    ids = torch.tensor([tokenizer.encode("Where is my parcel?")])
    assert torch.equal(own(input_ids=ids).logits, read(input_ids=ids).logits)
    assert tokenizer.eos_token == "<|im_end|>"


@pytest.mark.parametrize("kind", SMALL)
def test_that_a_block_moves_no_further_than_its_type_explains(kind: str) -> None:
    draw = np.random.default_rng(3)
    rows = draw.standard_normal((64, 128)).astype(np.float32) * draw.lognormal(0, 3, (64, 1)).astype(
        np.float32
    )
    rows[0] = 0.0
    kept = unpack(pack(rows, KINDS[kind], "x"), KINDS[kind])
    assert excess(rows, kept, KINDS[kind]) <= 1.0
    kept[7, 9] += np.abs(rows[7]).max() / 4
    assert excess(rows, kept, KINDS[kind]) > 1.0


def test_that_values_beyond_a_type_are_refused_by_the_tensors_name() -> None:
    rows = np.full((1, 32), 1e5, dtype=np.float32)
    for kind in ("f16", "q8_0"):
        with pytest.raises(EngineError, match="blk.0.ffn_up.weight"):
            pack(rows, KINDS[kind], "blk.0.ffn_up.weight")
    assert pack(rows, KINDS["bf16"], "x").size


def changed(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Write a file anew with other metadata, its tensors as they are."""
    reader = gguf.GGUFReader(path)
    values = {k: f for k, f in reader.fields.items() if not k.startswith("GGUF.")}
    told = {key: field.contents() for key, field in values.items()}
    change(told)
    writer = gguf.GGUFWriter(path.with_suffix(".new"), told.pop("general.architecture"))
    for key, value in told.items():
        writer.add_key_value(key, value, values[key].types[0], values[key].types[-1])
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, np.array(tensor.data), raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    path.with_suffix(".new").replace(path)


@pytest.mark.parametrize(
    ("key", "value", "proof", "words"),
    [
        ("tokenizer.chat_template", "{{ messages[0]['content'] }}", "template", "not the one"),
        ("tokenizer.chat_template", "{{ messages | evil }}", "template", "cannot be used"),
        ("tokenizer.ggml.add_bos_token", True, "template", "BOS"),
        ("tokenizer.ggml.eos_token_id", 7, "stops", "does not stop there"),
        ("tokenizer.ggml.pre", "never heard of", "tokens", "cannot be used"),
        ("tokenizer.ggml.merges", "turned around", "tokens", "other tokens"),
        ("llama.rope.freq_base", 1.0, "values", "llama.rope.freq_base"),
    ],
)
def test_that_a_wrong_template_a_missing_stop_word_or_a_wrong_key_is_found(
    families: Path, tmp_path: Path, key: str, value: Any, proof: str, words: str
) -> None:
    made = write(families / "llama", tmp_path / "model.gguf")

    def change(told: dict[str, Any]) -> None:
        told[key] = told[key][::-1] if key == "tokenizer.ggml.merges" else value
        if key == "tokenizer.ggml.eos_token_id":
            told["tokenizer.ggml.eot_token_id"] = value

    changed(made.path, change)
    found = prove_gguf(made, quiet)
    assert not found[proof].passed
    assert words in found[proof].reason


def test_that_a_corrupted_tensor_fails_and_is_named(families: Path, tmp_path: Path) -> None:
    made = write(families / "llama", tmp_path / "model.gguf", "q8_0")
    tensor = gguf.GGUFReader(made.path).tensors[-1]
    with open(made.path, "r+b") as file:
        file.seek(int(tensor.data_offset) + 2)
        file.write(b"\x81")
    assert tensor.name in reasons(made)["tensors"]


def test_that_a_whole_export_is_verified_and_leaves_nothing_half_made(
    families: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out" / "small.gguf"
    answer = export_model(str(families / "llama"), out, "gguf", quantization="f16")
    assert answer["verified"] and answer["certificate"]["checks"]["tokens"]["passed"]
    assert sorted(p.name for p in out.parent.iterdir()) == [out.name, beside(out).name]
    assert json.loads(beside(out).read_bytes())["passed"] is True
    with pytest.raises(EngineError, match="exists already"):
        export_model(str(families / "llama"), out, "gguf")

    class _Stop(Exception):
        pass

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "write" and done == 5:
            raise _Stop

    with pytest.raises(_Stop):
        export_model(str(families / "llama"), tmp_path / "out" / "other", "gguf", progress=stop)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 1000))  # type: ignore[attr-defined]
    with pytest.raises(EngineError, match="needed in") as full:
        export_model(str(families / "llama"), tmp_path / "out" / "third", "gguf")
    assert full.value.code == "DISK-01"
    assert sorted(p.name for p in out.parent.iterdir()) == [out.name, beside(out).name]


def edited(families: Path, place: Path, name: str, file: str, change: Callable[[Any], None]) -> Path:
    """Copy a model with one JSON file of it changed."""
    folder = place / "edited"
    shutil.copytree(families / name, folder)
    values = json.loads((folder / file).read_bytes())
    change(values)
    (folder / file).write_text(json.dumps(values))
    return folder


@pytest.mark.parametrize(
    ("name", "file", "change", "words"),
    [
        ("llama", "config.json", {"model_type": "olmo2"}, "type olmo2"),
        ("llama", "config.json", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, "dynamic"),
        ("gemma2", "config.json", {"query_pre_attn_scalar": 99}, "query_pre_attn_scalar"),
        ("gemma3", "config.json", {"layer_types": ["full_attention"] * 7}, "sliding layers"),
        ("llama", "tokenizer.json", {"pre_tokenizer": {"type": "Whitespace"}}, "Whitespace"),
        ("llama", "tokenizer.json", {"normalizer": {"type": "Lowercase"}}, "Lowercase"),
        ("llama", "tokenizer.json", {"model": {"type": "Unigram", "vocab": []}}, "Unigram"),
    ],
)
def test_that_what_a_gguf_cannot_say_is_refused_by_name(
    families: Path, tmp_path: Path, name: str, file: str, change: dict[str, Any], words: str
) -> None:
    folder = edited(families, tmp_path, name, file, lambda values: values.update(change))
    with pytest.raises(EngineError) as refused:
        if file == "config.json":
            export_model(str(folder), tmp_path / "out", "gguf")
        else:
            from engine.runtime.gguf.vocabulary import read_vocabulary

            read_vocabulary(folder, 520, None)
    assert refused.value.code == "MODEL-05" and words in refused.value.message


def test_that_a_piece_whose_merges_are_incomplete_is_refused(families: Path, tmp_path: Path) -> None:
    from engine.runtime.gguf.vocabulary import read_vocabulary

    folder = edited(families, tmp_path, "pieces", "tokenizer.json", lambda v: v["model"]["merges"].pop())
    with pytest.raises(EngineError, match="every way"):
        read_vocabulary(folder, 520, None)


def test_that_a_k_type_is_made_by_llama_quantize_with_a_bare_environment(
    families: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EngineError, match="not on the search path"):
        write(families / "llama", tmp_path / "a.gguf", "q4_k_m")
    program = tmp_path / "bin" / "llama-quantize"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nimport json, os, shutil, sys\nshutil.copyfile(sys.argv[1], sys.argv[2])\n"
        f"json.dump([sys.argv[3], sorted(os.environ)], open({str(tmp_path / 'said')!r}, 'w'))\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setenv("HF_TOKEN", "secret")
    made = write(families / "llama", tmp_path / "b.gguf", "q4_k_m")
    kind, names = json.loads((tmp_path / "said").read_bytes())
    assert kind == "Q4_K_M" and "HF_TOKEN" not in names and "PATH" in names
    assert reasons(made) == {} and not list(tmp_path.glob("*-16.gguf"))
    program.write_text("#!/bin/false\n")
    with pytest.raises(EngineError, match="llama-quantize failed"):
        write(families / "llama", tmp_path / "c.gguf", "q4_k_m")


def test_that_a_file_which_transformers_cannot_read_has_a_reason(
    families: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, plain: Path) -> Any:
        raise ValueError("no such architecture")

    monkeypatch.setattr(export_gguf, "load_gguf", fail)
    answer = export_model(str(families / "llama"), tmp_path / "out", "gguf")
    assert not answer["verified"] and not answer["ok"]
    assert "transformers cannot read it (ValueError)" in answer["certificate"]["reason"]
