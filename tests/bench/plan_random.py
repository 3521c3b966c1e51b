"""Random models, methods and devices: what a dry run of our engine counts against what the plan says.

    python tests/bench/plan_random.py                    # 30 cases of real sizes
    python tests/bench/plan_random.py --small --count 8  # a short form; --json for its figures alone

Each case is a family with random sizes, a method, and random values of what changes memory. Both sides count
tensors alone, without runtime and reserve. Trainable parameters have to be equal.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from engine.hardware.devices import Gpu  # noqa: E402
from engine.models.facts import facts_of_config  # noqa: E402
from engine.plan.adapter_size import trainable_parameters  # noqa: E402
from engine.plan.memory import memory_terms  # noqa: E402
from engine.plan.setting import setting_of  # noqa: E402
from engine.recipe.codec import override  # noqa: E402
from engine.recipe.combinations import clashes  # noqa: E402
from engine.recipe.recipe import Recipe  # noqa: E402

GPU = Gpu("a GPU", "", 80 * 10**9, 80 * 10**9, "", (9, 0))
FAMILIES = ("llama", "llama", "mistral", "qwen2", "qwen3", "gemma2", "phi3")
METHODS = ("lora", "lora", "lora", "lora", "dora", "full", "adalora", "vera", "ia3", "oft")
EVERY = ("lora", "dora", "full", "adalora", "vera", "ia3", "oft")
QUANTISED = ({}, {}, {"model.load_in_4bit": True}, {"model.load_in_8bit": True})


@dataclass(frozen=True)
class Case:
    """One comparison, in bytes; `error` is the plan's over the count."""

    seed: int
    words: str
    counted: int
    planned: float
    trainable: int
    planned_trainable: int

    @property
    def error(self) -> float:
        """Return how far the plan is from the count, as a share of it."""
        return self.planned / self.counted - 1


def draw_config(chance: random.Random, *, small: bool) -> dict[str, Any]:
    """Return the config.json of a family with random sizes."""
    head = 32 if small else chance.choice([64, 128])
    heads = chance.choice([4, 8] if small else [8, 16, 24, 32])
    config: dict[str, Any] = {
        "model_type": (family := chance.choice(FAMILIES)),
        "hidden_size": head * heads,
        "intermediate_size": 64 * round(head * heads * chance.uniform(2.5, 4) / 64),
        "num_hidden_layers": chance.randint(2, 4) if small else chance.randint(4, 16),
        "num_attention_heads": heads,
        "num_key_value_heads": chance.choice([2, 4, heads]),
        "vocab_size": chance.choice([4096] if small else [32000, 50304, 128256]),
        "max_position_embeddings": 8192,
        "tie_word_embeddings": chance.random() < 0.5,
    }
    config |= dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), 0)
    return config | ({"head_dim": head} if family in ("qwen3", "gemma2") else {})


def draw_recipe(chance: random.Random, method: str, *, small: bool) -> Recipe:
    """Return a recipe of a method with random values of what changes memory."""
    values: dict[str, Any] = {
        "adapter.method": "lora" if method == "dora" else method,
        "adapter.use_dora": method == "dora",
        "adapter.r": chance.choice([4, 8, 16, 64]),
        "adapter.lora_dropout": chance.choice([0.0, 0.05]),
        "training.gradient_checkpointing": chance.choice(["none", "none", "all"]),
        "training.per_device_train_batch_size": chance.choice([1, 1, 2, 4]),
        "training.gradient_accumulation_steps": chance.choice([1, 1, 4]),
        "training.optim": chance.choice(["adamw", "adamw", "sgd", "adamw_8bit", "lion"]),
        "data.max_length": chance.choice([128, 256] if small else [256, 512, 1024, 2048]),
    }
    if method in ("lora", "dora"):
        values["adapter.target_modules"] = chance.choice(
            ["all-linear", "all-linear", ["query", "value"], ["mlp"], ["attention"]]
        )
    if method == "lora":
        values |= chance.choice(QUANTISED)
    return override(Recipe(), values)


def compare(seed: int, method: str | None = None, *, small: bool = False) -> Case:
    """Return one case; two in ten are a processor's."""
    from engine.runtime.dry_run import dry_run

    chance = random.Random(seed)
    config = draw_config(chance, small=small)
    name = method or chance.choice(METHODS)
    recipe = draw_recipe(chance, name, small=small)
    while clashes(recipe):
        recipe = draw_recipe(chance, name, small=small)
    quantised = recipe.model.load_in_4bit or recipe.model.load_in_8bit
    device = "cpu" if chance.random() < 0.2 and not quantised else "cuda"
    twice = recipe.training.gradient_checkpointing == "all"
    facts = facts_of_config(config)
    setting = setting_of(recipe, None, GPU if device == "cuda" else None, checkpointing=twice)
    terms = memory_terms(recipe, facts, setting)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps(config))
        counted = dry_run(recipe, Path(folder), None, device=device)
    gc.collect()
    return Case(
        seed,
        f"{device} {name} {_words(config, recipe)}",
        counted.peak_bytes,
        sum(terms.values()) - terms["runtime"],
        counted.trainable_parameters,
        trainable_parameters(facts, recipe.adapter),
    )


def _words(config: dict[str, Any], recipe: Recipe) -> str:
    training, adapter = recipe.training, recipe.adapter
    quantised = "4bit " if recipe.model.load_in_4bit else "int8 " if recipe.model.load_in_8bit else ""
    twice = "checkpointed " if training.gradient_checkpointing == "all" else ""
    return (
        f"{config['model_type']} d{config['hidden_size']} l{config['num_hidden_layers']} {quantised}{twice}"
        f"r{adapter.r} {adapter.target_modules} dropout {adapter.lora_dropout} "
        f"b{training.per_device_train_batch_size}x{recipe.data.max_length} "
        f"ga{training.gradient_accumulation_steps} {training.optim}"
    )


def main() -> None:
    """Print each case, then the median and the worst error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small", action="store_true", help="small sizes, each method in turn")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    cases = []
    for number in range(args.count):
        method = EVERY[number % len(EVERY)] if args.small else None
        case = compare(args.seed + number, method, small=args.small)
        cases.append(case)
        if not args.json:
            same = "" if case.trainable == case.planned_trainable else "  TRAINABLE DIFFERS"
            print(
                f"{case.seed:3} {case.error:+7.1%} {case.counted / 1e9:8.3f} {case.planned / 1e9:8.3f}  "
                f"{case.words}{same}",
                flush=True,
            )
    sizes = [abs(case.error) for case in cases]
    if args.json:
        print(json.dumps([{**asdict(case), "error": case.error} for case in cases]))
    else:
        print(f"median {statistics.median(sizes):.2%}, worst {max(sizes):.2%}")


if __name__ == "__main__":
    main()
