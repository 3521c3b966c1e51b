"""What lies in a folder: its regular files in reading order, and which of them belong together."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from engine.errors import EngineError, from_os_error
from engine.links import is_link
from engine.paths import show_name

MOST_FILES = 100_000
MOST_DEPTH = 32
FEW = 4
DOCUMENTS = "documents"
KINDS = {
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "JSON"),
    **dict.fromkeys((".csv", ".tsv", ".tab"), "CSV"),
    **dict.fromkeys((".arrow", ".feather"), "Arrow"),
    **dict.fromkeys((".yaml", ".yml"), "YAML"),
    **dict.fromkeys((".txt", ".md", ".markdown", ".rst"), DOCUMENTS),
    ".parquet": "Parquet",
    ".xlsx": "Excel",
}
PACKED = (".gz", ".gzip", ".zst", ".zstd", ".zip")
# What describes the data beside it.
ABOUT = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}
ABOUT_WORDS = {"readme", "license", "licence", "source", "changelog", "contributing", "notice", "citation"}
CLUTTER = {"__macosx", "__pycache__", "thumbs.db", "desktop.ini"}
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "development"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
OTHER = "other"
_FIRST = ("train", OTHER, "validation", "test")
_USUAL = ("", "default", "main")


@dataclass(frozen=True)
class Contents:
    """The files of a folder (paths below it) in reading order, and how many of what else is left out."""

    files: tuple[PurePath, ...]
    left_out: tuple[str, ...]


def contents(folder: Path) -> Contents:
    """Look through a folder and the folders in it; hidden files and links that lead out are left out.

    Raises EngineError DATA-08 above 100,000 files, DISK-02 for a folder that may not be opened.
    """
    inside = _inside(folder)
    found: list[PurePath] = []
    skipped: Counter[str] = Counter()
    waiting = [PurePath()]
    while waiting:
        below = waiting.pop()
        for entry in _entries(folder / below):
            if entry.name.startswith(".") or entry.name.lower() in CLUTTER:
                continue
            what = _what(entry, inside)
            if what == "folder" and len(below.parts) < MOST_DEPTH:
                waiting.append(below / entry.name)
            elif what == "file":
                found.append(below / entry.name)
            else:
                skipped["folder too deep" if what == "folder" else what] += 1
        if len(found) + len(waiting) + skipped.total() > MOST_FILES:
            what = f"{show_name(folder.name)} holds more than {MOST_FILES:,} files."
            raise EngineError(what, "Choose a smaller folder in it.", "DATA-08", file=str(folder), line=1)
    told = (f"{count:,} {what}{'s' if count > 1 else ''}" for what, count in sorted(skipped.items()))
    return Contents(tuple(sorted(found, key=_order)), tuple(told))


def _inside(folder: Path) -> Path:
    """Return where links may lead: into the folder, or the repository of a snapshot in the hub's cache."""
    real = folder.resolve()
    for above in (real, *real.parents):
        if above.name == "snapshots" and above.parent.name.startswith("datasets--"):
            return above.parent
    return real


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise from_os_error(error, str(folder)) from None


def _what(entry: os.DirEntry[str], inside: Path) -> str:
    try:
        if not is_link(entry):
            regular = entry.is_file(follow_symlinks=False)
            return "folder" if entry.is_dir(follow_symlinks=False) else "file" if regular else "special file"
        target = Path(entry.path).resolve(strict=True)
    except (OSError, RuntimeError):
        return "broken link"
    return "file" if target.is_file() and target.is_relative_to(inside) else "link"


def _order(path: PurePath) -> list[list[tuple[int, int, str]]]:
    """Sort as people count: part 2 before part 10."""
    return [[_piece(p) for p in re.split(r"([0-9]+)", part.lower()) if p] for part in path.parts]


def _piece(text: str) -> tuple[int, int, str]:
    return (0, int(text), text) if text[0] in "0123456789" and len(text) <= 300 else (1, 0, text)


def kind_of(path: PurePath) -> str | None:
    """Return what a file's name says it is (a kind of data, or documents), None for anything else."""
    suffixes = [s.lower() for s in path.suffixes]
    packed = bool(suffixes) and suffixes[-1] in PACKED
    suffix = suffixes[-2] if packed and len(suffixes) > 1 else suffixes[-1] if suffixes else ""
    kind = None if path.name.lower() in ABOUT else KINDS.get(suffix)
    return None if packed and kind == DOCUMENTS else kind


def usable(files: Iterable[PurePath]) -> list[tuple[PurePath, str]]:
    """Return the files of data with their kinds; what only describes them, and packed doubles, are left out.

    A README is a document like others where there are documents only.
    """
    kinds = [(path, kind) for path in files if (kind := kind_of(path)) is not None]
    paths = {path for path, _ in kinds}
    tables = any(kind != DOCUMENTS for _, kind in kinds)
    kept = []
    for path, kind in kinds:
        word = re.split(r"[^a-z]", path.stem.lower())[0]
        about = kind == DOCUMENTS and word in ABOUT_WORDS and (tables or word != "readme")
        double = path.suffix.lower() in PACKED and path.with_suffix("") in paths
        if not about and not double:
            kept.append((path, kind))
    return kept or kinds


def split_of(path: PurePath) -> str | None:
    """Return the split that a file's path names: `test` for `data/test-00000-of-00001.parquet`."""
    for part in reversed(path.parts):
        words = [w for w in re.split(r"[^a-z]+", part.lower()) if w in SPLITS]
        if words:
            return SPLITS[words[-1]]
    return None


def groups(folder: Path, files: list[tuple[PurePath, str]]) -> dict[str, list[PurePath]]:
    """Return the files that make one table each, by the name of the part; the usual one comes first.

    Files belong to one part unless their kinds differ (the kind with the most bytes comes first) or their
    names tell splits (then also by folder).
    """
    kinds = {kind for _, kind in files}
    weights = {kind: _bytes(folder, [p for p, k in files if k == kind]) for kind in kinds}
    several_kinds = len(kinds) > 1
    found: dict[tuple[str, str, str], list[PurePath]] = {}
    for kind in sorted(kinds, key=lambda kind: (-weights[kind], kind)):
        for (config, split), group in _splits([p for p, k in files if k == kind], kind).items():
            found[(kind if several_kinds else "", config, split)] = group
    several = {k: len({config for kind, config, _ in found if kind == k}) > 1 for k, _, _ in found}
    ranked = sorted(
        found,
        key=lambda key: (
            -weights.get(key[0], 0),
            key[0],
            _rank(key[1], _USUAL),
            key[1],
            _rank(key[2], _FIRST),
        ),
    )
    return {_name(key, several[key[0]]): found[key] for key in ranked}


def _bytes(folder: Path, files: list[PurePath]) -> int:
    try:
        return sum((folder / path).stat().st_size for path in files)
    except OSError as error:
        raise from_os_error(error, str(folder)) from None


def _name(key: tuple[str, str, str], several: bool) -> str:
    kind, config, split = key
    steps = (kind, (config or "default") if several else "", split)
    return "/".join(show_name(step) for step in steps if step)


def _rank(name: str, usual: tuple[str, ...]) -> int:
    return usual.index(name) if name in usual else len(usual)


def _splits(files: list[PurePath], kind: str) -> dict[tuple[str, str], list[PurePath]]:
    splits = [split_of(path) for path in files]
    if kind == DOCUMENTS or not any(splits):
        return {("", ""): files}
    found: dict[tuple[str, str], list[PurePath]] = {}
    for path, split in zip(files, splits, strict=True):
        found.setdefault((_config(path), split or OTHER), []).append(path)
    return found


def _config(path: PurePath) -> str:
    return "/".join(p for p in path.parent.parts if p.lower() != "data" and split_of(PurePath(p)) is None)


def told(files: Sequence[PurePath]) -> str:
    """Return what some files are: their names if they are few, or their ends: `12 .png, 3 .py`."""
    if len(files) <= FEW:
        return ", ".join(show_name(str(path)) for path in files)
    counts = Counter(show_name(path.suffix.lower(), 16) or "without an end" for path in files)
    shown = [f"{count:,} {name}" for name, count in counts.most_common(6)]
    rest = len(counts) - len(shown)
    return ", ".join([*shown, f"{rest} other kinds"] if rest else shown)
