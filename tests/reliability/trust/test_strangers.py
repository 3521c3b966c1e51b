"""One real child beside planted packages loads, trains on, answers with and exports folders of strangers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.jobs import process
from engine.models import rebuilt
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs import store
from tests.reliability.trust import strangers
from tests.reliability.trust.real_configs import CONFIGS

HERE = Path(__file__).parent
# Of the ten families' files: what neither their configuration classes nor their models ever read.
UNREAD = {
    "Phi-3-mini-128k-instruct": {"attention_bias"},
    "gemma-2-9b-it": {"cache_implementation", "hidden_act", "sliding_window_size"},
    "falcon-7b-instruct": {"apply_residual_connection_post_layernorm"},
    "gpt2": {"n_ctx", "task_specific_params"},
    "opt-350m": {"activation_dropout", "prefix"},
    "DeepSeek-V2-Lite": {"aux_loss_alpha", "moe_layer_freq"},
}


class Seen:
    """What the child answered, and what it left behind."""

    def __init__(self, folder: Path, tiny: Path) -> None:
        self.folder, self.canaries = folder, folder / "canaries"
        self.canaries.mkdir()
        self.model = strangers.hostile_model(tiny, folder / "model", self.canaries)
        self.adapter = strangers.hostile_adapter(folder / "adapter")
        self.answers: dict[str, dict[str, Any]] = {}
        self.jobs: dict[str, list[Any]] = {}

    def changed(self, name: str, tensor: str, change: Any) -> str:
        """Return a copy of the model with one tensor changed: (shape, bytes), or None to leave it out."""
        folder = self.folder / name
        folder.mkdir()
        (folder / "config.json").write_bytes((self.model / "config.json").read_bytes())
        tensors = strangers.tensors_of(self.model / "model.safetensors")
        tensors[tensor] = change(*tensors.get(tensor, ([2], bytes(8))))
        kept = {n: t for n, t in tensors.items() if t is not None}
        strangers.safetensors(folder / "model.safetensors", kept)
        return str(folder)

    def run(self) -> None:
        """Ask the child once for all."""
        planted = strangers.plant(self.folder / "planted", self.canaries)
        asked = {"planted": str(planted), "root": str(HERE.parents[2]), "jobs": list(self.jobs.values())}
        (self.folder / "asked.json").write_text(json.dumps(asked))
        command = [sys.executable, "-I", "-X", "utf8", str(HERE / "canary_child.py"), "asked.json"]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=process.child_environment(),
            capture_output=True,
            text=True,
            timeout=300,
        )
        print(done.stderr[-4000:])
        assert done.returncode == 0
        found = json.loads(done.stdout.strip().rpartition("\n")[2])
        self.answers = dict(zip([*self.jobs, "process"], found, strict=True))


def run_on(model: Path, folder: Path) -> Path:
    """Make a run of one step on a model."""
    rows = folder / "rows.jsonl"
    talk = [{"role": "user", "content": "Where is it?"}, {"role": "assistant", "content": "Here."}]
    rows.write_text("".join(json.dumps({"messages": talk}) + "\n" for _ in range(4)))
    values = {
        "model.path": str(model),
        "data.train": [str(rows)],
        "data.validation_split": 0.0,
        "training.max_steps": 1,
        "adapter.method": "full",
    }
    return store.create_run(codec.override(Recipe(), values), folder / "run")


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Seen:
    made = Seen(tmp_path_factory.mktemp("strangers"), tiny_model)
    norm = "model.norm.weight"
    model, adapter, out = str(made.model), str(made.adapter), made.folder
    made.jobs = {
        "load": ["load", model],
        "train": ["train", str(run_on(made.model, made.folder))],
        "answer": ["answer", adapter, model],
        "export adapter": ["export", adapter, model, "adapter", str(out / "exported adapter")],
        "export model": ["export", adapter, model, "safetensors", str(out / "exported model")],
        "nan": ["load", made.changed("nan", norm, lambda s, d: (s, bytes.fromhex("0000c07f") + d[4:]))],
        "missing": ["load", made.changed("missing", norm, lambda s, d: None)],
        "extra": ["load", made.changed("extra", "model.layers.0.evil.weight", lambda s, d: (s, d))],
        "misshapen": ["load", made.changed("misshapen", norm, lambda s, d: ([s[0] // 2], d[: len(d) // 2]))],
        **{name: ["config", config] for name, config in CONFIGS.items()},
    }
    made.run()
    return made


def texts_below(folder: Path) -> str:
    """Return the text of every configuration below a folder."""
    return "\n".join(p.read_text() for p in sorted(folder.rglob("*.json")) if "tokenizer.json" != p.name)


def test_m01_that_no_canary_sang_in_any_child(seen: Seen) -> None:
    assert sorted(p.name for p in seen.canaries.iterdir()) == []
    for name in ("load", "train", "answer", "export adapter", "export model"):
        assert "code" not in seen.answers[name], seen.answers[name]
    assert seen.answers["train"] == {"exit": 0}


def test_m03_that_pickles_beside_safetensors_are_left_alone(seen: Seen) -> None:
    assert seen.answers["load"]["finite"]
    assert not list(seen.canaries.glob("pickle*"))


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("missing", "lacks weights: model.norm.weight"),
        ("extra", "has no place for"),
        ("misshapen", "another shape: model.norm.weight"),
    ],
)
def test_m08_that_names_and_shapes_of_weights_are_exactly_the_models(
    seen: Seen, case: str, words: str
) -> None:
    told = seen.answers[case]
    assert told["code"] == "MODEL-02" and words in told["message"], told


def test_m10_that_a_base_with_a_value_that_is_no_number_is_refused_by_the_name_of_its_tensor(
    seen: Seen,
) -> None:
    assert seen.answers["nan"]["code"] == "MODEL-02"
    assert "model.norm.weight" in seen.answers["nan"]["message"]


def test_m14_that_programs_of_a_model_are_neither_run_nor_copied(seen: Seen) -> None:
    made = [seen.folder / "run", seen.folder / "exported adapter", seen.folder / "exported model"]
    for folder in made:
        assert [p.name for p in folder.rglob("*.py")] == []
        assert "auto_map" not in texts_below(folder) and "Evil" not in texts_below(folder)
    assert (seen.folder / "run" / "model" / "tokenizer_config.json").is_file()


def test_m15_that_trust_remote_code_is_in_no_configuration_after_the_gate(seen: Seen) -> None:
    fields = seen.answers["load"]["fields"]
    assert not {*fields} & {"trust_remote_code", "auto_map", "custom_pipelines", "unheard_of"}
    assert "trust_remote_code" not in texts_below(seen.folder / "run" / "model")


def test_m16_that_a_kernel_named_by_a_configuration_is_not_even_looked_for(seen: Seen) -> None:
    assert seen.answers["load"]["attention"] in ("sdpa", "eager")
    assert not {*seen.answers["load"]["fields"]} & {"use_kernels", "kernel_config", "transformers_weights"}
    assert not (seen.canaries / "package kernels").exists()


def test_m17_that_kernels_cannot_be_imported_in_a_child(seen: Seen) -> None:
    assert seen.answers["process"] == {"kernels": True}


def test_m19_that_an_adapter_names_neither_programs_nor_another_computer(seen: Seen) -> None:
    assert len(seen.answers["answer"]["texts"]) == 2
    exported = json.loads((seen.folder / "exported adapter" / "adapter_config.json").read_text())
    assert not [name for name in exported if "megatron" in name or name in ("auto_mapping", "runtime_config")]
    assert "base_model_name_or_path" not in exported
    assert exported["target_modules"] == ["model.layers.0.self_attn.q_proj"]
    assert strangers.REGEX not in json.dumps(exported)


def test_m29_that_only_numbers_within_bounds_are_taken_from_generation_config(seen: Seen) -> None:
    assert seen.answers["load"]["generation"].get("top_p") == 0.9
    assert not {"custom_generate", "max_new_tokens", "top_k"} & seen.answers["load"]["generation"].keys()
    stored = {"temperature": -1, "eos_token_id": [1, 2], "bos_token_id": -5, "max_length": True, "top_k": 40}
    assert rebuilt.rebuild_generation(stored).values == {"eos_token_id": [1, 2], "top_k": 40}


@pytest.mark.parametrize("name", CONFIGS)
def test_m15_that_no_real_family_loses_a_key_that_it_reads(seen: Seen, name: str) -> None:
    assert {*seen.answers[name]["odd"]} == UNREAD.get(name, set())


@pytest.mark.skipif(os.name == "nt", reason="a folder for imports is planted by its path")
def test_m16_that_the_planted_packages_do_sing_where_they_are_imported(tmp_path: Path) -> None:
    planted = strangers.plant(tmp_path / "planted", tmp_path)
    command = "import sys; sys.path.insert(0, sys.argv[1]); import kernels, megatron.core, evil"
    subprocess.run([sys.executable, "-I", "-c", command, str(planted)], check=True)
    assert len(list(tmp_path.glob("package *"))) == 4
