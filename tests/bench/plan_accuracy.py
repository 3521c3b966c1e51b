"""How near the plan's memory comes to what was replayed and published: one line for each known figure.

    python tests/bench/plan_accuracy.py            # the table, and the time of a plan
    python tests/bench/plan_accuracy.py --own 30   # random shapes and recipes against our own dry run

K rows are replays of transformers and peft on tensors without values, F and P rows published peaks of the
article's trainer and of peft (sources: docs, "Where the figures come from"). Gigabytes are 1e9 bytes.
"""

from __future__ import annotations

import argparse
import gc
import random
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from engine.models.facts import facts_of_config  # noqa: E402
from engine.plan.memory import Setting, memory_terms  # noqa: E402
from engine.plan.planner import DataFacts, plan  # noqa: E402
from engine.recipe.codec import override  # noqa: E402
from engine.recipe.recipe import Recipe  # noqa: E402
from tests.bench.plan_rows import KNOWN, Row, facts_of, recipe_of  # noqa: E402

GIGA = 1e9


def peak_of(row: Row) -> float:
    """Return the allocator's peak that the formula gives, in gigabytes."""
    recipe = recipe_of(row)
    setting = Setting(
        device="cuda",
        number_bytes=2,
        batch_tokens=row.tokens * row.batch,
        checkpointing=recipe.training.gradient_checkpointing == "all",
        longest=row.tokens,
        sequences=row.batch,
        **row.setting,
    )
    terms = memory_terms(recipe, facts_of(row.model), setting, row.profile)
    return (sum(terms.values()) - terms["runtime"]) / GIGA


def table() -> None:
    """Print one line for each known figure."""
    print(f"{'id':4} {'setting':40} {'formula':>8} {'known':>8} {'error':>7}")
    for row in KNOWN:
        found = peak_of(row)
        words = f"{row.words}" if row.model == "Llama-2-7B" else f"{row.model}: {row.words}"
        print(
            f"{row.id:4} {words[:40]:40} {found:8.2f} {row.peak:8.2f} {found / row.peak - 1:+7.1%}  {row.gap}"
        )


def speed(count: int = 100) -> None:
    """Print how long one plan takes, data known and memory short, so that all changes are tried.

    Those of the known rows and of random shapes and recipes, each of a model and then again at another rank,
    as a key in the window makes it.
    """
    from tests.bench.plan_random import METHODS, draw_config, draw_recipe

    asked = [(facts_of(row.model), recipe_of(row), row.profile) for row in KNOWN]
    for seed in range(count):
        chance = random.Random(seed)
        facts = facts_of_config(draw_config(chance, small=False))
        asked.append((facts, draw_recipe(chance, chance.choice(METHODS), small=False), "own"))
    data = DataFacts(1000, 100, 1304, 1304, 1_304_000, 400_000)
    gc.freeze()  # what this program has loaded is not looked through meanwhile
    taken = []
    for facts, recipe, profile in asked:
        other = recipe if recipe.adapter.method in ("full", "ia3", "oft") else _another_rank(recipe)
        for each in (recipe, other):
            began = time.process_time()
            plan(each, facts, data, 0.5 * facts.weights_bytes, profile=profile)
            taken.append(1000 * (time.process_time() - began))
    ordered = sorted(taken)
    print(
        f"{len(taken)} plans that do not fit, processor time: median {statistics.median(taken):.1f} ms, "
        f"of 95 in 100 at most {ordered[int(0.95 * len(ordered))]:.1f} ms, worst {ordered[-1]:.1f} ms"
    )


def _another_rank(recipe: Recipe) -> Recipe:
    return override(recipe, {"adapter.r": recipe.adapter.r + 1})


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--own", type=int, default=0, metavar="COUNT")
    arguments = parser.parse_args()
    if arguments.own:
        from tests.bench.plan_own import compare

        compare(arguments.own)
        return
    table()
    speed()


if __name__ == "__main__":
    main()
