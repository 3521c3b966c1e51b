"""Files of a stranger who wants his code to run: each leaves a canary when any of it is executed."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ROW = {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day."}]}
SSTI = (
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ cycler.__init__.__globals__.os.system('touch CANARY') }}",
    "{{ lipsum.__globals__['os'].popen('touch CANARY').read() }}",
    "{{ messages|attr('__class__')|attr('__base__') }}",
    "{% for c in [].__class__.__base__.__subclasses__() %}{% if c.__name__ == 'Popen' %}"
    "{{ c('touch CANARY', shell=True) }}{% endif %}{% endfor %}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ joiner.__init__.__globals__.os.popen('touch CANARY') }}",
    "{% set x = dict(__class__=1) %}{{ self._TemplateReference__context.environment.globals }}",
)
YAMLS = (
    "!!python/object/apply:os.system ['touch CANARY']",
    "name: !!python/object/new:os.system ['touch CANARY']",
    "data: {train: [!!python/name:os.system ]}",
    "name: ${touch CANARY}\ndata: {train: ['$(touch CANARY)']}",
    "name: x\nhooks: {before: touch CANARY}\nenvironment: {LD_PRELOAD: CANARY}",
    "name: x\ndata: {train: [rows.jsonl]}\nmodel: {path: x, trust_remote_code: true}",
)


class _Bomb:
    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> Any:
        return exec, (f"open({str(self._canary)!r}, 'w').close()",)


def pickled(canary: Path) -> bytes:
    """Return a pickle that makes the canary when it is loaded."""
    return pickle.dumps(_Bomb(canary))


def tensors(names: dict[str, tuple[int, ...]]) -> bytes:
    """Return a sound safetensors file of zeros in float32."""
    head: dict[str, Any] = {}
    at = 0
    for name, shape in names.items():
        size = 4
        for length in shape:
            size *= length
        head[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    raw = json.dumps(head).encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(at)


def packed(members: dict[str, bytes]) -> bytes:
    """Return a zip of members, whatever their names."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return made.getvalue()


def make(place: Path, tiny: Path, canary: Path) -> dict[str, list[Path]]:
    """Write all hostile files below `place` and return them by kind."""
    code = f"open({str(canary)!r}, 'w').close()\n"
    return {
        "models": _models(place / "models", tiny, canary, code),
        "adapters": _adapters(place / "adapters", canary, code),
        "data": _data(place / "data", canary, code),
        "recipes": [
            _file(place / f"recipes/r{i}.yaml", t.replace("CANARY", str(canary)).encode())
            for i, t in enumerate(YAMLS)
        ],
        "runs": _runs(place / "runs", canary, code),
    }


def _file(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _model(place: Path, tiny: Path, **config: Any) -> Path:
    place.mkdir(parents=True)
    for path in tiny.iterdir():
        if path.is_file():
            (place / path.name).write_bytes(path.read_bytes())
    own = json.loads((place / "config.json").read_bytes())
    (place / "config.json").write_text(json.dumps({**own, **config}))
    return place


def _models(place: Path, tiny: Path, canary: Path, code: str) -> list[Path]:
    weights = "model.safetensors"
    made = []
    for i, config in enumerate(
        (
            {"auto_map": {"AutoModelForCausalLM": "evil.Evil"}, "model_type": "evil"},
            {"auto_map": {"AutoConfig": "evil.Evil"}},
            {"trust_remote_code": True},
            {"_attn_implementation": "evil/kernel", "attn_implementation": "evil/kernel"},
            {"quantization_config": {"quant_method": "evil", "modules_to_not_convert": ["evil.Evil"]}},
            {"custom_pipelines": {"evil": {"impl": "evil.Evil", "pt": ["AutoModel"]}}},
        )
    ):
        folder = _model(place / f"config{i}", tiny, **config)
        for name in ("evil.py", "torch.py", "json.py", "sitecustomize.py", "evil.pth"):
            (folder / name).write_text(f"import os; {code}" if name.endswith("h") else code)
        made.append(folder)
    for i, name in enumerate(("pytorch_model.bin", "model.pt", "x.pkl", "x.ckpt")):
        folder = _model(place / f"pickled{i}", tiny)
        (folder / weights).unlink()
        _file(folder / name, pickled(canary))
        made.append(folder)
    folder = _model(place / "beside", tiny)
    _file(folder / "pytorch_model.bin", pickled(canary))
    disguised = _model(place / "disguised", tiny)
    _file(disguised / weights, pickled(canary))
    zipped = _model(place / "zipped", tiny)
    _file(zipped / weights, packed({"data.pkl": pickled(canary)}))
    outside = _file(place / "outside.safetensors", (tiny / weights).read_bytes())
    index = _model(place / "index", tiny)
    (index / weights).unlink()
    _file(index / f"{weights}.index.json", json.dumps({"weight_map": {"x": f"../{outside.name}"}}).encode())
    link = _model(place / "link", tiny)
    (link / weights).unlink()
    (link / weights).symlink_to(outside)
    made += [folder, disguised, zipped, index, link]
    for i, text in enumerate(SSTI):
        folder = _model(place / f"template{i}", tiny)
        (folder / "chat_template.jinja").write_text(text.replace("CANARY", str(canary)))
        made.append(folder)
    tokenizer = _model(place / "tokenizer", tiny)
    _file(
        tokenizer / "tokenizer_config.json",
        json.dumps(
            {"tokenizer_class": "evil.Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", None]}}
        ).encode(),
    )
    gguf = _file(place / "evil.gguf", b"GGUF" + struct.pack("<IQQ", 3, 2**60, 2**60) + pickled(canary))
    return [*made, tokenizer, gguf]


def _adapters(place: Path, canary: Path, code: str) -> list[Path]:
    names = {f"base_model.model.model.layers.0.self_attn.q_proj.lora_{s}.weight": (4, 4) for s in "AB"}
    usual = {
        "peft_type": "LORA",
        "r": 4,
        "lora_alpha": 8,
        "target_modules": ["q_proj"],
        "base_model_name_or_path": "x",
    }
    made = []
    for i, config in enumerate(
        (
            {"megatron_config": {}, "megatron_core": "megatron_evil"},
            {"auto_mapping": {"base_model_class": "Evil", "parent_library": "evil"}},
            {"base_model_name_or_path": "//evil/share"},
            {"runtime_config": {"evil": True}, "eva_config": {"evil": 1}},
            {"target_modules": "(a+)+$"},
            {"peft_type": "EVIL"},
        )
    ):
        folder = place / f"a{i}"
        _file(folder / "adapter_config.json", json.dumps({**usual, **config}).encode())
        _file(folder / "adapter_model.safetensors", tensors(names))
        _file(folder / "megatron_evil.py", code.encode())
        _file(folder / "evil.py", code.encode())
        made.append(folder)
    folder = place / "bin"
    _file(folder / "adapter_config.json", json.dumps(usual).encode())
    _file(folder / "adapter_model.bin", pickled(canary))
    return [*made, folder]


def _data(place: Path, canary: Path, code: str) -> list[Path]:
    row = json.dumps(ROW).encode() + b"\n"
    made = [
        _file(place / f"pickle.{end}", pickled(canary))
        for end in (
            "jsonl",
            "csv",
            "parquet",
            "arrow",
            "xlsx",
            "yaml",
            "txt",
            "npy",
            "npz",
            "zip",
            "gz",
            "zst",
            "md",
        )
    ]
    made.append(
        _file(place / "formula.csv", f"prompt,completion\n=cmd|'/c touch {canary}'!A1,@SUM(1)\n".encode())
    )
    made.append(
        _file(place / "tags.yaml", f"- !!python/object/apply:os.system ['touch {canary}']\n".encode())
    )
    made.append(_file(place / "up.zip", packed({"../../evil.jsonl": row, "/abs.jsonl": row})))
    made.append(
        _file(
            place / "code.jsonl", json.dumps({"text": f"__import__('os').system('touch {canary}')"}).encode()
        )
    )
    for name in ("torch.py", "json.py", "sitecustomize.py", "conftest.py", "loader.py"):
        _file(place / "folder" / name, code.encode())
    _file(place / "folder" / "train.jsonl", row * 3)
    _file(place / "folder" / "README.md", b"---\nconfigs: [{data_files: ../secret}]\n---\n")
    made.append(place / "folder")
    # Arrow's extension types once came as a pickle in a field's metadata (CVE-2023-47248).
    field = pa.field(
        "text",
        pa.string(),
        metadata={
            b"ARROW:extension:name": b"arrow.py_extension_type",
            b"ARROW:extension:metadata": pickled(canary),
        },
    )
    table = pa.table({"text": ["a", "b"]}).cast(pa.schema([field]))
    pq.write_table(table, place / "extension.parquet", store_schema=True)
    with (
        pa.OSFile(str(place / "extension.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, table.schema) as writer,
    ):
        writer.write_table(table)
    secret = _file(place.parent / "secret.jsonl", row)
    (place / "folder" / "link.jsonl").symlink_to(secret)
    return [*made, place / "extension.parquet", place / "extension.arrow"]


def _runs(place: Path, canary: Path, code: str) -> list[Path]:
    made = []
    for i in range(3):
        run = place / f"run{i}"
        _file(
            run / "job.json",
            json.dumps(
                {
                    "format": 1,
                    "kind": "train",
                    "id": f"run{i}",
                    "name": "x",
                    "created": 1.0,
                    "launcher": {},
                    "interpreter": f"/bin/sh -c 'touch {canary}'",
                    "arguments": {},
                }
            ).encode(),
        )
        _file(run / "recipe.yaml", YAMLS[i].replace("CANARY", str(canary)).encode())
        _file(run / "checkpoints/step-00000001/optimizer.pt", pickled(canary))
        _file(run / "checkpoints/step-00000001/MANIFEST.json", b'{"files": {}}')
        _file(run / "adapter/adapter_model.bin", pickled(canary))
        for name in ("torch.py", "sitecustomize.py", "engine.py"):
            _file(run / name, code.encode())
        _file(run / "events.jsonl", b'{"type":"started","seq":0}\n' + pickled(canary))
        made.append(run)
    return made
