"""Small random configurations of every family with a table, and what transformers builds from each."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock

SCRIPT = Path(__file__).parents[1] / "data" / "make_meta_models.py"
A_FAMILY = 5  # configurations of each
SAVED = 1  # the one whose weights are made as well
_EIGHTH: dict[str, tuple[Any, ...]] = {"head_dim": (8, 16)}
_BIASES: dict[str, tuple[Any, ...]] = {"attention_bias": (False, True), "mlp_bias": (False, True)}
_ATTENTION: dict[str, tuple[Any, ...]] = {"attention_bias": (False, True)}
_SPARSE: dict[str, tuple[Any, ...]] = {
    "num_experts": (3, 4),
    "moe_intermediate_size": (24, 40),
    "decoder_sparse_step": (1, 2),
    "mlp_only_layers": ([], [0]),
}
# What each family may vary beside the sizes that all have; tied and untied heads are tried in all.
VARIED: dict[str, dict[str, tuple[Any, ...]]] = {
    "llama": {**_BIASES, **_EIGHTH},
    "mistral": {**_EIGHTH, "sliding_window": (None, 64)},
    "ministral": _EIGHTH,
    "qwen2": {"use_sliding_window": (False, True), "max_window_layers": (0, 1, 2)},
    "qwen3": {**_ATTENTION, **_EIGHTH, "use_sliding_window": (False, True), "max_window_layers": (1,)},
    "gemma": {**_ATTENTION, **_EIGHTH},
    "gemma2": {**_ATTENTION, **_EIGHTH},
    "gemma3_text": {**_ATTENTION, **_EIGHTH},
    "phi": {"qk_layernorm": (False, True)},
    "phi3": {"sliding_window": (None, 64)},
    "smollm3": _BIASES,
    "gpt2": {"n_inner": (None, 40)},
    "gpt_neox": {**_ATTENTION, "use_parallel_residual": (False, True)},
    "falcon": {
        "multi_query": (False, True),
        "parallel_attn": (False, True),
        "new_decoder_architecture": (False, True),
        "num_ln_in_parallel_attn": (None, 1, 2),
        "bias": (False, True),
        "ffn_hidden_size": (None, 40),
    },
    "bloom": {},
    "opt": {"enable_bias": (False, True), "do_layer_norm_before": (False, True)},
    "olmo": _ATTENTION,
    "olmo2": _ATTENTION,
    "olmo3": _ATTENTION,
    "granite": _BIASES,
    "starcoder2": {"use_bias": (False, True)},
    "mixtral": {"num_local_experts": (2, 3), **_EIGHTH},
    "qwen2_moe": {**_SPARSE, "qkv_bias": (False, True), "shared_expert_intermediate_size": (16, 32)},
    "qwen3_moe": {**_SPARSE, **_ATTENTION, **_EIGHTH},
    "gemma3": {},
}


def _sizes(family: str, dice: random.Random) -> dict[str, Any]:
    """Return sizes under the names of the family."""
    heads = dice.choice((2, 4))
    hidden, layers, wide = 8 * heads * dice.choice((1, 2)), dice.randint(1, 4), dice.choice((24, 48))
    vocab = dice.randint(50, 90)
    if family == "gpt2":
        return {"n_embd": hidden, "n_layer": layers, "n_head": heads, "vocab_size": vocab, "n_positions": 32}
    if family == "bloom":
        return {"hidden_size": hidden, "n_layer": layers, "n_head": heads, "vocab_size": vocab}
    sizes = {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads}
    sizes |= {"vocab_size": vocab, "pad_token_id": 0, "max_position_embeddings": 32}
    if family == "falcon":
        return {**sizes, "num_kv_heads": dice.choice((1, 2))}
    if family == "opt":
        return {**sizes, "ffn_dim": wide, "word_embed_proj_dim": dice.choice((hidden, 8))}
    sizes["intermediate_size"] = wide
    return sizes if family == "gpt_neox" else {**sizes, "num_key_value_heads": dice.choice((1, 2))}


def configurations(family: str) -> list[dict[str, Any]]:
    """Return random configurations of a family, always the same; every value that it varies comes up."""
    dice, found = random.Random(family), []
    for number in range(A_FAMILY):
        values = _sizes(family, dice)
        for key, choices in VARIED[family].items():
            values[key] = choices[(number + dice.randrange(2)) % len(choices)]
        if number < 3:
            values["tie_word_embeddings"] = bool(number % 2) or family == "opt"
        if family == "gemma3":
            vision = {"hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": number + 1}
            vision |= {"num_attention_heads": 2, "image_size": 28, "patch_size": 14}
            tied = values.pop("tie_word_embeddings", None)
            vision["vision_use_head"] = bool(number % 2)
            values = {"text_config": values, "vision_config": vision}
            values |= {} if tied is None else {"tie_word_embeddings": tied}
        found.append(values)
    return found


@cache
def meta_models() -> tuple[Path, dict[str, Any]]:
    """Return the folder of the configurations and what was built of each, by family and number.

    The first worker of a run of tests that asks makes it for all.
    """
    folder = Path(os.environ["TUNESMITH_TESTS_SHARED"]) / "meta-models"
    with FileLock(f"{folder}.lock"):
        if not (folder / "built.json").exists():
            _make(folder)
    return folder, json.loads((folder / "built.json").read_text())


def _make(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    asked = [
        {"name": f"{family}-{number}", "model_type": family, "values": values, "save": number == SAVED}
        for family in VARIED
        for number, values in enumerate(configurations(family))
    ]
    command = [sys.executable, str(SCRIPT), str(folder)]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
