"""Weight files of strangers: what breaks the format's promises is refused before torch sees it."""

from __future__ import annotations

import json
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest

from engine.errors import EngineError
from engine.models.gguf_header import read_gguf
from engine.models.safetensors_header import read_header
from engine.models.weight_files import read_headers, weight_paths

GOOD = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


def safetensors(path: Path, header: Any, data: bytes = bytes(8), length: int | None = None) -> Path:
    """Write a file of the format with any header, good or bad."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw) if length is None else length) + raw + data)
    return path


def entry(**changes: Any) -> dict[str, Any]:
    return {"a": {**GOOD["a"], **changes}}


def test_that_a_sound_header_is_read_with_absolute_offsets(tmp_path: Path) -> None:
    header = read_header(safetensors(tmp_path / "m.safetensors", GOOD))
    (tensor,) = header.tensors
    assert (tensor.name, tensor.shape, tensor.numel) == ("a", (2,), 2)
    assert (tensor.begin, tensor.end) == (header.data_start, header.data_start + 8)


@pytest.mark.parametrize(
    "header",
    [
        b"not json",
        b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "a": {}}',
        b"[" * 100_000,
        entry(dtype="F13"),
        entry(shape=[-2]),
        entry(shape=[2**60, 2**60]),
        entry(shape=[1] * 9),
        entry(shape=[3]),
        entry(shape=[True]),
        entry(data_offsets=[4, 12]),
        entry(data_offsets=[8, 0]),
        {"../a": GOOD["a"]},
        {"a\u0000": GOOD["a"]},
        {"a" * 300: GOOD["a"]},
        {"a\u202e": GOOD["a"]},
        {"a": GOOD["a"], "b": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}},
        {"__metadata__": {"x": 1}, **GOOD},
        {},
    ],
)
def test_that_a_forged_header_is_refused(tmp_path: Path, header: Any) -> None:
    with pytest.raises(EngineError) as told:
        read_header(safetensors(tmp_path / "m.safetensors", header))
    assert told.value.code == "MODEL-02"


@pytest.mark.parametrize("length", [2**63, 2**40, 17 * 2**20, 4_000])
def test_that_a_header_longer_than_the_file_is_refused_before_it_is_read(tmp_path: Path, length: int) -> None:
    with pytest.raises(EngineError, match="longer"):
        read_header(safetensors(tmp_path / "m.safetensors", GOOD, length=length))


def test_that_too_many_tensors_are_refused(tmp_path: Path) -> None:
    many = {f"t{i}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for i in range(70_000)}
    path = safetensors(tmp_path / "m.safetensors", many, b"")
    with pytest.raises(EngineError, match="tensors"):
        read_header(path)


def test_that_bytes_after_the_end_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="bytes long"):
        read_header(safetensors(tmp_path / "m.safetensors", GOOD, bytes(9)))


def test_that_a_pickle_is_never_opened(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(EngineError) as told:
        weight_paths(tmp_path)
    assert told.value.code == "MODEL-01"
    (tmp_path / "model.safetensors").write_bytes(pickle.dumps(list(range(100))))
    with pytest.raises(EngineError) as told:
        read_headers(tmp_path)
    assert told.value.code == "MODEL-02"


@pytest.mark.parametrize(
    "name", ["../x.safetensors", "/etc/passwd", "a/b.safetensors", "\\\\host\\x.safetensors"]
)
def test_that_an_index_may_not_name_a_place_outside(tmp_path: Path, name: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(EngineError) as told:
        weight_paths(tmp_path)
    assert told.value.code == "MODEL-03"


@pytest.mark.skipif(os.name == "nt", reason="making links needs rights on Windows")
def test_that_a_link_out_of_the_folder_is_refused_and_one_into_the_hubs_blobs_is_not(tmp_path: Path) -> None:
    outside = safetensors(tmp_path / "outside.safetensors", GOOD)
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").symlink_to(outside)
    with pytest.raises(EngineError) as told:
        weight_paths(model)
    assert told.value.code == "MODEL-03"
    snapshot = tmp_path / "models--a--b" / "snapshots" / "c0ffee"
    blobs = tmp_path / "models--a--b" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    safetensors(blobs / "123", GOOD)
    (snapshot / "model.safetensors").symlink_to(blobs / "123")
    assert [t.name for h in read_headers(snapshot) for t in h.tensors] == ["a"]


def test_that_one_name_in_two_files_is_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        safetensors(tmp_path / f"{name}.safetensors", GOOD)
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(EngineError, match="two files"):
        read_headers(tmp_path)


def gguf(path: Path, *, keys: bytes = b"", key_count: int = 0, tensors: int = 0, tail: bytes = b"") -> Path:
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, tensors, key_count) + keys + tail)
    return path


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def test_that_a_gguf_head_is_read(tmp_path: Path) -> None:
    keys = text("general.architecture") + struct.pack("<I", 8) + text("llama")
    keys += text("llama.block_count") + struct.pack("<II", 4, 30)
    keys += text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("b")
    shape = text("blk") + struct.pack("<IQQIQ", 2, 4, 8, 0, 0) + bytes(31 + 128)  # filled up to 32 bytes
    facts = read_gguf(gguf(tmp_path / "m.gguf", keys=keys, key_count=3, tensors=1, tail=shape))
    assert facts.architecture == "llama"
    assert facts.values["llama.block_count"] == 30
    assert facts.values["tokenizer.ggml.tokens"] == 2
    assert facts.tensors == {"blk": (4, 8)}


@pytest.mark.parametrize(
    "made",
    [
        {"key_count": 2**60},
        {"tensors": 2**60},
        {"key_count": 1, "keys": struct.pack("<Q", 2**50)},
        {"key_count": 1, "keys": text("k") + struct.pack("<IIQ", 9, 0, 2**50)},
        {"key_count": 1, "keys": text("k") + struct.pack("<I", 99)},
        {"key_count": 1, "keys": text("general.alignment") + struct.pack("<II", 4, 0)},
        {"tensors": 1, "tail": text("t") + struct.pack("<IQIQ", 1, 2**50, 0, 0)},
        {"tensors": 1, "tail": text("t") + struct.pack("<IQIQ", 1, 4, 0, 2**50)},
        {"key_count": 1},
    ],
)
def test_that_a_forged_gguf_is_refused(tmp_path: Path, made: dict[str, Any]) -> None:
    with pytest.raises(EngineError) as told:
        read_gguf(gguf(tmp_path / "m.gguf", **made))
    assert told.value.code == "MODEL-02"
