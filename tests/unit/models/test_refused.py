"""Folders that look like models or adapters and cannot be used are listed apart, each with its reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from engine import cli
from engine.models import library, packed
from engine.models.safetensors_header import TensorEntry


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "home" / "models").mkdir(parents=True)
    return tmp_path / "home" / "models"


def _quantised(tiny_model: Path, folder: Path, method: str) -> None:
    shutil.copytree(tiny_model, folder)
    config = json.loads((folder / "config.json").read_bytes())
    config["quantization_config"] = {"quant_method": method, "bits": 4}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


@pytest.mark.parametrize("method", ["gptq", "awq", "fp8", "mxfp4", "compressed-tensors"])
def test_that_a_model_of_a_foreign_quantiser_is_listed_with_its_reason(
    method: str, models: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _quantised(tiny_model, models / "a-packed", method)
    shutil.copytree(tiny_model, models / "tiny")
    assert cli.main(["models", "list", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in answer["models"]] == ["tiny"]
    (row,) = answer["refused"]
    assert (row["name"], row["code"]) == ("a-packed", "MODEL-05")
    assert f"quant_method = {method}" in row["message"] and "full numbers" in row["hint"]
    assert row["path"] == str(models / "a-packed")


def test_that_every_kind_of_refusal_is_listed_after_what_can_be_used(models: Path, tiny_model: Path) -> None:
    for name in ("cut", "own-code", "pickled", "unknown"):
        shutil.copytree(tiny_model, models / name)
    (models / "cut" / "model.safetensors").write_bytes(b"12345678")
    (models / "pickled" / "model.safetensors").rename(models / "pickled" / "pytorch_model.bin")
    config = json.loads((tiny_model / "config.json").read_bytes())
    for name, more in (("own-code", {"auto_map": {"AutoModel": "x.Y"}}), ("unknown", {})):
        text = json.dumps({**config, "model_type": "nobody-knows", **more})
        (models / name / "config.json").write_text(text, encoding="utf-8")
    usable, refused = library.look_over_models()
    assert usable == []
    told = {each.name: each.error.code for each in refused}
    assert told == {"cut": "MODEL-02", "own-code": "MODEL-04", "pickled": "MODEL-01", "unknown": "MODEL-04"}
    assert all(each.error.hint for each in refused)


def test_that_a_model_of_the_hubs_cache_is_called_by_its_id(tmp_path: Path, tiny_model: Path) -> None:
    snapshots = tmp_path / "hub" / "models--some--tiny--model" / "snapshots"
    shutil.copytree(tiny_model, snapshots / "c0ffee")
    _quantised(tiny_model, snapshots / "c0ffee2", "gptq")
    usable, refused = library.look_over_models()
    assert [facts.name for facts in usable] == ["some/tiny--model"]
    assert [each.name for each in refused] == ["some/tiny--model"]


@pytest.mark.parametrize(
    ("name", "dtype", "kind"),
    [
        ("model.layers.0.mlp.up_proj.qweight", "I32", "GPTQ or AWQ"),
        ("model.layers.0.mlp.up_proj.weight_packed", "I32", "compressed-tensors"),
        ("model.layers.0.mlp.up_proj.weight", "F8_E4M3", "fp8"),
        ("model.layers.0.mlp.up_proj.weight_scale_inv", "F32", "scales"),
        ("model.layers.0.mlp.experts.gate_up_proj_blocks", "U8", "mxfp4"),
        ("model.layers.0.mlp.up_proj.weight", "BF16", ""),
        ("model.layers.0.mlp.up_proj.weight.quant_state.bitsandbytes__nf4", "U8", ""),
    ],
)
def test_that_packed_weights_are_known_by_their_names_alone(name: str, dtype: str, kind: str) -> None:
    tensor = TensorEntry(name, dtype, (2, 2), 0, 4)
    if not kind:
        packed.refuse_packed(Path("m"), [tensor])
        return
    with pytest.raises(packed.EngineError, match=kind) as told:
        packed.refuse_packed(Path("m"), [tensor])
    assert told.value.code == "MODEL-05"


def test_that_a_refused_adapter_is_listed_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "home" / "adapters" / "odd"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text('{"peft_type": "PROMPT_TUNING"}')
    (folder / "adapter_model.safetensors").write_bytes(b"")
    assert cli.main(["adapters", "list", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["adapters"] == []
    (row,) = answer["refused"]
    assert row["name"] == "odd" and row["code"].startswith("MODEL-") and row["hint"]
