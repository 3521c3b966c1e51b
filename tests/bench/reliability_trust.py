"""Long forms of the gate for strangers' models: how long forged files are looked at, in how much memory.

usage: python -m tests.bench.reliability M4 M5 M14 M20 M21 M22
"""

from __future__ import annotations

import json
import resource
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.errors import EngineError  # noqa: E402
from engine.models import config_keys  # noqa: E402
from engine.models.adapter_facts import read_adapter_facts  # noqa: E402
from engine.models.facts import read_facts  # noqa: E402
from engine.models.safetensors_header import read_header  # noqa: E402
from tests.reliability.trust import strangers  # noqa: E402

SECONDS, MEGABYTES = 1.0, 150.0


def _refused(code: str, call: Callable[[], Any]) -> str:
    """Return how long a refusal took and what it cost; raises AssertionError when it is none or too dear."""
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        call()
    except EngineError as error:
        assert error.code == code, error
    else:
        raise AssertionError("it was taken")
    seconds = time.process_time() - began
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert seconds < SECONDS and grown < MEGABYTES, f"{seconds:.2f} s, {grown:.0f} MB"
    return f"{seconds:.2f} s of processor time, {grown:.0f} MB more at most"


def _file(folder: Path, raw: bytes, length: int | None = None) -> Path:
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(raw) if length is None else length) + raw)
    return path


def m04() -> str:
    """Claim headers of 2^63, of more than the file and of more than 16 MiB."""
    told = []
    with tempfile.TemporaryDirectory() as place:
        for length in (2**63, 2**40, (16 << 20) + 1):
            path = _file(Path(place), bytes(17 << 20), length)
            told.append(_refused("MODEL-02", lambda path=path: read_header(path)))
    return "; ".join(told)


def m05() -> str:
    """Name 300,000 tensors in 20 MB, and as many as fit into 16 MiB."""
    told = []
    for count in (300_000, 240_000, 131_000):
        entry = '"tensor%07d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}'
        raw = ("{" + ",".join(entry % i for i in range(count)) + "}").encode()
        with tempfile.TemporaryDirectory() as place:
            path = _file(Path(place), raw)
            told.append(f"{count:,} tensors, {len(raw) >> 20} MiB: ")
            told[-1] += _refused("MODEL-02", lambda path=path: read_header(path))
    return "; ".join(told)


def m14() -> str:
    """Read the keys of every type of model that the installed transformers has."""
    began = time.process_time()
    types = [name for name in config_keys._tables()[0] if config_keys.is_builtin(name)]
    for name in types:
        assert not config_keys.known_keys(name) & config_keys.NEVER, name
    return f"{len(types)} types known by their keys in {time.process_time() - began:.1f} s"


def m20() -> str:
    """Read an adapter whose patterns never end."""
    with tempfile.TemporaryDirectory() as place:
        folder = strangers.hostile_adapter(Path(place) / "adapter")
        began = time.process_time()
        facts = read_adapter_facts(folder)
        seconds = time.process_time() - began
        assert seconds < SECONDS and len(facts.modules) == 1
        return f"{seconds:.3f} s; left out: {', '.join(facts.dropped_fields)}"


def m21() -> str:
    """Claim a rank of 10^9."""
    with tempfile.TemporaryDirectory() as place:
        folder = strangers.hostile_adapter(Path(place) / "adapter")
        strangers.edit(folder / "adapter_config.json", r=10**9)
        return _refused("MODEL-05", lambda: read_adapter_facts(folder))


def m22() -> str:
    """Claim a hidden size of 10^9 and a million layers over a small file."""
    told = []
    for claim in ({"hidden_size": 10**9}, {"num_hidden_layers": 10**6}, {"vocab_size": 10**12}):
        with tempfile.TemporaryDirectory() as place:
            config: dict[str, Any] = {
                "model_type": "llama",
                "hidden_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "vocab_size": 512,
                **claim,
            }
            (Path(place) / "config.json").write_text(json.dumps(config))
            strangers.safetensors(Path(place) / "model.safetensors", {"a": ([2], bytes(8))})
            told.append(_refused("MODEL-05", lambda place=place: read_facts(place)))
    return "; ".join(told)


MEASURES: dict[str, Callable[[], str]] = {
    "M4": m04,
    "M5": m05,
    "M14": m14,
    "M20": m20,
    "M21": m21,
    "M22": m22,
}
