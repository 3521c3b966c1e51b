"""Folders as a stranger could make them, with canaries that leave a file when anything of them runs."""

from __future__ import annotations

import importlib.util
import json
import pickle
import re
import shutil
import struct
from pathlib import Path
from typing import Any

HOST = r"\\host.invalid\share\model"  # an address of another computer, as Windows writes it
REGEX = "(a+)+$"  # never ends on a long name
PACKAGES = ("kernels", "megatron", "megatron/core", "evil_model", "evil")


class Canary:
    """A pickle that would write a file when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (_write, (str(self.path),))


def _write(path: str) -> None:
    Path(path).write_text("sung")


def program(canary: Path) -> str:
    """Return a module that leaves a file when it is imported, and gives whatever is asked of it."""
    return (
        f"open({str(canary)!r}, 'w').close()\n\n\ndef __getattr__(name):\n    return lambda *a, **k: None\n"
    )


def plant(folder: Path, canaries: Path) -> Path:
    """Make packages that a configuration could name, as if they were installed; return their folder."""
    for name in PACKAGES:
        (folder / name).mkdir(parents=True, exist_ok=True)
        canary = canaries / f"package {name.replace('/', '.')}"
        (folder / name / "__init__.py").write_text(program(canary))
        told = folder / f"{name.split('/')[0]}-99.0.dist-info"
        told.mkdir(exist_ok=True)
        version = accepted_kernels() if name == "kernels" else "99.0"
        words = f"Metadata-Version: 2.1\nName: {name.split('/')[0]}\nVersion: {version}\n"
        (told / "METADATA").write_text(words)
    return folder


def accepted_kernels() -> str:
    """Return a version of `kernels` that the installed transformers would import."""
    spec = importlib.util.find_spec("transformers")
    root = Path(next(iter(spec.submodule_search_locations or []))) if spec else Path()
    text = (root / "utils" / "import_utils.py").read_text("utf-8")
    found = re.search(r'KERNELS_MIN_VERSION = "([\d.]+)"', text)
    return found[1] if found else "99.0"


def safetensors(path: Path, tensors: dict[str, tuple[list[int], bytes]]) -> Path:
    """Write a sound file of float32 tensors."""
    header, at = {}, 0
    for name, (shape, data) in tensors.items():
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    raw = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + b"".join(data for _, data in tensors.values()))
    return path


def tensors_of(path: Path) -> dict[str, tuple[list[int], bytes]]:
    """Return the tensors of a file of float32, as `safetensors` takes them."""
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + length])
    header.pop("__metadata__", None)
    data = raw[8 + length :]
    return {n: (e["shape"], data[slice(*e["data_offsets"])]) for n, e in header.items()}


def edit(path: Path, **changes: Any) -> None:
    """Change fields of a JSON file; None removes one."""
    values = {**(json.loads(path.read_text()) if path.exists() else {}), **changes}
    path.write_text(json.dumps({k: v for k, v in values.items() if v is not None}))


HOSTILE_CONFIG: dict[str, Any] = {
    "auto_map": {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"},
    "trust_remote_code": True,
    "_attn_implementation": "evil/kernel",
    "_attn_implementation_internal": "evil/kernel",
    "attn_implementation": "evil/kernel",
    "experts_implementation": "evil/kernel",
    "use_kernels": True,
    "kernel_config": {"kernel_mapping": {"RMSNorm": "evil/kernel:RMSNorm"}},
    "transformers_weights": "../outside.safetensors",
    "custom_pipelines": {"text-generation": {"impl": "evil.Pipeline"}},
    "unheard_of": 3,
}


def hostile_model(tiny: Path, folder: Path, canaries: Path) -> Path:
    """Copy a sound model and put everything beside and into it that could run a program."""
    shutil.copytree(tiny, folder)
    edit(folder / "config.json", **HOSTILE_CONFIG)
    edit(folder / "generation_config.json", custom_generate="evil", max_new_tokens=10**9, top_k=-5, top_p=0.9)
    edit(
        folder / "tokenizer_config.json",
        tokenizer_class="EvilTokenizer",
        auto_map={"AutoTokenizer": ["evil.EvilTokenizer", None]},
    )
    for name in ("evil.py", "modeling_evil.py", "tokenizer_evil.py", "torch.py", "sitecustomize.py"):
        (folder / name).write_text(program(canaries / f"file {name}"))
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text(program(canaries / "custom_generate"))
    for name in ("pytorch_model.bin", "model.pt", "training_args.bin", ".metadata", "__0_0.distcp"):
        (folder / name).write_bytes(pickle.dumps(Canary(canaries / f"pickle {name}")))
    hostile_adapter_config(folder / "adapter_config.json")
    return folder


def hostile_adapter_config(path: Path) -> None:
    """Write an adapter's configuration that names programs, another computer, and patterns without end."""
    edit(
        path,
        peft_type="LORA",
        task_type="CAUSAL_LM",
        r=4,
        lora_alpha=8,
        base_model_name_or_path=HOST,
        target_modules=REGEX,
        exclude_modules=REGEX,
        layers_pattern=REGEX,
        rank_pattern={REGEX: 10**9},
        megatron_core="megatron.core",
        megatron_config={"tensor_model_parallel_size": 1},
        auto_mapping={"base_model_class": "Evil", "parent_library": "evil_model"},
        eva_config={"rho": 2.0},
        runtime_config={"ephemeral_gpu_offload": True},
        loftq_config={"loftq_bits": 4},
    )


def hostile_adapter(folder: Path) -> Path:
    """Make an adapter with sound tensors (of the tiny model's first layer) and a hostile configuration."""
    folder.mkdir()
    hostile_adapter_config(folder / "adapter_config.json")
    (folder / "evil.py").write_text("raise SystemExit")
    place = "base_model.model.model.layers.0.self_attn.q_proj"
    half = struct.pack("<f", 0.5) * (4 * 64)
    made = {f"{place}.lora_A.weight": ([4, 64], half), f"{place}.lora_B.weight": ([64, 4], half)}
    safetensors(folder / "adapter_model.safetensors", made)
    return folder
