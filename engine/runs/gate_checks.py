"""What is compared before a run goes on: a function for each question, which changes nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engine import paths
from engine.benchmarks.spec import refuse_unknown
from engine.data import frozen, row_cache
from engine.errors import EngineError
from engine.hardware.devices import Machine, probe
from engine.jobs import lock
from engine.jobs.spec import read_job, refuse_newer
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs import changes, file_digests, run_names, whereabouts
from engine.runs.check import last_checkpoint, step_of
from engine.runs.versions import refuse_old, versions

ROWS = Path("cache") / "rows.safetensors"


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it was.

    An "error" stops; where `way_on` says what going on would mean, a person may choose it (`--anyway`). A
    "warning" is for a person to weigh, and "info" is said only. `table` has rows of (what, before, now).
    """

    code: str
    severity: Literal["error", "warning", "info"]
    message: str
    hint: str
    way_on: str = ""
    file: str = ""
    fields: tuple[str, ...] = ()
    table: tuple[tuple[str, str, str], ...] = ()

    def as_error(self) -> EngineError:
        """Return the finding as the error that is raised for it."""
        way = f" With --anyway: {self.way_on[0].lower()}{self.way_on[1:]}." if self.way_on else ""
        return EngineError(
            self.message,
            self.hint + way,
            self.code,
            file=self.file or None,
            field=self.fields[0] if self.fields else None,
        )


def from_error(error: EngineError) -> Finding:
    """Return an error as a finding that stops."""
    fields = (error.field,) if error.field else ()
    return Finding(error.code, "error", error.message, error.hint, file=error.file or "", fields=fields)


def of_folder(folder: Path) -> list[Finding]:
    """Say when a folder is no run, or the run of a later version (RUN-03, RUN-12)."""
    try:
        refuse_newer(folder, read_job(folder))
    except EngineError as error:
        return [from_error(error)]
    return []


def going(folder: Path) -> Finding:
    """Return what is said of a run that has a child already."""
    return from_error(lock.taken(folder))


def of_recipe(folder: Path, values: Mapping[str, Any]) -> tuple[Recipe | None, list[Finding]]:
    """Return the recipe in force, and what of it may not change in a run that has begun (RUN-10)."""
    try:
        written = codec.load(folder / "recipe.yaml")
        begun = _begun_with(folder)
        now = changes.in_force(written, folder)
        asked = codec.override(now, dict(values))
    except EngineError as error:
        return None, [from_error(error)]
    edited = {} if begun is None else changes.differences(begun, written)
    found = [_edited(folder, edited)] if edited else []
    wanted = changes.differences(now, asked)
    fixed = {field: pair for field, pair in wanted.items() if not changes.is_live(field)}
    if fixed:
        return asked, [*found, _fixed(fixed, "Make a copy of the run with the new values.")]
    try:
        codec.refuse_unsupported(asked)
        refuse_unknown(asked.evaluation.benchmarks)
    except EngineError as error:
        return None, [*found, from_error(error)]
    return asked, [*found, _live(wanted)] if wanted else found


def _begun_with(folder: Path) -> Recipe | None:
    """Return the recipe as job.json remembers it; None for a run that was made before it did."""
    kept = read_job(folder).arguments.get("recipe")
    return codec.from_values(kept) if isinstance(kept, dict) else None


def _edited(folder: Path, edited: Mapping[str, tuple[Any, Any]]) -> Finding:
    fixed = {field: pair for field, pair in edited.items() if not changes.is_live(field)}
    if not fixed:
        names = ", ".join(edited)
        return Finding(
            "RUN-10",
            "warning",
            f"recipe.yaml was edited after the run was made: {names}.",
            "The run goes on with what it says now.",
            file=str(folder / "recipe.yaml"),
            fields=tuple(edited),
            table=_table(edited),
        )
    return _fixed(
        fixed, "Bring recipe.yaml back, or make a copy of the run.", file=str(folder / "recipe.yaml")
    )


def _fixed(fixed: Mapping[str, tuple[Any, Any]], hint: str, file: str = "") -> Finding:
    words = f"{', '.join(fixed)} cannot change in a started run."
    return Finding("RUN-10", "error", words, hint, file=file, fields=tuple(fixed), table=_table(fixed))


def _live(wanted: Mapping[str, tuple[Any, Any]]) -> Finding:
    each = ", ".join(f"{field} {old} -> {new}" for field, old, new in _table(wanted))
    return Finding(
        "RUN-10",
        "info",
        f"Other values from here on: {each}.",
        "They are kept in the run; its recipe stays as it was.",
        fields=tuple(wanted),
        table=_table(wanted),
    )


def _table(pairs: Mapping[str, tuple[Any, Any]]) -> tuple[tuple[str, str, str], ...]:
    return tuple((field, _short(old), _short(new)) for field, (old, new) in pairs.items())


def _short(value: Any) -> str:
    return paths.show_name("none" if value is None else str(value), 60)


def of_saves(folder: Path) -> tuple[int, list[Finding]]:
    """Return the step a run would go on from, and what is damaged among its saves (RUN-04, RUN-05)."""
    kept, damaged = last_checkpoint(folder)
    step = 0 if kept is None else step_of(kept)
    if not damaged:
        return step, []
    names = ", ".join(str(int(each.path.rpartition("-")[2])) for each in damaged)
    table = tuple((each.path, "whole", each.problem) for each in damaged)
    if kept is None:
        words = f"No sound save in this run: step {names} is damaged."
        hint = "Start again with the same recipe; its events remain, the damaged saves go into quarantine."
        way = "Start from the beginning"
        return 0, [Finding("RUN-05", "error", words, hint, way, str(folder / "checkpoints"), table=table)]
    words = f"The save of step {names} is damaged; step {step} is sound."
    hint = f"Go on from {step}; the damaged one is kept in quarantine."
    return step, [Finding("RUN-04", "warning", words, hint, file=str(folder / damaged[0].path), table=table)]


def environment_of(folder: Path) -> dict[str, Any]:
    """Return what the last attempt noted of its surroundings, empty where it came to no note."""
    try:
        value = json.loads((folder / "environment.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


# -- versions, system, device --------------------------------------------------------------------------------
def of_versions(
    then: Mapping[str, Any], now: Mapping[str, str] | None = None, machine: Machine | None = None
) -> list[Finding]:
    """Compare libraries, operating system and device with those of the last attempt (RUN-06)."""
    try:
        refuse_old()
    except EngineError as error:
        return [from_error(error)]
    if not then:
        return []
    have = versions() if now is None else now
    before = then.get("versions")
    pairs = dict(before) if isinstance(before, dict) else {}
    table = [(name, str(old), have.get(name, "")) for name, old in pairs.items() if have.get(name, "") != old]
    table += _surroundings(then, probe() if machine is None else machine)
    return [_other_versions(table)] if table else []


def _other_versions(table: list[tuple[str, str, str]]) -> Finding:
    shown = tuple((name, _short(old or "none"), _short(new or "none")) for name, old, new in table)
    each = ", ".join(f"{name} {old} -> {new}" for name, old, new in shown)
    return Finding(
        "RUN-06",
        "warning",
        f"Other versions than before: {each}.",
        "You can go on; the result may differ in the last digits.",
        table=shown,
    )


def _surroundings(then: Mapping[str, Any], machine: Machine) -> list[tuple[str, str, str]]:
    import platform

    found = []
    # platform.platform() would start `uname -p`, and the window starts no programs.
    old, new = str(then.get("platform", "")), f"{platform.system()}-{platform.release()}"
    if old and _system(old) != _system(new):
        found.append(("system", _system(old), _system(new)))
    device = str(then.get("device", "")).removeprefix("NVIDIA ")
    here = [gpu.name for gpu in machine.devices] or ["CPU"]
    # A run may be on the processor of a machine with a GPU: only a GPU that is not here is another device.
    if device and device != "CPU" and device not in here:
        found.append(("device", device, here[0]))
    return found


def _system(text: str) -> str:
    """Return name and first two numbers of a platform: a patched kernel is no other system."""
    match = re.match(r"[A-Za-z]+-\d+(?:\.\d+)?", text)
    return match.group() if match else text


# -- base model, data, copies --------------------------------------------------------------------------------
def base_files(folder: Path) -> list[str]:
    """Return the names of the files of a base model that the arithmetic of a run depends on."""
    return ["config.json", *sorted(path.name for path in folder.glob("*.safetensors"))]


def of_base(then: Mapping[str, Any], recipe: Recipe, step: int, folder: Path | None = None) -> list[Finding]:
    """Compare the files of the base model with those the run was trained on (MODEL-08)."""
    model = then.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("files"), dict):
        return []
    place = _base_folder(recipe, str(model.get("path", ""))) if folder is None else folder
    if place is None:
        if not Path(recipe.model.path).is_absolute():
            return []  # a name that the child brings to disk again, and compares then
        return [_changed_base("The base model is gone", str(model.get("path", "")), step)]
    for name, known in model["files"].items():
        file = place / str(name)
        try:
            same = is_same(file, known)
        except OSError as error:
            what = "is gone" if not file.exists() else f"cannot be read ({error.strerror})"
            return [_changed_base(f"{paths.show_name(str(name))} of the base model {what}", str(file), step)]
        if not same:
            return [_changed_base(f"{paths.show_name(str(name))} of the base model changed", str(file), step)]
    return []


def is_same(file: Path, known: Any) -> bool:
    """Return whether a file has the digest that a run noted of it; raises OSError."""
    if isinstance(known, str):  # the first runs kept the digest of both ends
        return file_digests.edges_of(file) == known
    if file.stat().st_size != known.get("bytes"):
        return False
    return bool(file_digests.sha256_of(file) == known.get("sha256"))


def _base_folder(recipe: Recipe, recorded: str) -> Path | None:
    """Return where the base model lies: where the recipe says, else where it was."""
    for text in (recipe.model.path, recorded):
        path = Path(text).expanduser()
        if text and path.is_absolute() and path.is_dir():
            return path
    return None


def _changed_base(what: str, file: str, step: int) -> Finding:
    since = f" since step {step}" if step else " since the run was begun"
    hint = "Restore it, or start a new run from the adapter."
    return Finding("MODEL-08", "error", f"{what}{since}.", hint, file=file)


def of_data(folder: Path, then: Mapping[str, Any], recipe: Recipe, step: int) -> list[Finding]:
    """Compare the data files with those the rows of the run were made from (DATA-11)."""
    before = then.get("data")
    if not isinstance(before, dict):
        return []
    now = row_cache.digests_of(recipe.data, folder)
    other = [path for path, digest in before.items() if now.get(path) != digest]
    if not other:
        return []
    what = ", ".join(
        f"{paths.show_name(Path(path).name)} {'changed' if now.get(path) else 'is gone'}" for path in other
    )
    words = f"{what} after step {step}."
    if frozen.read(folder / ROWS) is not None:
        hint = "Go on with the rows kept in the run, or start a new run."
        return [Finding("DATA-11", "warning", words, hint, file=other[0])]
    words += " The rows kept in the run cannot be read either."
    return [
        Finding("DATA-11", "error", words, "Bring the former file back, or start a new run.", file=other[0])
    ]


def of_foreign(folder: Path) -> list[Finding]:
    """Tell of links and programs in a run: a start puts them away (MODEL-01) or is refused (MODEL-03)."""
    try:
        lock.refuse_links(folder)
    except EngineError as error:
        return [from_error(error)]
    kept, found = run_names.keeps_modes(folder), []
    for entry in run_names.entries(folder):
        why, code = run_names.foreign(entry, kept)
        if why:
            name = paths.show_name(Path(entry.path).relative_to(folder).as_posix(), 200)
            hint = "It goes into quarantine before the run goes on; nothing is opened or run."
            found.append(Finding(code, "warning", f"{name} {why}.", hint, file=entry.path))
    return found


def of_copies(folder: Path) -> list[Finding]:
    """Say when a run is the copy of another one that is here too, and still has its name."""
    original = whereabouts.original_of(folder)
    if original is None:
        return []
    still = ", which is going" if lock.is_held(original) else ""
    return [
        Finding(
            "RUN-02",
            "error",
            f"This folder is a copy of the run {paths.show_name(original.name)}{still}.",
            "Give the copy a name of its own first (`runs rename`): nobody then takes one for the other.",
            "Go on under the same name",
            str(folder),
        )
    ]
