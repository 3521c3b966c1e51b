"""Adapters and models to chat with or to merge, and prompts to begin with; read in the background."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine import events
from engine.errors import EngineError
from engine.models import library
from engine.models.adapter_facts import CONFIG, WEIGHTS, read_adapter_facts
from engine.models.refused import Refused
from engine.paths import show_name
from engine.runs import store

MAX_PROMPTS = 4
SCANNED_BYTES = 8 << 20
PLAIN_PROMPTS = (
    "What is the capital of France?",
    "Write one sentence about the sea.",
    "Explain in simple words why the sky is blue.",
)


@dataclass(frozen=True)
class Choice:
    """One entry of the list: how it is called, what it stands for; `whole` is a model trained whole.

    `base_path` and `parameters` are those of its base where that is on this computer.
    """

    label: str
    target: str
    base: str
    has_adapter: bool
    whole: bool = False
    base_path: str = ""
    parameters: int = 0


def read_choices() -> list[Choice]:
    """Return the runs with an adapter (newest first), imported adapters, then models alone."""
    found: list[Choice] = []
    inside: set[Path] = set()
    for run in store.list_runs():
        adapter = run.folder / "adapter"
        if (adapter / CONFIG).is_file():
            inside.add(adapter.resolve())
            found.append(Choice(run.name, str(run.folder), run.base, True))
        elif is_whole(run.folder):
            inside.add(run.folder / "model")
            found.append(Choice(run.name, str(run.folder), run.base, True, whole=True))
        elif any((run.folder / "checkpoints").glob("step-*/MANIFEST.json")):
            found.append(Choice(f"{run.name} · {run.step}", str(run.folder), run.base, True))
    for facts in library.list_adapters():
        if facts.path.resolve() not in inside:
            found.append(Choice(facts.name, str(facts.path), show_name(Path(facts.base).name), True))
    models = [facts for facts in library.list_models() if facts.path not in inside]
    found += [Choice(facts.name, str(facts.path), facts.name, False) for facts in models]
    return found


def refused_adapters() -> list[Refused]:
    """Return the adapters on this computer that cannot be used."""
    return library.look_over_adapters()[1]


def is_whole(run: Path) -> bool:
    """Return whether a run's result, or its saves so far, are models that were trained whole."""
    saves = "checkpoints/step-*/model/config.json"
    return (run / "model" / "config.json").is_file() or any(run.glob(saves))


def stamp_of(choice: Choice) -> float:
    """Return when the adapter of a choice was last written; a run that went on is another partner then."""
    folder = Path(choice.target)
    found = [folder / WEIGHTS, folder / "adapter" / WEIGHTS, *folder.glob(f"checkpoints/*/{WEIGHTS}")]
    return max((path.stat().st_mtime for path in found if path.is_file()), default=0.0)


def choice_for(argument: Path) -> Choice:
    """Return the entry for a folder that is not in the list; raises EngineError when it is damaged."""
    if (argument / CONFIG).is_file():
        facts = read_adapter_facts(argument)
        return Choice(facts.name, str(argument), show_name(Path(facts.base).name), True)
    if (argument / "job.json").is_file():
        run = store.summary(argument)
        return Choice(run.name, str(argument), run.base, True, whole=is_whole(argument))
    name = show_name(argument.name)
    return Choice(name, str(argument), name, False)


def read_prompts(target: str) -> list[str]:
    """Return the questions a run was sampled with (they come from its validation rows), else plain ones."""
    path = Path(target) / "events.jsonl"
    found: list[str] = []
    try:
        with open(path, "rb") as file:
            block = file.read(SCANNED_BYTES)
    except OSError:
        return list(PLAIN_PROMPTS)
    for line in block.split(b"\n"):
        if b'"sample_generated"' not in line or len(line) >= events.MAX_LINE_BYTES:
            continue
        try:
            event = events.decode(line)
        except (EngineError, ValueError):
            continue
        if isinstance(event, events.SampleGenerated) and event.prompt not in found:
            found.append(event.prompt)
        if len(found) == MAX_PROMPTS:
            break
    return found or list(PLAIN_PROMPTS)
