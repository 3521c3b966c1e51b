"""What a merge starts from: an adapter with its base, read and compared; and where it may go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.choices import Choice
from engine import paths
from engine.errors import EngineError
from engine.models.adapter_facts import CONFIG, AdapterFacts, read_adapter_facts
from engine.models.facts import DTYPE_BYTES, ModelFacts, read_facts
from engine.models.fit import check_fit, refuse_unready
from engine.models.library import resolve_model
from engine.runs import store
from engine.runs.check import last_checkpoint

DTYPES: tuple[tuple[str | None, str], ...] = (
    (None, "As the base"),
    ("fp32", "float32"),
    ("bf16", "bfloat16"),
    ("fp16", "float16"),
)
_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}


@dataclass(frozen=True)
class Pair:
    """An adapter with the base it belongs to."""

    name: str
    folder: Path
    adapter: AdapterFacts
    base: ModelFacts

    def merged_bytes(self, dtype: str | None) -> float:
        """Return how large the merged weights will be."""
        width = _BYTES[dtype] if dtype else DTYPE_BYTES.get(self.base.dtype, 2)
        return float(self.base.parameters * width)

    def merged_dtype(self, dtype: str | None) -> str:
        """Return the type the merged weights will have, by its library name."""
        return dict(DTYPES)[dtype] if dtype else self.base.dtype


def read_pair(choice: Choice) -> Pair:
    """Read what is to be merged; raises EngineError when it does not fit or is not there."""
    folder = Path(choice.target)
    run = folder if (folder / "job.json").is_file() else None
    adapter = read_adapter_facts(folder if run is None else _newest(run))
    refuse_unready(adapter)
    try:
        base = read_facts(resolve_model(adapter.base))
    except EngineError:
        if run is None:
            raise
        base = read_facts(resolve_model(store.load_recipe(run).model.path))
    check_fit(adapter, base)
    return Pair(choice.label, adapter.path, adapter, base)


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


def free_folder(name: str, parent: Path | None = None) -> Path:
    """Return a folder for the merged model that is not there yet; in exports unless `parent` is given."""
    base = (parent or paths.exports_dir()) / f"{paths.slug(name, 'model')}-merged"
    free, number = base, 2
    while free.exists():
        free = base.with_name(f"{base.name}-{number}")
        number += 1
    return free


def is_taken(folder: Path) -> bool:
    """Return whether something is there that a merge would have to overwrite."""
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
