"""What a merge starts from and what it makes: adapters with their base, a mix of them, and made folders."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from app.choices import Choice, choice_for
from engine import paths
from engine.errors import EngineError
from engine.models import library
from engine.models.adapter_facts import CONFIG, AdapterFacts, read_adapter_facts
from engine.models.facts import ModelFacts, read_facts
from engine.models.fit import check_fit, refuse_unready
from engine.models.library import resolve_model
from engine.models.made import CERTIFICATE, ORIGIN
from engine.models.merging import DENSITY, DRAWN, METHODS, THINNING, Judgement, judge
from engine.models.weight_files import read_json
from engine.runs import result, store
from engine.runs.check import last_checkpoint

DTYPES: tuple[tuple[str | None, str], ...] = (
    (None, "As the base"),
    ("fp32", "float32"),
    ("bf16", "bfloat16"),
    ("fp16", "float16"),
)
LONG_NAMES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
LEAST_WEIGHT, MOST_WEIGHT = -1.5, 1.5


@dataclass(frozen=True)
class Source:
    """An adapter on the board with the base it belongs to; `note` names what of its file is not used."""

    name: str
    target: str
    adapter: AdapterFacts
    base: ModelFacts
    note: str = ""

    @property
    def folder(self) -> Path:
        """Return the adapter's folder."""
        return self.adapter.path


@dataclass(frozen=True)
class Mixing:
    """What is on the board: adapters with a weight each, how they are put together, and as what."""

    sources: tuple[Source, ...] = ()
    weights: tuple[float, ...] = ()
    method: str = "linear"
    density: float = DENSITY
    seed: int = 0
    svd_rank: int | None = None
    adapter_only: bool = False
    dtype: str | None = None
    base_named: bool = False  # a person named the base: what the adapters name counts no more

    @property
    def base(self) -> ModelFacts:
        """Return the base of the first adapter; every other must share it."""
        return self.sources[0].base

    @property
    def name(self) -> str:
        """Return the names of all adapters as one."""
        return " + ".join(source.name for source in self.sources)

    @property
    def dtype_name(self) -> str:
        """Return the type of what is written, by its library name."""
        if self.dtype:
            return LONG_NAMES[self.dtype]
        return "float32" if self.adapter_only else self.base.dtype

    def judged(self) -> Judgement:
        """Say what each method makes of it; raises EngineError MODEL-07 where one fits another base."""
        dtype = LONG_NAMES[self.dtype] if self.dtype else None
        adapters = [source.adapter for source in self.sources]
        found = judge(
            adapters,
            self.base,
            adapter_only=self.adapter_only,
            svd_rank=self.svd_rank,
            dtype=dtype,
            any_base=self.base_named,
        )
        if self.adapter_only and self.dtype in ("bf16", "fp16"):  # counted there in float32
            found = replace(found, bytes={name: size // 2 for name, size in found.bytes.items()})
        return found

    def with_source(self, source: Source) -> Mixing:
        """Return the board with one adapter more; the same one is not taken twice."""
        if any(each.folder == source.folder for each in self.sources):
            return self
        return replace(self, sources=(*self.sources, source), weights=(*self.weights, 1.0))

    def without(self, place: int) -> Mixing:
        """Return the board without one adapter."""
        keep = [index for index in range(len(self.sources)) if index != place]
        sources = tuple(self.sources[index] for index in keep)
        return replace(self, sources=sources, weights=tuple(self.weights[index] for index in keep))

    def on_base(self, base: ModelFacts) -> Mixing:
        """Return the board on another base; raises EngineError MODEL-07 where an adapter does not fit it."""
        for source in self.sources:
            check_fit(source.adapter, base)
        sources = tuple(replace(source, base=base) for source in self.sources)
        return replace(self, sources=sources, base_named=True)

    def numbers(self) -> dict[str, Any]:
        """Return the method with those of its numbers that have a say."""
        found: dict[str, Any] = {"method": self.method}
        if self.method in THINNING:
            found["density"] = self.density
        if self.method in DRAWN:
            found["seed"] = self.seed
        if self.method == "svd" and self.svd_rank is not None:
            found["svd_rank"] = self.svd_rank
        if self.adapter_only:
            found["adapter_only"] = True
        return found

    def mixture(self) -> dict[str, Any]:
        """Return it as the chat child loads it."""
        adapters = [str(source.folder) for source in self.sources]
        return {"adapters": adapters, "weights": list(self.weights), **self.numbers()}

    def arguments(self, out: Path) -> dict[str, Any]:
        """Return it as the job `merge` takes it."""
        found = {**self.mixture(), "out": str(out), "base": str(self.base.path)}
        return found | ({"dtype": self.dtype} if self.dtype else {})

    def command(self, out: Path) -> str:
        """Return what does the same on the command line."""
        words = ["tunesmith", "merge", *(str(source.folder) for source in self.sources)]
        words += ["--out", str(out), "--base", str(self.base.path)]
        if len(self.weights) > 1 or self.weights != (1.0,):
            words.append("--weights=" + ",".join(f"{weight:g}" for weight in self.weights))
        numbers = self.numbers()
        if self.method != "linear":
            words += ["--method", self.method]
        for key, flag in (("density", "--density"), ("seed", "--seed"), ("svd_rank", "--rank")):
            if key in numbers:
                words += [flag, f"{numbers[key]:g}"]
        words += ["--adapter-only"] if self.adapter_only else []
        return shlex.join(words + (["--dtype", self.dtype] if self.dtype else []))


def usable_method(judged: Judgement, wanted: str) -> str:
    """Return the wanted method, or the first that can be used where it cannot."""
    if judged.methods[wanted] is None:
        return wanted
    return next((name for name in METHODS if judged.methods[name] is None), wanted)


def read_source(choice: Choice) -> Source:
    """Read an adapter and its base; raises EngineError when it does not fit or is not there."""
    folder = Path(choice.target)
    run = folder if (folder / "job.json").is_file() else None
    if run is not None:
        result.refuse_damaged(run)
    adapter = read_adapter_facts(folder if run is None else _newest(run))
    refuse_unready(adapter)
    try:
        base = read_facts(resolve_model(adapter.base))
    except EngineError:
        if run is None:
            raise
        base = read_facts(resolve_model(store.load_recipe(run).model.path))
    check_fit(adapter, base)
    return Source(choice.label, choice.target, adapter, base, dropped_words(adapter))


def import_source(folder: Path) -> Source:
    """Remember an adapter's folder from elsewhere and read it; raises EngineError as `read_source` does."""
    found = read_source(choice_for(folder))
    library.add_adapter(folder)
    return found


def dropped_words(adapter: AdapterFacts) -> str:
    """Name the fields of an adapter's configuration that are not used."""
    return ", ".join(adapter.dropped_fields)


def _newest(run: Path) -> Path:
    """Return a run's result, or its last sound save while it has none."""
    if (run / "adapter" / CONFIG).is_file():
        return run / "adapter"
    saved, _ = last_checkpoint(run)
    if saved is None:
        raise EngineError(
            f"{paths.show_name(run.name)} has no saved adapter yet.", "Wait for its first save.", "RUN-05"
        )
    return saved


@dataclass(frozen=True)
class Made:
    """A folder that merge or export made, with its certificate and where it comes from."""

    folder: Path
    kind: str
    bytes: int
    time: float
    origin: dict[str, Any]
    certificate: dict[str, Any] | None

    @property
    def checkable(self) -> bool:
        """Return whether its files have sums that can be compared again."""
        return self.folder.is_dir()

    def chat_argument(self) -> dict[str, Path] | None:
        """Return what Chat is to be opened with, None where nothing of it can answer."""
        if self.kind == "adapter":
            return {"adapter": self.folder}
        file = next(iter(sorted(self.folder.glob("*.gguf"))), None)
        if self.kind in ("gguf-adapter", "script"):
            return None
        return {"model": file or self.folder}


def read_made(folder: Path) -> Made:
    """Read a made folder; raises EngineError MODEL-02 where its notes are damaged or missing."""
    origin = read_json(folder / ORIGIN)
    place = folder / CERTIFICATE
    certificate = read_json(place) if place.is_file() else None
    bytes_ = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    stamp = (place if certificate else folder / ORIGIN).stat().st_mtime
    return Made(folder, str(origin.get("kind", "")), bytes_, stamp, origin, certificate)


def made_of(result: dict[str, Any]) -> Made:
    """Return what a job made; a script is one file, whose rows were compared with the run's."""
    out = Path(result["out"])
    if out.is_dir():
        return read_made(out)
    found = {"passed": result["verified"], "compared_with": "the rows of its run"}
    return Made(out, "script", int(result["bytes"]), out.stat().st_mtime, {}, found)


def last_made() -> Made | None:
    """Return the newest folder of the exports that has a certificate."""
    found = sorted(paths.exports_dir().glob(f"*/{CERTIFICATE}"), key=lambda path: path.stat().st_mtime)
    for path in reversed(found):
        try:
            return read_made(path.parent)
        except EngineError:
            continue
    return None


def read_result(job: Path) -> dict[str, Any] | None:
    """Return the answer of a job, None where it left none."""
    try:
        found = json.loads((job / "result.json").read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def free_folder(name: str, parent: Path | None = None, ending: str = "merged") -> Path:
    """Return a folder for what is made that is not there yet; in exports unless `parent` is given."""
    base = (parent or paths.exports_dir()) / f"{paths.slug(name, 'model')}-{ending}"
    free, number = base, 2
    while free.exists():
        free = base.with_name(f"{base.name}-{number}")
        number += 1
    return free


def is_taken(folder: Path) -> bool:
    """Return whether something is there that a merge would have to overwrite."""
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))


def free_bytes(folder: Path) -> int:
    """Return how much may be written where a folder is to be made."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def refusals(judged: Judgement) -> list[tuple[Sequence[str], str]]:
    """Return the methods that cannot be used, gathered by their reason."""
    found: dict[str, list[str]] = {}
    for name, reason in judged.methods.items():
        if reason is not None:
            found.setdefault(reason, []).append(name)
    return [(names, reason) for reason, names in found.items()]
