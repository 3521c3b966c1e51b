"""Values that are no numbers are found in every type of number that a file of weights can hold (M10)."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from engine.errors import EngineError
from engine.models import sound_values
from engine.models.sound_values import refuse_no_numbers

# Bits of values: (largest numbers of both signs, then what is none).
BITS: dict[str, tuple[str, list[int], list[int]]] = {
    "F64": ("<u8", [0x7FEFFFFFFFFFFFFF, 0xFFEFFFFFFFFFFFFF], [0x7FF0000000000000, 0xFFF8000000000000]),
    "F32": ("<u4", [0x7F7FFFFF, 0xFF7FFFFF], [0x7F800000, 0xFF800000, 0x7F800001]),
    "F16": ("<u2", [0x7BFF, 0xFBFF], [0x7C00, 0xFC00, 0x7E00]),
    "BF16": ("<u2", [0x7F7F, 0xFF7F], [0x7F80, 0xFF80, 0x7FC0]),
    "F8_E5M2": ("<u1", [0x7B, 0xFB], [0x7C, 0xFC, 0x7F]),
    "F8_E4M3": ("<u1", [0x7E, 0xFE], [0x7F, 0xFF]),
    "F8_E8M0": ("<u1", [0xFE], [0xFF]),
    "I8": ("<u1", [0x7F, 0xFF], []),
}


def written(path: Path, kind: str, values: np.ndarray) -> Path:
    """Write a file of two tensors: a sound one, and these values."""
    raw = values.tobytes()
    header = {
        "a.first": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        "b.second": {"dtype": kind, "shape": [len(values)], "data_offsets": [4, 4 + len(raw)]},
    }
    told = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(told)) + told + bytes(4) + raw)
    return path


@pytest.mark.parametrize("kind", BITS)
def test_m10_that_a_value_that_is_no_number_is_found_wherever_it_stands(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sound_values, "PIECE_BYTES", 64)
    form, sound, none = BITS[kind]
    values = np.resize(np.array([0, *sound], form), 101)
    path = tmp_path / "adapter_model.safetensors"
    refuse_no_numbers(written(path, kind, values))
    for bits in none:
        for at in (0, 63, 100):
            damaged = values.copy()
            damaged[at] = bits
            with pytest.raises(EngineError) as told:
                refuse_no_numbers(written(path, kind, damaged))
            assert told.value.code == "MODEL-02" and told.value.file == str(path) and told.value.hint
            assert "adapter_model.safetensors" in told.value.message and "b.second" in told.value.message
