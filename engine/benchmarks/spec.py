"""What a benchmark is: its questions, how they are put, and how answers count. Read from YAML, never code."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from engine import paths, plain_yaml
from engine.errors import EngineError, from_os_error

Kind = Literal["choice", "pairs", "completion", "generation", "perplexity"]
Metric = (
    Literal["acc", "acc_norm", "mc2", "exact_match", "last_number", "marked_number", "contains", "passed"]
    | Literal["json_valid", "rouge_l", "f1", "loss", "perplexity"]
)
Form = (
    Literal["arc", "mmlu", "truthfulqa_mc1", "truthfulqa_mc2", "blimp", "hellaswag", "piqa", "gsm8k"]
    | Literal["completion", "choice", "instruction", "rows"]
)
LOWER_IS_BETTER = frozenset({"loss", "perplexity"})


class _Plain(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Arithmetic(_Plain):
    """Questions made by seed: both numbers below ten to the power of `digits`, half of each operation."""

    digits: int
    count: int
    seed: int


class Source(_Plain):
    """Where the questions come from: made, shipped beside the YAML, a data set of the hub, or a run.

    `files` and `shots` are patterns of paths inside the hub's snapshot or a person's folder, the first that
    is there counts; `shots` is the file that examples are taken from.
    """

    hub: str = ""
    files: tuple[str, ...] = ()
    shots: tuple[str, ...] = ()
    shipped: tuple[str, ...] = ()
    made: Arithmetic | None = None


class Benchmark(_Plain):
    """One benchmark. `prompt` is filled with a row's fields; `before` stands once before everything.

    `shots` examples come first, the first ones of their file. `metrics`: the first one says right or wrong.
    `chat` puts a question through the model's chat template. `forgetting` marks what a tuned model must not
    lose.
    """

    name: str
    label: str
    about: str
    licence: str = ""
    kind: Kind
    form: Form
    metrics: tuple[Metric, ...]
    source: Source = Source()
    before: str = ""
    prompt: str = ""
    delimiter: str = " "
    shots: int = 0
    stop: tuple[str, ...] = ()
    max_new_tokens: int = 256
    chat: bool = False
    forgetting: bool = False

    @property
    def at_hand(self) -> bool:
        """Return whether its questions need no file of a person and no data set of the hub."""
        return bool(self.source.shipped) or self.source.made is not None


HELD_OUT, HELD_OUT_LOSS, OWN_TESTS, GENERAL = "held-out", "held-out-loss", "own-tests", "general"
LM_EVAL = "lm-eval:"
THEIR_NAME = re.compile(r"[A-Za-z0-9][\w-]{0,99}")


@cache
def benchmarks() -> dict[str, Benchmark]:
    """Return the benchmarks of this version by name."""
    found = [_read(path) for path in sorted(paths.resources("benchmarks").glob("*.yaml"))]
    return {each.name: each for each in found}


def _read(path: Path) -> Benchmark:
    try:
        values, _ = plain_yaml.read(path.read_text(encoding="utf-8"), path.name, str(path))
        return Benchmark.model_validate(values)
    except OSError as error:
        raise from_os_error(error, str(path)) from error
    except ValidationError as error:
        raise EngineError(
            f"{path.name} is no benchmark.",
            "Install Tunesmith again.",
            "APP-01",
            file=str(path),
        ) from error


def refuse_unknown(names: Iterable[str]) -> None:
    """Raise EngineError REC-01 for a name that stands for no benchmark, and for lm-eval's without it."""
    for name in names:
        if not name.startswith(LM_EVAL):
            parts_of(name)
        elif THEIR_NAME.fullmatch(name.removeprefix(LM_EVAL)) is None:
            raise EngineError(
                f"{paths.show_name(name)} is no name of a task.",
                "A file of lm-eval's may hold programs and is never opened; name one of its own tasks.",
                "REC-01",
                field="evaluation.benchmarks",
            )
        elif importlib.util.find_spec("lm_eval") is None:
            raise EngineError(
                "lm-eval is not installed.",
                "Install it beside Tunesmith: `pip install 'tunesmith[lm-eval]'`.",
                "REC-01",
                field="evaluation.benchmarks",
            )


def parts_of(name: str) -> tuple[Benchmark, ...]:
    """Return the benchmarks that a name stands for: one, or all parts of the general set.

    Names of lm-eval's with underscores are understood too. Raises EngineError REC-01 for an unknown name.
    """
    known = benchmarks()
    plain = name.strip().lower().replace("_", "-")
    if plain == HELD_OUT:
        return known[HELD_OUT_LOSS], known[HELD_OUT]
    if plain == GENERAL:
        return tuple(each for each in known.values() if each.forgetting)
    if plain in known:
        return (known[plain],)
    raise EngineError(
        f"There is no benchmark {paths.show_name(name)}.",
        f"Choose of {', '.join([*known, GENERAL])}; `tunesmith evaluate --list` describes them.",
        "REC-01",
        field="evaluation.benchmarks",
    )
