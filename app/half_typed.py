"""Words that are typed and not sent yet: a file for each place they belong to, gone once they are sent."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from engine import durable, paths

LARGEST_BYTES = 4 << 20
MOST = 200  # places; the oldest go first


@dataclass(frozen=True)
class Typed:
    """What stands in a field of a place; `target` is who it is for. An empty text leaves nothing."""

    place: str
    text: str
    target: str = ""


def typed_dir() -> Path:
    """Return where the words lie."""
    return paths.home() / "typed"


def typed_file(place: str) -> Path:
    """Return the file of a place."""
    return typed_dir() / f"{hashlib.sha256(place.encode('utf-8', 'replace')).hexdigest()[:32]}.json"


def save_typed(typed: Typed) -> None:
    """Write the words of a place, or take its file away where there are none; raises OSError."""
    file = typed_file(typed.place)
    if not typed.text.strip():
        file.unlink(missing_ok=True)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    durable.write_file(file, json.dumps(asdict(typed)) + "\n")
    for old in _newest_first()[MOST:]:
        old.unlink(missing_ok=True)


def load_typed(place: str) -> str:
    """Return the words of a place, an empty text where none are kept or none can be read."""
    found = _read(typed_file(place))
    return found.text if found is not None and found.place == place else ""


def newest(beginning: str) -> Typed | None:
    """Return what was typed last in a place whose name begins so."""
    for file in _newest_first():
        found = _read(file)
        if found is not None and found.place.startswith(beginning):
            return found
    return None


def _read(file: Path) -> Typed | None:
    try:
        told = json.loads(paths.read_head(file, LARGEST_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    values = [told.get(name, "") for name in ("place", "text", "target")] if isinstance(told, dict) else []
    return Typed(*values) if values and all(isinstance(each, str) for each in values) else None


def _newest_first() -> list[Path]:
    try:
        found = [(place.stat().st_mtime_ns, place) for place in typed_dir().glob("*.json")]
    except OSError:
        return []
    return [place for _, place in sorted(found, reverse=True)]
