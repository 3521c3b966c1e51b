"""Tasks of lm-evaluation-harness, where a person has installed it: its own prompts, data and metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from engine.benchmarks.spec import LM_EVAL, refuse_unknown
from engine.errors import EngineError
from engine.paths import show_name
from engine.runs.evaluation_results import comparisons_of
from engine.runs.evaluations import Comparison, Item, Score, Who
from engine.runtime.opened import plain_tokenizer
from engine.runtime.target import Target

BATCH_ROWS = 8
RESAMPLES = 1000  # without any lm-eval tells no error of a mean either
Speaking = Callable[[Who], AbstractContextManager[str]]


@dataclass
class Found:
    """Scores as lm-eval tells them, and base against adapter item by item where it tells those."""

    scores: list[Score] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)


def measure(
    model: Any, speaking: Speaking, target: Target, task: str, speakers: Sequence[Who], limit: int | None
) -> Found:
    """Measure one task of lm-eval with base and adapter; raises EngineError for what lm-eval cannot do."""
    refuse_unknown([LM_EVAL + task])
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    tokenizer = plain_tokenizer(target.base.path)
    asked = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=BATCH_ROWS)
    told: dict[Who, Any] = {}
    for who in speakers:
        with speaking(who):
            try:
                told[who] = simple_evaluate(
                    model=asked, tasks=[task], limit=limit, log_samples=True, bootstrap_iters=RESAMPLES
                )
            except (KeyError, ValueError, OSError, ImportError, RuntimeError) as error:
                raise EngineError(
                    f"lm-eval could not measure {show_name(task)} ({type(error).__name__}).",
                    "Check the task's name; its data must be in the hub's cache already.",
                    "HUB-01",
                ) from error
    return _found(told)


def _found(told: dict[Who, Any]) -> Found:
    found = Found()
    names = sorted(next(iter(told.values()))["results"])
    for name in names:
        metrics: list[str] = []
        for who, results in told.items():
            counts = results.get("n-samples", {}).get(name, {})
            for key, value in results["results"][name].items():
                metric, _, kind = key.partition(",")
                if not isinstance(value, float | int) or "stderr" in metric or not kind:
                    continue
                shown = metric if kind == "none" else f"{metric} ({kind})"
                error = results["results"][name].get(f"{metric}_stderr,{kind}")
                metrics.append(metric)
                found.scores.append(
                    Score(
                        benchmark=LM_EVAL + name,
                        metric=shown,
                        value=float(value),
                        stderr=float(error) if isinstance(error, float | int) else None,
                        n=int(counts.get("effective", 0)),
                        target=who,
                    )
                )
        found.comparisons += comparisons_of(LM_EVAL + name, list(dict.fromkeys(metrics)), _items(told, name))
    return found


def _items(told: dict[Who, Any], name: str) -> list[Item]:
    """Return what both said of each document, where a metric is one number an item and a filter."""
    values: dict[int, dict[str, dict[str, float]]] = {}
    for who, results in told.items():
        for sample in results.get("samples", {}).get(name, []):
            numbers = {
                metric: float(sample[metric])
                for metric in sample.get("metrics", [])
                if isinstance(sample.get(metric), float | int)
            }
            values.setdefault(int(sample["doc_id"]), {}).setdefault(who, {}).update(numbers)
    return [
        Item(benchmark=LM_EVAL + name, item=number, prompt="", values=each) for number, each in values.items()
    ]
