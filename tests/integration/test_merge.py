"""Merging: tensor by tensor what peft makes of the whole model, and a certificate that can fail."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from engine.errors import EngineError
from engine.models import library
from engine.models.export_facts import FORMATS
from engine.models.made import read_origin, write_origin
from engine.models.safetensors_header import read_header
from engine.models.weight_files import read_headers
from engine.runtime.adapted import load_target
from engine.runtime.attach import attach
from engine.runtime.certify import certify_folder
from engine.runtime.chat import ChatModel
from engine.runtime.export import export_model
from engine.runtime.load import choose_compute
from engine.runtime.merge import merge_adapter
from engine.runtime.target import resolve_target
from tests.data.make_adapters import KINDS, REFUSED
from tests.integration.adapters import make_adapters


@pytest.fixture(scope="session")
def adapters(tiny_model: Path) -> Path:
    return make_adapters(tiny_model, *KINDS, *REFUSED)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        found.update(load_file(path))
    return found


@pytest.mark.parametrize("kind", ["plain", "rslora", "patterns", "sharded", "bf16", "gpt2"])
def test_that_every_tensor_is_the_one_peft_makes(adapters: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "merged"
    merge_adapter([adapters / f"{kind}-adapter"], out, check=False)
    ours, theirs = tensors(out), tensors(adapters / f"{kind}-peft")
    changed = 0
    base = tensors(adapters / f"{kind}-base")
    for name, tensor in theirs.items():
        # peft adds in the base's own type; a bf16 value summed in float32 may differ in its last bit.
        limit = 1e-6 if tensor.dtype == torch.float32 else 2**-8 * float(tensor.abs().max())
        assert ours[name].dtype == tensor.dtype
        assert float((ours[name].float() - tensor.float()).abs().max()) <= limit, name
        changed += not torch.equal(ours[name], base[name])
    assert changed >= 4


def test_that_files_names_headers_and_untouched_tensors_stay_byte_for_byte(
    adapters: Path, tmp_path: Path
) -> None:
    base, out = adapters / "sharded-base", tmp_path / "merged"
    merge_adapter([adapters / "sharded-adapter"], out, check=False)
    index = "model.safetensors.index.json"
    assert (out / index).read_bytes() == (base / index).read_bytes()
    assert len(list(out.glob("*.safetensors"))) == len(list(base.glob("*.safetensors"))) > 1
    for header in read_headers(base):
        merged = read_header(out / header.path.name)
        assert merged.raw == header.raw
        before, after = header.path.read_bytes(), merged.path.read_bytes()
        for tensor in header.tensors:
            touched = tensor.name.endswith(("q_proj.weight", "v_proj.weight"))
            assert (before[tensor.begin : tensor.end] != after[tensor.begin : tensor.end]) == touched


def test_that_the_folder_opens_with_plain_transformers_and_agrees_with_base_and_adapter(
    adapters: Path, tmp_path: Path
) -> None:
    result = merge_adapter([adapters / "plain-adapter"], tmp_path / "merged")
    assert set(result) >= {"out", "bytes", "seconds", "fidelity"}
    fidelity = result["fidelity"]
    assert fidelity["passed"] and fidelity["max_logit_difference"] < 1e-3
    assert fidelity["top1_agreement"] == 1.0 and fidelity["same_answers"] == fidelity["prompts"]
    merged = AutoModelForCausalLM.from_pretrained(result["out"])
    target = resolve_target(str(adapters / "plain-adapter"))
    assert target.adapter is not None
    both = attach(AutoModelForCausalLM.from_pretrained(adapters / "plain-base"), target.adapter)
    ids = torch.arange(40)[None]
    with torch.no_grad():
        difference = (merged(ids).logits - both(input_ids=ids).logits).abs().max()
        moved = (merged(ids).logits - both.get_base_model()(ids).logits).abs().max()
    assert difference < 1e-3
    assert merged.config.tie_word_embeddings and moved < 1e-3
    tokenizer = AutoTokenizer.from_pretrained(result["out"])
    assert tokenizer.chat_template and tokenizer.eos_token == "<|im_end|>"
    assert merged.generation_config.eos_token_id == 2


def test_that_another_dtype_rounds_once_at_the_end(adapters: Path, tmp_path: Path) -> None:
    exact, rounded = tmp_path / "exact", tmp_path / "rounded"
    merge_adapter([adapters / "plain-adapter"], exact, check=False)
    result = merge_adapter([adapters / "plain-adapter"], rounded, dtype="bf16")
    for name, tensor in tensors(exact).items():
        assert torch.equal(tensors(rounded)[name], tensor.to(torch.bfloat16))
    assert json.loads((rounded / "config.json").read_text())["dtype"] == "bfloat16"
    assert AutoModelForCausalLM.from_pretrained(rounded).dtype == torch.bfloat16
    assert result["fidelity"]["dtype"] == "bfloat16"


def test_that_an_adapted_head_that_was_shared_becomes_its_own(adapters: Path, tmp_path: Path) -> None:
    out = tmp_path / "merged"
    fidelity = merge_adapter([adapters / "head-adapter"], out)["fidelity"]
    assert fidelity["passed"]
    base, merged = tensors(adapters / "head-base"), tensors(out)
    assert torch.equal(base["model.embed_tokens.weight"], merged["model.embed_tokens.weight"])
    assert not torch.equal(merged["lm_head.weight"], merged["model.embed_tokens.weight"])
    assert json.loads((out / "config.json").read_text())["tie_word_embeddings"] is False


def test_that_a_damaged_merge_fails_its_certificate(adapters: Path, tmp_path: Path) -> None:
    out = tmp_path / "merged"
    merge_adapter([adapters / "plain-adapter"], out, check=False)
    header = read_header(out / "model.safetensors")
    place = next(t for t in header.tensors if t.name.endswith("layers.0.mlp.down_proj.weight"))
    with open(header.path, "r+b") as file:
        file.seek(place.begin + 3)
        file.write(b"\x45")  # the sign and exponent of one value
    again = certify_folder(out)
    assert not again["ok"] and again["certificate"] is None
    assert again["damaged"][0]["tensors"] == [place.name] and place.name in again["message"]
    write_origin(out, {k: v for k, v in read_origin(out).items() if k not in ("sha256", "tensors")})
    again = certify_folder(out)  # sums that were made of the damaged file: the answers tell it
    assert not again["ok"] and again["certificate"]["reason"] and "logit" in again["message"]


def test_that_program_files_are_not_copied(adapters: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(adapters / "plain-base", base)
    (base / "evil.py").write_text("raise SystemExit")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "evil.Model"}}))
    merge_adapter([adapters / "plain-adapter"], tmp_path / "merged", base=str(base), check=False)
    assert not list((tmp_path / "merged").glob("*.py"))
    assert "auto_map" not in json.loads((tmp_path / "merged" / "config.json").read_text())


@pytest.mark.parametrize(
    ("asked", "code", "words"),
    [
        ({"weights": [0.5, 1]}, "REC-01", "2 weights"),
        ({"weights": [float("nan")]}, "REC-01", "weight"),
        ({"method": "sum"}, "REC-01", "no method sum"),
        ({"method": "ties", "density": 0.0}, "REC-01", "density"),
        ({"method": "svd", "svd_rank": 0}, "REC-01", "rank"),
        ({"method": "dare_ties", "seed": -1}, "REC-01", "seed"),
        ({"base": "gpt2"}, "MODEL-07", "does not fit"),
        ({"base": "quantised"}, "MODEL-05", "never merged into"),
    ],
)
def test_that_what_cannot_be_merged_says_why_and_writes_nothing(
    adapters: Path, tmp_path: Path, asked: dict[str, Any], code: str, words: str
) -> None:
    if asked.get("base") == "quantised":
        shutil.copytree(adapters / "plain-base", tmp_path / "quantised")
        config = json.loads((tmp_path / "quantised" / "config.json").read_text())
        config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
        (tmp_path / "quantised" / "config.json").write_text(json.dumps(config))
        asked = {"base": str(tmp_path / "quantised")}
    elif asked.get("base") == "gpt2":
        asked = {"base": str(adapters / "gpt2-base")}
    with pytest.raises(EngineError, match=words) as told:
        merge_adapter([adapters / "plain-adapter"], tmp_path / "merged", **asked)
    assert told.value.code == code
    assert not (tmp_path / "merged").exists()


def test_that_adapters_of_two_bases_and_an_existing_folder_are_refused(
    adapters: Path, tmp_path: Path
) -> None:
    with pytest.raises(EngineError, match="bases differ") as told:
        merge_adapter([adapters / "plain-adapter", adapters / "gpt2-adapter"], tmp_path / "merged")
    assert told.value.code == "MODEL-05" and told.value.hint == "Use adapters of one base."
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("do not lose me")
    with pytest.raises(EngineError) as told:
        merge_adapter([adapters / "plain-adapter"], tmp_path / "taken")
    assert told.value.code == "DISK-02"
    assert (tmp_path / "taken" / "thesis.txt").exists()


DOORS: dict[str, Callable[[Path, Path], object]] = {
    "chat": lambda bad, out: ChatModel(resolve_target(str(bad)), device="cpu"),
    "evaluate": lambda bad, out: load_target(resolve_target(str(bad)), choose_compute()),
    "import": lambda bad, out: library.add_adapter(bad),
    "import of an archive": lambda bad, out: library.add_adapter(
        shutil.make_archive(str(bad), "zip", bad.parent, bad.name)
    ),
    "merge": lambda bad, out: merge_adapter([bad], out),
    "merge as an adapter": lambda bad, out: merge_adapter([bad, bad], out, adapter_only=True),
    **{f"export {form}": partial(export_model, format=form) for form in FORMATS if form != "script"},
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("value", [float("nan"), float("-inf")], ids=str)
def test_m10_that_an_adapter_with_a_value_that_is_no_number_gets_through_no_door(
    adapters: Path, tmp_path: Path, door: str, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    bad = tmp_path / "bad"
    shutil.copytree(adapters / "plain-adapter", bad)
    values = load_file(bad / "adapter_model.safetensors")
    name = sorted(values)[-1]
    values[name][-1, -1] = value
    save_file(values, bad / "adapter_model.safetensors")
    with pytest.raises(EngineError) as told:
        DOORS[door](str(bad) if door.startswith("export") else bad, tmp_path / "out")  # type: ignore[arg-type]
    assert told.value.code == "MODEL-02" and "no numbers" in told.value.message
    assert "adapter_model.safetensors" in told.value.message and name in told.value.message
    assert Path(told.value.file or "").name == "adapter_model.safetensors"
    assert not (tmp_path / "out").exists() and not library.list_adapters()
