"""M30: the head of a GGUF file is read within bounds, whatever stands in it."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from engine.errors import EngineError
from engine.models import gguf_header
from engine.models.gguf_header import read_gguf
from engine.models.library import convert_once
from engine.probes import proof
from tests.reliability.probe.mutations import KEYS, SOUND, head, key, mutated, tensor, text

MUTATIONS = 200


def refused(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(EngineError) as told:
        read_gguf(path)
    assert told.value.code == "MODEL-02" and told.value.hint
    return told.value.message


def test_m30_that_a_sound_head_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(SOUND)
    found = read_gguf(path)
    assert found.tensors == {"a": (8, 4), "b": (8, 4)} and found.values["tokenizer.ggml.tokens"] == 50


@pytest.mark.parametrize(
    ("forged", "why"),
    [
        (head(KEYS, [], counts=(0, 2**60)), "too many"),
        (head(KEYS, [], counts=(2**60, 0)), "too many"),
        (head([key("k", 8, struct.pack("<Q", 2**60))], []), "too long"),
        (head([key("k", 8, struct.pack("<Q", 4_000_000))], []), "too early"),
        (head([key("k", 9, struct.pack("<IQ", 8, 2**60))], []), "too long"),
        (head([key("k", 9, struct.pack("<IQ", 0, 3_000_000))], []), "beyond"),
        (head([key("k", 9, struct.pack("<IQ", 9, 1) + struct.pack("<IQ", 9, 1) * 9)], []), "not known"),
        (head([key("general.alignment", 4, struct.pack("<I", 0))], [tensor("a", 0)], 128), "alignment"),
        (head([key("general.alignment", 8, text("32"))], [tensor("a", 0)], 128), "alignment"),
        (head([key("k", 99, b"")], []), "not known"),
        (head([KEYS[0], KEYS[0]], []), "twice"),
        (head([], [tensor("a", 0), tensor("a", 128)], 256), "place of a"),
        (head([], [tensor("a", 0), tensor("b", 64)], 256), "place of b"),
        (head([], [tensor("a", 0), tensor("b", 128)], 255), "place of b"),
        (head([], [tensor("a", 2**60)], 128), "place of a"),
        (head([], [tensor("a", 7)], 256), "place of a"),
        (head([], [tensor("a", 0, columns=2**61)], 256), "impossible shape"),
        (head([], [text("a") + struct.pack("<I", 9)], 64), "cannot be"),
        (b"GGUF" + struct.pack("<IQQ", 9, 0, 0), "version"),
        (b"GGML", "begin"),
    ],
)
def test_m30_that_a_forged_head_is_refused(tmp_path: Path, forged: bytes, why: str) -> None:
    assert why in refused(tmp_path / "m.gguf", forged)


def test_m30_that_no_change_of_bytes_is_more_than_a_refusal(tmp_path: Path) -> None:
    chance, path, refusals = random.Random(30), tmp_path / "m.gguf", 0
    for _ in range(MUTATIONS):
        path.write_bytes(mutated(SOUND, chance))
        try:
            read_gguf(path)
        except EngineError as error:
            assert error.code == "MODEL-02", error
            refusals += 1
    assert refusals > MUTATIONS // 3


def test_m30_that_lists_without_end_are_refused_before_they_cost_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf_header, "MAX_ITEMS", 1000)
    empty = struct.pack("<IQ", 8, 400) + bytes(3200)
    keys = [key(f"k{i}", 9, empty) for i in range(3)]
    assert "lists are too long" in refused(tmp_path / "m.gguf", head(keys, []))


def test_m30_that_a_model_file_is_proven_in_a_child_before_it_is_converted(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(head(KEYS, [tensor("a", 2**60)]))
    with pytest.raises(EngineError) as told:
        convert_once(path)
    assert told.value.code == "MODEL-02" and told.value.file == str(path)
    path.write_bytes(SOUND)
    assert proof.proven(proof.file_question("gguf", path)) == {"keys": 5, "tensors": 2}
