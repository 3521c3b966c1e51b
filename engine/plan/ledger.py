"""What this machine's runs measured beside what the plan had said, and how the next plan is corrected by it.

The figures are compared as logarithms of measured / predicted: the median of the runs that are most alike is
the correction, their median absolute deviation its spread, so that one odd run moves neither.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any, Literal

from engine import paths

NAME = "calibration.json"
FORMAT = 1
FORMULA = 3  # raised when the plan's arithmetic changes: what an earlier one foresaw corrects nothing
MOST_ENTRIES = 400
LOOKED_AT = 40  # of a group, the newest
ENOUGH = 3  # runs of a group, so that it is taken before a coarser one and its band narrows
NEAR = 4.0  # a run counts for a plan whose figure is at most so many times larger or smaller
LEAST_MEMORY = 64e6  # bytes: below it a measurement is mostly of other things than the run
PRIOR_RUNS = 0.5  # the formula's own band counts as so many runs in the spread
MEMORY_PRIOR = math.log(1.25)
TIME_PRIOR = math.log(2.0)

Figure = Literal["memory_bytes", "seconds_per_token", "evaluation_seconds", "sample_seconds", "start_seconds"]


@dataclass(frozen=True)
class Entry:
    """One attempt of a run, or a probe: what the formula says of what it did, and what was measured.

    Memory is in bytes and without what the libraries hold before a model is loaded: on a GPU the allocator's
    peak, on a CPU the growth of the process. `seconds_per_token` is that of training steps,
    `evaluation_seconds` that of a token of validation, `sample_seconds` that of one answer. `said_` is what
    the plan said before the start, corrected and for the longest batch; None is what was not measured.
    """

    time: float
    run: str
    device: str  # "cpu" beside the processor's name, or the GPU's name; several are counted
    method: str
    precision: str
    quantization: str | None = None
    checkpointing: bool = False
    predicted_memory_bytes: float | None = None
    measured_memory_bytes: float | None = None
    predicted_seconds_per_token: float | None = None
    measured_seconds_per_token: float | None = None
    predicted_evaluation_seconds: float | None = None
    measured_evaluation_seconds: float | None = None
    predicted_sample_seconds: float | None = None
    measured_sample_seconds: float | None = None
    predicted_start_seconds: float | None = None
    measured_start_seconds: float | None = None
    said_memory_bytes: float | None = None
    said_seconds: float | None = None
    measured_seconds: float | None = None
    process_bytes: float | None = None  # all that the process took of the device
    tokens: int = 0
    steps: int = 0
    attempt: int = 1
    source: str = "run"  # or probe
    name: str = ""
    model: str = ""
    formula: int = FORMULA

    def pair(self, figure: Figure) -> tuple[float, float]:
        """Return what was predicted and what was measured; nan where there is none."""
        predicted, measured = getattr(self, f"predicted_{figure}"), getattr(self, f"measured_{figure}")
        return _float(predicted), _float(measured)

    def ratio(self, figure: Figure) -> float | None:
        """Return measured / predicted, None where either is missing or means nothing."""
        predicted, measured = self.pair(figure)
        if not _positive(predicted) or not _positive(measured):
            return None
        if figure == "memory_bytes" and predicted < LEAST_MEMORY:
            return None
        return measured / predicted


def _float(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _positive(value: float) -> bool:
    return math.isfinite(value) and value > 0


@dataclass(frozen=True)
class Correction:
    """Times the formula's figure: the best guess, and between which bounds the truth lies; from `runs`."""

    factor: float = 1.0
    low: float = 1.0
    high: float = 1.0
    runs: int = 0

    @property
    def width(self) -> float:
        """Return how wide the band is: its high end over its low one."""
        return self.high / self.low


def judge(ratios: Sequence[float], prior: float) -> Correction:
    """Return the correction that measured / predicted of some runs gives.

    `prior` is half the formula's own band, as a logarithm. Below `ENOUGH` runs the formula counts as one run
    and the band stays as wide; it always holds all runs that are no outliers.
    """
    logs = [math.log(ratio) for ratio in ratios]
    if not logs:
        return Correction(1.0, math.exp(-prior), math.exp(prior))
    if len(logs) < ENOUGH:
        centre = max(-prior, min(prior, median([0.0, *logs])))
        half, inside = prior, logs
    else:
        centre, count = median(logs), len(logs)
        spread = 1.4826 * median(abs(each - centre) for each in logs)
        variance = (PRIOR_RUNS * (prior / 2) ** 2 + count * spread**2) / (PRIOR_RUNS + count)
        half = 2 * math.sqrt(variance * (1 + 1 / count))
        inside = [each for each in logs if abs(each - centre) <= 3 * math.sqrt(variance)]
    half = max([half, *(abs(each - centre) for each in inside)])
    return Correction(math.exp(centre), math.exp(centre - half), math.exp(centre + half), len(logs))


@dataclass(frozen=True)
class Ledger:
    """All entries, the oldest first; `damage` says what was wrong with the file, empty when it was sound."""

    entries: tuple[Entry, ...] = ()
    damage: str = ""

    @staticmethod
    def read(path: Path | None = None) -> Ledger:
        """Read calibration.json; a missing file is an empty ledger, a damaged one is too and says so."""
        place = path or ledger_file()
        try:
            content = place.read_bytes()
        except FileNotFoundError:
            return Ledger()
        except OSError as error:
            return Ledger(damage=f"{place.name} cannot be opened: {error.strerror}.")
        try:
            value = json.loads(content)
            if value["format"] != FORMAT:
                raise ValueError("another format")
            entries = tuple(filter(None, map(_entry, value["runs"])))
        except (ValueError, KeyError, TypeError, RecursionError):
            return Ledger(damage=f"{place.name} cannot be read; what earlier runs measured is not used.")
        return Ledger(entries)

    def with_entry(self, entry: Entry) -> Ledger:
        """Return a ledger with `entry`, in the place of an earlier one of the same attempt; old ones go."""
        kept = [e for e in self.entries if (e.run, e.attempt) != (entry.run, entry.attempt)]
        return Ledger((*kept, entry)[-MOST_ENTRIES:])

    def as_dict(self) -> dict[str, Any]:
        """Return what calibration.json holds."""
        return {"format": FORMAT, "runs": [asdict(entry) for entry in self.entries]}

    def known(self, figure: Figure, device: str) -> list[Entry]:
        """Return the entries of a device that tell something of a figure under the present formula."""
        return [
            e
            for e in self.entries
            if e.device == device and e.formula == FORMULA and e.ratio(figure) is not None
        ]

    def overall(self, figure: Figure, device: str) -> Correction:
        """Return the correction that all runs of a device give together, whatever they were."""
        prior = MEMORY_PRIOR if figure == "memory_bytes" else TIME_PRIOR
        return judge(_ratios(self.known(figure, device), figure), prior)

    def memory(
        self,
        device: str,
        method: str,
        quantization: str | None,
        *,
        precision: str | None = None,
        checkpointing: bool | None = None,
        near: float | None = None,
        prior: float = MEMORY_PRIOR,
    ) -> Correction:
        """Return the correction of peak memory; `near` is the formula's figure in bytes."""
        alike: list[Callable[[Entry], bool]] = [
            lambda e: (
                (e.method, e.quantization, e.precision, e.checkpointing)
                == (method, quantization, precision, checkpointing)
            ),
            lambda e: (e.method, e.quantization) == (method, quantization),
            lambda e: e.quantization == quantization,
        ]
        return self._correction("memory_bytes", device, alike, near, prior)

    def speed(
        self,
        device: str,
        precision: str,
        *,
        method: str | None = None,
        quantization: str | None = None,
        checkpointing: bool | None = None,
        near: float | None = None,
        prior: float = TIME_PRIOR,
        figure: Figure = "seconds_per_token",
    ) -> Correction:
        """Return the correction of a time, seconds a token of steps as a rule; `near` is the formula's."""
        alike: list[Callable[[Entry], bool]] = [
            lambda e: (
                (e.precision, e.quantization, e.method, e.checkpointing)
                == (precision, quantization, method, checkpointing)
            ),
            lambda e: (e.precision, e.quantization) == (precision, quantization),
            lambda e: e.precision == precision,
        ]
        return self._correction(figure, device, alike, near, prior)

    def _correction(
        self,
        figure: Figure,
        device: str,
        alike: list[Callable[[Entry], bool]],
        near: float | None,
        prior: float,
    ) -> Correction:
        """Judge the finest group that has enough runs, else the largest of them all."""
        known = self.known(figure, device)
        if near:
            known = [e for e in known if 1 / NEAR <= e.pair(figure)[0] / near <= NEAR]
        for group in alike:
            found = [e for e in known if group(e)]
            if len(found) >= ENOUGH:
                return judge(_ratios(found, figure), prior)
        return judge(_ratios(known, figure), prior)


def _ratios(entries: Iterable[Entry], figure: Figure) -> list[float]:
    return [ratio for e in entries if (ratio := e.ratio(figure)) is not None][-LOOKED_AT:]


def ledger_file() -> Path:
    """Return where the ledger of this home is kept."""
    return paths.home() / NAME


_FIELDS = {field.name: field.type for field in fields(Entry)}
_KINDS: dict[str, tuple[type, ...]] = {
    "float": (int, float),
    "float | None": (int, float, type(None)),
    "int": (int,),
    "str": (str,),
    "str | None": (str, type(None)),
    "bool": (bool,),
}


def _entry(value: Any) -> Entry | None:
    """Return an entry of the file, None for one that lacks what it needs; fields not known here are left."""
    if not isinstance(value, dict):
        return None
    known = {name: each for name, each in value.items() if name in _FIELDS}
    if not all(isinstance(each, _KINDS[str(_FIELDS[name])]) for name, each in known.items()):
        return None
    try:
        return Entry(**known)
    except TypeError:
        return None
