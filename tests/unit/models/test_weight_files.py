"""Weight files of strangers: what breaks the format's promises is refused before torch sees it."""

from __future__ import annotations

import json
import os
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest

from engine.errors import EngineError
from engine.models.gate import ignored_files, refuse_links
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


def refused(path: Path, header: Any) -> None:
    with pytest.raises(EngineError) as told:
        read_header(safetensors(path, header))
    assert told.value.code == "MODEL-02"


@pytest.mark.parametrize("header", [b"not json", b"[" * 100_000, {"__metadata__": {"x": 1}, **GOOD}, {}])
def test_m02_that_what_is_no_header_is_refused(tmp_path: Path, header: Any) -> None:
    refused(tmp_path / "m.safetensors", header)


@pytest.mark.parametrize(
    "header",
    [
        {"a": GOOD["a"], "b": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}},
        {"a": GOOD["a"], "b": GOOD["a"]},
        entry(data_offsets=[4, 12]),
        entry(data_offsets=[8, 0]),
    ],
)
def test_m06_that_bytes_that_overlap_or_leave_a_gap_are_refused(tmp_path: Path, header: Any) -> None:
    refused(tmp_path / "m.safetensors", header)


def test_m07_that_one_name_twice_in_a_header_is_refused(tmp_path: Path) -> None:
    twice = b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "a": {}}'
    refused(tmp_path / "m.safetensors", twice)


@pytest.mark.parametrize(
    "header",
    [
        entry(dtype="F13"),
        entry(shape=[-2]),
        entry(shape=[2**60, 2**60]),
        entry(shape=[2**32, 2**32]),
        entry(shape=[1] * 9),
        entry(shape=[3]),
        entry(shape=[True]),
    ],
)
def test_m08_that_impossible_shapes_and_types_are_refused(tmp_path: Path, header: Any) -> None:
    refused(tmp_path / "m.safetensors", header)


@pytest.mark.parametrize("name", ["../a", "a\u0000", "a" * 300, "a\u202e", "a" * 10_000, "C:\\a", ""])
def test_m09_that_a_tensors_name_is_plain_and_short(tmp_path: Path, name: str) -> None:
    refused(tmp_path / "m.safetensors", {name: GOOD["a"]})


@pytest.mark.parametrize("length", [2**63, 2**40, 17 * 2**20, 4_000])
def test_m04_that_a_header_longer_than_the_file_is_refused_before_it_is_read(
    tmp_path: Path, length: int
) -> None:
    path = safetensors(tmp_path / "m.safetensors", GOOD, length=length)
    tracemalloc.start()
    with pytest.raises(EngineError, match="longer") as told:
        read_header(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    assert told.value.code == "MODEL-02"


def test_m05_that_too_many_tensors_are_refused(tmp_path: Path) -> None:
    many = {f"t{i}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for i in range(70_000)}
    path = safetensors(tmp_path / "m.safetensors", many, b"")
    with pytest.raises(EngineError, match="tensors"):
        read_header(path)


def test_m06_that_bytes_after_the_end_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="bytes long"):
        read_header(safetensors(tmp_path / "m.safetensors", GOOD, bytes(9)))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "a.pth", "a.ckpt", "a.pkl", "a.npy"])
def test_m01_that_a_pickle_is_never_opened(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(EngineError) as told:
        weight_paths(tmp_path)
    assert told.value.code == "MODEL-01"
    assert ignored_files(tmp_path) == (name,)


@pytest.mark.parametrize("zipped", [False, True])
def test_m02_that_a_pickle_or_a_zip_by_another_name_is_refused(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(list(range(100))))
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(list(range(100))))
    with pytest.raises(EngineError) as told:
        read_headers(tmp_path)
    assert told.value.code == "MODEL-02"


@pytest.mark.parametrize(
    "name", ["../x.safetensors", "/etc/passwd", "a/b.safetensors", "\\\\host\\x.safetensors"]
)
def test_m11_that_an_index_may_not_name_a_place_outside(tmp_path: Path, name: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(EngineError) as told:
        weight_paths(tmp_path)
    assert told.value.code == "MODEL-03"


@pytest.mark.skipif(os.name == "nt", reason="making links needs rights on Windows")
def test_m12_that_a_link_out_of_the_folder_is_refused_and_one_into_the_hubs_blobs_is_not(
    tmp_path: Path,
) -> None:
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


@pytest.mark.skipif(os.name == "nt", reason="making links needs rights on Windows")
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "chat_template.jinja", "LICENSE"])
@pytest.mark.parametrize("hard", [False, True])
def test_m12_that_no_file_of_a_model_is_a_link_to_one_elsewhere(
    tmp_path: Path, name: str, hard: bool
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("{}")
    model = tmp_path / "model"
    model.mkdir()
    (model / name).hardlink_to(secret) if hard else (model / name).symlink_to(secret)
    with pytest.raises(EngineError) as told:
        refuse_links(model)
    assert told.value.code == "MODEL-03" and name in told.value.message
    (model / name).unlink()
    (model / "evil.py").symlink_to(secret)  # never read, so left alone
    (model / name).write_text("{}")
    (model / "twin.json").hardlink_to(model / name)  # both names are in the folder
    refuse_links(model)


@pytest.mark.skipif(os.name == "nt", reason="making links needs rights on Windows")
def test_m12_that_only_the_hubs_own_layout_has_links(tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "mine" / "snapshots" / "c0ffee", tmp_path / "mine" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    (blobs / "1").write_text("{}")
    (snapshot / "config.json").symlink_to(blobs / "1")
    with pytest.raises(EngineError, match="points outside"):
        refuse_links(snapshot)
    (tmp_path / "mine").rename(tmp_path / "models--a--b")
    moved = tmp_path / "models--a--b" / "snapshots" / "c0ffee"
    (moved / "config.json").unlink()
    (moved / "config.json").symlink_to("../../blobs/1")
    refuse_links(moved)


def test_m07_that_one_name_in_two_files_is_refused(tmp_path: Path) -> None:
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
