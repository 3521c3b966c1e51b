"""Exports of an adapter in every layout, their cards, the job, and what is shown before a push."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from peft import PeftModel
from transformers import AutoModelForCausalLM

from engine.cli import main
from engine.encoders import fenced
from engine.encoders import markdown as plain
from engine.errors import EngineError
from engine.events import Finished, Stopped
from engine.jobs import process
from engine.jobs.spec import create_job
from engine.models.adapter_facts import read_adapter_facts
from engine.models.export_facts import made_bytes, number_type, why_not
from engine.models.facts import read_facts
from engine.models.made import read_origin, write_origin
from engine.runs.event_log import EventReader
from engine.runtime import export_push
from engine.runtime.export import export_model
from engine.runtime.export_card import card_of
from engine.runtime.export_gguf import load_gguf
from engine.runtime.export_push import push_folder, what_is_sent
from engine.runtime.export_subject import find_exported
from engine.runtime.gguf.adapter import pairs_of
from engine.runtime.gguf.families import shape_of
from engine.runtime.gguf.read import ReadBack
from engine.runtime.ollama.modelfile import parse_modelfile
from tests.data.make_adapters import KINDS, REFUSED
from tests.integration.adapters import make_adapters

HOSTILE = "x](javascript:alert(1)) <img src=file:///etc/passwd> |a|\n---\nlicense: evil\n```"


@pytest.fixture(scope="session")
def adapters(tiny_model: Path) -> Path:
    return make_adapters(tiny_model, *KINDS, *REFUSED)  # the same as the tests of merging: made once


def test_r20_that_an_adapter_is_exported_merged_as_an_ollama_folder(adapters: Path, tmp_path: Path) -> None:
    out = tmp_path / "made"
    answer = export_model(str(adapters / "plain-adapter"), out, "ollama", quantization="f32")
    assert answer["verified"] and answer["certificate"]["checks"]["modelfile"]["passed"]
    assert answer["certificate"]["max_logit_difference"] < 1e-3
    commands = dict(parse_modelfile((out / "Modelfile").read_text()))
    assert (out / commands["from"]).is_file() and commands["stop"] == "<|im_end|>"
    assert {each["name"] for each in answer["files"]} >= {"Modelfile", "README.md", "certificate.json"}
    base = AutoModelForCausalLM.from_pretrained(adapters / "plain-base", dtype=torch.float32)
    ids = torch.tensor([[5, 80, 300, 7, 44]])
    with torch.inference_mode():
        adapted = PeftModel.from_pretrained(base, str(adapters / "plain-adapter"))(input_ids=ids).logits
        read = load_gguf(out / commands["from"], adapters / "plain-base")(input_ids=ids).logits
    assert float((adapted - read).abs().max()) < 1e-4


def test_that_an_export_is_certified_again_and_a_flipped_byte_is_found(
    adapters: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "made"
    export_model(str(adapters / "plain-adapter"), out, "ollama", quantization="q8_0", check=False)
    assert not (out / "certificate.json").exists()
    assert main(["certify", str(out), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["certificate"]["checks"]["modelfile"]["passed"] and (out / "certificate.json").is_file()
    text = (out / "Modelfile").read_text()
    (out / "Modelfile").write_text(text.replace("PARAMETER stop <|im_end|>\n", ""))
    assert main(["certify", str(out), "--json"]) == 1
    assert "Modelfile" in json.loads(capsys.readouterr().out)["message"]
    write_origin(out, read_origin(out))  # a stranger may write the sums anew: the proofs still find it
    assert main(["certify", str(out), "--json"]) == 1
    assert "does not stop at" in json.loads(capsys.readouterr().out)["message"]


def test_that_merged_safetensors_come_with_a_card_and_the_command_for_vllm(
    adapters: Path, tmp_path: Path
) -> None:
    answer = export_model(str(adapters / "plain-adapter"), tmp_path / "a b", "safetensors")
    assert answer["verified"] and read_facts(tmp_path / "a b").layers == 2
    assert answer["command"].startswith("vllm serve '") and "--enable-lora" not in answer["command"]
    assert (tmp_path / "a b" / "README.md").read_text().startswith("---\nbase_model: ")


def test_that_a_peft_folder_keeps_its_bytes_and_names_its_rank_to_vllm(
    adapters: Path, tmp_path: Path
) -> None:
    source = adapters / "plain-adapter"
    answer = export_model(str(source), tmp_path / "made", "adapter")
    assert answer["verified"] and "--enable-lora --lora-modules" in answer["command"]
    assert answer["command"].endswith("--max-lora-rank 8")
    name = "adapter_model.safetensors"
    assert (tmp_path / "made" / name).read_bytes() == (source / name).read_bytes()
    with pytest.raises(EngineError, match="no adapter"):
        export_model(str(adapters / "plain-base"), tmp_path / "other", "adapter")


@pytest.mark.parametrize("kind", ["plain", "rslora", "patterns"])
def test_that_a_gguf_adapter_changes_the_base_as_the_adapter_does(
    adapters: Path, tmp_path: Path, kind: str
) -> None:
    folder = adapters / f"{kind}-adapter"
    answer = export_model(str(folder), tmp_path / "made", "gguf-adapter", quantization="f32")
    assert answer["verified"], answer["certificate"]
    file = ReadBack(tmp_path / "made" / "adapter.gguf")
    facts = read_adapter_facts(folder)
    assert file.values["general.type"] == "adapter" and file.values["adapter.type"] == "lora"
    assert file.values["adapter.lora.alpha"] == np.float32(facts.lora_alpha)
    assert len(file.tensors) == 2 * len(facts.modules)
    assert all(name.endswith((".weight.lora_a", ".weight.lora_b")) for name in file.tensors)


def test_that_what_no_gguf_adapter_can_hold_is_refused(adapters: Path) -> None:
    facts = read_adapter_facts(adapters / "plain-adapter")
    base = read_facts(adapters / "plain-base")
    shape = shape_of(base.path, base.tied)
    for other in (replace(facts, use_dora=True, label="DoRA r8"), replace(facts, trained_whole=("lm_head",))):
        with pytest.raises(EngineError, match="plain LoRA only"):
            pairs_of(other, shape, base.tied)


def test_that_a_family_without_a_gguf_is_refused_before_anything_is_made(
    adapters: Path, tmp_path: Path
) -> None:
    with pytest.raises(EngineError, match="type gpt2 cannot be written as GGUF"):
        export_model(str(adapters / "gpt2-adapter"), tmp_path / "made", "gguf")
    with pytest.raises(EngineError, match="no --quantization"):
        export_model(str(adapters / "plain-adapter"), tmp_path / "made", "safetensors", quantization="q8_0")
    assert list(tmp_path.iterdir()) == []


def test_that_a_system_prompt_no_modelfile_can_hold_is_refused(
    adapters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.runtime import export

    found = find_exported(str(adapters / "plain-adapter"))
    prompt = 'Be kind.\nSay """\nFROM ./evil.gguf'
    hostile = replace(found, target=replace(found.target, system_prompt=prompt))
    monkeypatch.setattr(export, "find_exported", lambda model, base: hostile)
    with pytest.raises(EngineError, match="cannot hold this system"):
        export_model("x", tmp_path / "made", "ollama")
    assert list(tmp_path.iterdir()) == []


def test_that_card_texts_are_data(adapters: Path) -> None:
    found = find_exported(str(adapters / "plain-adapter"))
    named = replace(found, target=replace(found.target, name=HOSTILE))
    text = card_of(named, "gguf", {"passed": False, "reason": HOSTILE})
    front = yaml.safe_load(text.split("---\n")[1])
    assert set(front) == {"base_model", "library_name", "tags"}
    assert "<img" not in text.replace("\\<img", "") and "](javascript" not in text
    assert "\n" not in plain(HOSTILE) and text.count("\n---\n") == 1
    block = fenced("a\n````\n# not a title")
    assert block.startswith("`````\n") and block.endswith("\n`````\n")


def test_that_the_job_tells_its_progress_and_its_result(adapters: Path, tmp_path: Path) -> None:
    arguments = {
        "model": str(adapters / "plain-adapter"),
        "format": "gguf-adapter",
        "out": str(tmp_path / "o"),
    }
    create_job("export", arguments, tmp_path / "job")
    child = process.start(tmp_path / "job")
    assert child.wait(120) == 0, process.last_words(tmp_path / "job")
    events = EventReader(tmp_path / "job").read_new()
    assert isinstance(events[-1], Finished) and any(event.type == "progress" for event in events)
    assert json.loads((tmp_path / "job" / "result.json").read_bytes())["verified"] is True


def test_that_a_stop_ends_the_job_with_nothing_under_its_name(adapters: Path, tmp_path: Path) -> None:
    from engine.runtime.export_job import export_job
    from engine.runtime.job import Job

    asked = SimpleNamespace(stop=True, poll=lambda: None)
    arguments = {"model": str(adapters / "plain-adapter"), "format": "gguf", "out": str(tmp_path / "made")}
    job: Any = SimpleNamespace(
        requests=asked,
        folder=tmp_path,
        spec=SimpleNamespace(arguments=arguments),
        phase=lambda name: None,
        write=lambda event: None,
    )
    job.report = partial(Job.report, job)
    assert isinstance(export_job(job), Stopped)
    assert list(tmp_path.iterdir()) == []


class _Api:
    """The part of the hub client's published interface that a push uses."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def create_repo(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        repo_type: str | None = None,
        exist_ok: bool = False,
    ) -> str:
        self.calls.append(("create_repo", {"repo_id": repo_id, "private": private, "exist_ok": exist_ok}))
        return repo_id

    def upload_folder(
        self,
        *,
        repo_id: str,
        folder_path: str,
        repo_type: str | None = None,
        commit_message: str | None = None,
        allow_patterns: list[str] | None = None,
    ) -> Any:
        self.calls.append(("upload_folder", {"repo_id": repo_id, "files": sorted(allow_patterns or [])}))
        return SimpleNamespace(commit_url="https://example/commit")


def test_that_a_push_sends_what_was_shown_and_its_stand_in_is_the_clients_interface(
    adapters: Path, tmp_path: Path
) -> None:
    import inspect

    from huggingface_hub import HfApi

    for name in ("create_repo", "upload_folder"):
        real = set(inspect.signature(getattr(HfApi, name)).parameters)
        assert set(inspect.signature(getattr(_Api, name)).parameters) <= real
    out = tmp_path / "made"
    export_model(str(adapters / "plain-adapter"), out, "adapter")
    (out / "private").mkdir()
    shown, api = what_is_sent(out, "owner/name"), _Api()
    answer = push_folder(out, "owner/name", True, api)
    assert [name for name, _ in api.calls] == ["create_repo", "upload_folder"]
    assert api.calls[0][1]["private"] is True and answer["pushed"]
    assert api.calls[1][1]["files"] == sorted(each["name"] for each in shown["files"])
    assert "base_model" in shown["card"] and shown["bytes"] == sum(each["bytes"] for each in shown["files"])
    for bad in ("no-owner", "https://evil/x/y", "../a/b"):
        with pytest.raises(EngineError):
            what_is_sent(out, bad)


def test_m40_that_nothing_is_sent_without_yes_and_the_token_reaches_only_the_child(
    adapters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[dict[str, Any]] = []

    def run(command: list[str], **options: Any) -> Any:
        seen.append({"command": command, **options})
        return subprocess.CompletedProcess(command, 0, '{"pushed": true}\n', "")

    monkeypatch.setattr(export_push.subprocess, "run", run)
    monkeypatch.setenv("HF_TOKEN", "canary-token")
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    words = ["export", str(adapters / "plain-adapter"), "--format", "adapter", "--json", "--push", "me/mine"]
    assert main([*words, "--out", str(tmp_path / "a")]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["push"]["pushed"] is False and answer["push"]["would_send"]["files"] and not seen
    assert main([*words, "--out", str(tmp_path / "b"), "--yes"]) == 0
    assert seen[0].pop("input") == "canary-token\n"
    assert "canary-token" not in json.dumps(seen[0], default=str)
    everything = b"".join(p.read_bytes() for p in (tmp_path / "b").iterdir() if p.is_file())
    assert b"canary-token" not in everything
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example")
    assert main([*words, "--out", str(tmp_path / "c"), "--yes"]) == 2 and len(seen) == 1


def test_that_an_export_that_does_not_pass_ends_with_1(
    adapters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from engine.runtime import export

    real = export.make_gguf

    def spoilt(target: Any, plain: Path, path: Path, *rest: Any) -> Any:
        made = real(target, plain, path, *rest)
        with open(path, "r+b") as file:
            file.seek(-900, 2)
            file.write(b"\x00\x7f" * 40)
        return made

    monkeypatch.setattr(export, "make_gguf", spoilt)
    words = ["export", str(adapters / "plain-base"), "--format", "gguf", "--out", str(tmp_path / "made")]
    assert main([*words, "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["verified"] is False and "farther from its source" in answer["certificate"]["reason"]


def test_that_what_can_be_made_is_known_before_and_without_torch(adapters: Path) -> None:
    code = (
        "import sys; import engine.models.export_facts, engine.verbs.export; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    base, adapter = read_facts(adapters / "plain-base"), read_adapter_facts(adapters / "plain-adapter")
    assert {k for k, reason in why_not(base, adapter, is_run=False).items() if reason} == {"script"}
    assert {k for k, reason in why_not(base, None, is_run=True).items() if reason} == {
        "adapter",
        "gguf-adapter",
    }
    other = why_not(read_facts(adapters / "gpt2-base"), replace(adapter, use_dora=True), is_run=True)
    assert "gpt2" in other["gguf"] and "gpt2" in other["gguf-adapter"] and not other["safetensors"]
    sizes = [made_bytes(base, adapter, "gguf", number_type(name)) for name in ("f32", "f16", "q8_0", "q4_0")]
    assert sizes == sorted(sizes, reverse=True)
    assert made_bytes(base, adapter, "adapter", number_type("f16")) == adapter.bytes
