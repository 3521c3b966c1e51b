"""What can be exported, as what, how large it becomes, and why something cannot be; no window in it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from app.choices import Choice, is_whole
from app.merging import Source, read_source
from engine import paths
from engine.errors import EngineError
from engine.models.adapter_facts import AdapterFacts
from engine.models.export_facts import TYPES, find_quantizer, made_bytes, number_type, why_not
from engine.models.facts import ModelFacts, read_facts
from engine.models.library import resolve_model

# format: title, what it is for
FORMATS = {
    "safetensors": ("Merged safetensors", "One model for transformers, vLLM and TGI"),
    "adapter": ("Adapter folder", "PEFT's layout, to load on the base: peft, vLLM"),
    "gguf": ("GGUF", "One file for llama.cpp, LM Studio, Jan"),
    "ollama": ("Ollama", "The GGUF with a Modelfile: template, stop words, system prompt"),
    "gguf-adapter": ("GGUF adapter", "The LoRA alone, on a GGUF of the base"),
    "script": ("Script", "Plain transformers and peft that repeat the run"),
}
TYPED = {"gguf": tuple(TYPES), "ollama": tuple(TYPES), "gguf-adapter": ("f32", "f16", "bf16")}
DEFAULT_TYPE = "f16"
WANTS_PROGRAM = (
    "q6_k to q2_k are made by llama.cpp's program llama-quantize, which is not on the search path: install "
    "llama.cpp (brew, winget, or a release from its page), then come back. The others need nothing."
)


@dataclass(frozen=True)
class Exportable:
    """A run, an adapter or a model that can be exported, read."""

    name: str
    target: str
    base: ModelFacts
    adapter: AdapterFacts | None
    run: Path | None

    def refuses(self, format: str) -> str:
        """Return why it cannot be exported so, empty where it can (or only the export itself can tell)."""
        return why_not(self.base, self.adapter, is_run=self.run is not None)[format]

    def bytes(self, format: str, kind: str = DEFAULT_TYPE) -> float | None:
        """Return about how large it becomes; None for a script, which is a small text."""
        if format == "script":
            return None
        return made_bytes(self.base, self.adapter, format, number_type(kind))


def typed(format: str, kind: str) -> str | None:
    """Return the type of numbers where a format has one; the default where it has not this one."""
    if format not in TYPED:
        return None
    return kind if kind in TYPED[format] else DEFAULT_TYPE


def has_program() -> bool:
    """Return whether k-types can be made here."""
    return find_quantizer() is not None


def read_exportable(choice: Choice) -> Exportable:
    """Read a run, an adapter or a model; raises EngineError where it cannot be used."""
    folder = Path(choice.target)
    run = folder if (folder / "recipe.yaml").is_file() and (folder / "job.json").is_file() else None
    if run is not None and is_whole(run):
        return Exportable(choice.label, choice.target, read_facts(_whole(run)), None, run)
    if choice.has_adapter:
        source: Source = read_source(choice)
        return Exportable(choice.label, choice.target, source.base, source.adapter, run)
    return Exportable(choice.label, choice.target, read_facts(resolve_model(choice.target)), None, None)


def _whole(run: Path) -> Path:
    found = [run / "model", *sorted(run.glob("checkpoints/step-*/model"), reverse=True)]
    for folder in found:
        if (folder / "config.json").is_file():
            return folder
    raise EngineError(f"{run.name} has no saved model yet.", "Wait for its first save.", "RUN-05")


def free_place(what: Exportable, format: str, kind: str, parent: Path | None = None) -> Path:
    """Return where an export goes that is not there yet; a script is a file."""
    stem = paths.slug(what.name, "model")
    ending = {"script": "train", "safetensors": "model"}.get(format, format)
    if format in ("gguf", "ollama"):
        ending = f"{ending}-{kind.replace('_', '-')}"
    suffix = ".py" if format == "script" else ""
    first = (parent or paths.exports_dir()) / f"{stem}-{ending}{suffix}"
    free, count = first, 2
    while free.exists():
        free = first.with_name(f"{stem}-{ending}-{count}{suffix}")
        count += 1
    return free


def arguments(what: Exportable, format: str, kind: str, out: Path) -> dict[str, str]:
    """Return what the job `export` takes."""
    found = {"model": what.target, "format": format, "out": str(out)}
    chosen = typed(format, kind)
    return found | ({"quantization": chosen} if chosen else {})


def command(what: Exportable, format: str, kind: str, out: Path) -> str:
    """Return what does the same on the command line."""
    words = ["tunesmith", "export", what.target, "--format", format, "--out", str(out)]
    chosen = typed(format, kind)
    return shlex.join(words + (["--quantization", chosen] if chosen else []))
