"""Who could answer in a chat, with the base each needs; a run's checkpoints; all read in the background."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from app.choices import Choice, read_choices
from engine import paths
from engine.errors import EngineError
from engine.models import library
from engine.models.adapter_facts import CONFIG, read_adapter_facts
from engine.models.facts import read_facts
from engine.runs import store
from engine.runs.check import step_of

CPU_BYTES, GPU_BYTES, SPARE = 4, 2, 1.2  # a parameter in float32 and in bfloat16; a fifth for the cache
SMALLER_BYTES = 2  # on a CPU whose memory does not hold float32


def read_partners() -> list[Choice]:
    """Return everybody on this computer: runs, adapters, models, then GGUF files."""
    known: dict[str, Choice] = {}
    found = [with_base(choice, known) for choice in read_choices()]
    for file in sorted([*paths.exports_dir().glob("**/*.gguf"), *paths.models_dir().glob("*.gguf")]):
        found.append(Choice(file.name, str(file), file.stem, False))
    return found


def with_base(choice: Choice, known: dict[str, Choice] | None = None) -> Choice:
    """Return a choice with its base's folder and size; as it was where the base is not here."""
    known = {} if known is None else known
    folder = str(base_folder(choice) or "")
    if not folder:
        return choice
    if folder not in known:
        try:
            facts = read_facts(folder)
            known[folder] = replace(choice, base_path=folder, parameters=facts.parameters)
        except EngineError:
            known[folder] = choice
    like = known[folder]
    return replace(choice, base_path=like.base_path, parameters=like.parameters)


def base_folder(choice: Choice) -> Path | None:
    """Return the folder of a choice's base without bringing anything to disk."""
    path = Path(choice.target)
    names = []
    if not choice.has_adapter:
        names.append(choice.target)
    else:
        adapter = path if (path / CONFIG).is_file() else path / "adapter"
        with suppress(EngineError):  # a damaged one says so when it is loaded
            if (adapter / CONFIG).is_file():
                names.append(read_adapter_facts(adapter).base)
            if (path / "recipe.yaml").is_file():
                names.append(store.load_recipe(path).model.path)
    for name in filter(None, names):
        if Path(name).name == library.STARTER:
            if library.starter_ready():
                return library.starter_folder().resolve()
            continue
        if name.lower().endswith(".gguf"):
            continue
        try:
            return library.resolve_model(name).resolve()
        except EngineError:
            continue
    return None


def needed_bytes(choice: Choice, gpu: bool, smaller: bool = False) -> float:
    """Return what a choice's model takes while it answers; 0 where that is not known."""
    width = GPU_BYTES if gpu else SMALLER_BYTES if smaller else CPU_BYTES
    return choice.parameters * width * SPARE


def read_checkpoints(run: str) -> list[tuple[int, str]]:
    """Return (step, folder) of a run's checkpoints in order; its result comes last, as the last step."""
    folder = Path(run)
    found = []
    for place in folder.glob("checkpoints/step-*/MANIFEST.json"):
        if (place.parent / CONFIG).is_file():
            found.append((step_of(place.parent), str(place.parent)))
    found.sort()
    if (folder / "adapter" / CONFIG).is_file():
        last = max([store.summary(folder).step, *(step for step, _ in found)])
        found = [each for each in found if each[0] < last]
        found.append((last, str(folder / "adapter")))
    return found
