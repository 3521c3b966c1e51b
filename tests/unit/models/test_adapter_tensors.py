"""Adapters of every method whose names, shapes and configuration were changed by chance: told in words."""

from __future__ import annotations

import json
import random
import struct
import time
from pathlib import Path
from typing import Any

import pytest

from engine.errors import EngineError
from engine.models.adapter_facts import read_adapter_facts
from engine.models.adapter_tensors import block_size
from engine.models.facts import read_facts
from engine.models.fit import check_fit, refuse_unready

Q = "base_model.model.model.layers.0.self_attn.q_proj"
K = "base_model.model.model.layers.1.self_attn.k_proj"
Shapes = dict[str, tuple[int, ...]]
METHODS: dict[str, tuple[dict[str, Any], Shapes]] = {
    "lora": (
        {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "bias": "all", "alpha_pattern": {"q_proj": 2}},
        {
            f"{Q}.lora_A.weight": (4, 64),
            f"{Q}.lora_B.weight": (64, 4),
            f"{Q}.lora_magnitude_vector": (64,),
            "base_model.model.lm_head.weight": (512, 64),
            "base_model.model.model.norm.weight": (64,),
        },
    ),
    "adalora": (
        {"peft_type": "ADALORA", "init_r": 6, "lora_alpha": 8},
        {f"{Q}.lora_A": (4, 64), f"{Q}.lora_E": (4, 1), f"{Q}.lora_B": (64, 4)},
    ),
    "vera": (
        {"peft_type": "VERA", "r": 16, "projection_prng_key": 3, "save_projection": True},
        {
            "base_model.vera_A": (16, 64),
            "base_model.vera_B": (64, 16),
            f"{Q}.vera_lambda_d": (16,),
            f"{Q}.vera_lambda_b": (64,),
        },
    ),
    "ia3": ({"peft_type": "IA3"}, {f"{K}.ia3_l": (32, 1)}),
    "oft": (
        {"peft_type": "OFT", "r": 0, "oft_block_size": 16, "eps": 6e-5, "num_cayley_neumann_terms": 5},
        {f"{Q}.oft_R.weight": (4, 120)},
    ),
}
JUNK = (None, True, -1, 0, 1, 2.5, 10**30, float("inf"), "", "(a+)+$", "x" * 5000, [], [1], {}, {"a": [{}]})


def write(folder: Path, config: dict[str, Any], shapes: Shapes) -> Path:
    """Write an adapter of zeros without any library."""
    folder.mkdir()
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 4
        for side in shape:
            size *= side
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    raw = json.dumps(header).encode()
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(raw)) + raw + bytes(at))
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def use(folder: Path, base: Any) -> None:
    facts = read_adapter_facts(folder)
    refuse_unready(facts)
    check_fit(facts, base)


@pytest.mark.parametrize("method", list(METHODS))
def test_that_chance_changes_are_told_in_words_and_the_sound_adapter_is_taken(
    tiny_model: Path, tmp_path: Path, method: str
) -> None:
    base, dice = read_facts(tiny_model), random.Random(method)
    config, shapes = METHODS[method]
    use(write(tmp_path / "sound", config, shapes), base)
    began, told = time.perf_counter(), 0
    for number in range(150):
        values, sizes = dict(config), dict(shapes)
        for _ in range(dice.randint(1, 3)):
            name = dice.choice(list(sizes) or [""])
            change = dice.randrange(4)
            if change == 0:
                values[dice.choice([*config, "use_rslora", "coft", "block_share", "bias"])] = dice.choice(
                    JUNK
                )
            elif change == 1 and name:
                sizes[name] = tuple(dice.choice((0, 1, 3, 64, 65)) for _ in range(dice.randrange(4)))
            elif change == 2 and name:
                del sizes[name]
            elif name:
                sizes[name[: dice.randrange(4, len(name))] + dice.choice(("", ".lora_A", ".weight"))] = (1, 1)
        try:
            use(write(tmp_path / str(number), values, sizes), base)
        except EngineError as error:
            assert error.message and error.hint and len(error.message) < 1000
            told += 1
    assert told > 60 and time.perf_counter() - began < 60


@pytest.mark.parametrize(("values", "size"), [(0, 1), (1, 2), (3, 3), (120, 16), (2, None), (121, None)])
def test_that_a_rotations_size_is_read_from_its_triangle(values: int, size: int | None) -> None:
    assert block_size(values) == size
