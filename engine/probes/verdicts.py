"""What probes said, kept in the cache under a digest of what they saw; it may be deleted at any time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine import paths
from engine.error_catalogue import CODES
from engine.errors import EngineError

MOST_FILES = 1024
IN_MEMORY = 256
MOST_BYTES = 64 << 10  # of a kept verdict


@dataclass(frozen=True)
class Verdict:
    """Sound, with what was found out (`facts`), or refused with the words of the error."""

    facts: dict[str, Any] = field(default_factory=dict)
    code: str = ""
    message: str = ""
    hint: str = ""

    @property
    def sound(self) -> bool:
        """Say whether what was looked at may be used."""
        return not self.code

    def demand(self, file: str | None = None, field: str | None = None) -> dict[str, Any]:
        """Return the facts; raises the EngineError of a refusal."""
        if self.code:
            raise EngineError(self.message, self.hint, self.code, file=file, field=field)
        return self.facts


_known: OrderedDict[str, Verdict] = OrderedDict()


def folder() -> Path:
    """Return where verdicts are kept."""
    place = paths.cache_dir() / "probes"
    with contextlib.suppress(FileExistsError):
        place.mkdir(mode=0o700)
    return place


def recall(key: str) -> Verdict | None:
    """Return what was said of a thing before, None where nothing is known."""
    found = _known.get(key)
    if found is None:
        found = _read(key)
        if found is not None:
            _note(key, found)
    return found


def remember(key: str, verdict: Verdict) -> None:
    """Keep a verdict here and in the cache; a disk that takes none costs another probe, nothing else."""
    _note(key, verdict)
    with contextlib.suppress(OSError):
        _make_room()
        path = folder() / f"{key}.json"
        part = path.with_name(f"{key}.{os.getpid()}.part")
        # No fsync: half a verdict is none, and costs another probe.
        part.write_text(json.dumps(verdict.__dict__), "utf-8")
        os.replace(part, path)


def forget() -> None:
    """Forget what is held in memory (for tests)."""
    _known.clear()


def _note(key: str, verdict: Verdict) -> None:
    _known[key] = verdict
    while len(_known) > IN_MEMORY:
        with contextlib.suppress(KeyError):
            _known.popitem(last=False)


def _read(key: str) -> Verdict | None:
    try:
        path = folder() / f"{key}.json"
        if path.stat().st_size > MOST_BYTES:
            return None
        return as_verdict(json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError):
        return None


def as_verdict(value: Any) -> Verdict | None:
    """Return a verdict written as JSON, None for what is none."""
    if not isinstance(value, dict) or not isinstance(value.get("facts"), dict):
        return None
    words = [value.get(name, "") for name in ("code", "message", "hint")]
    if not all(isinstance(word, str) for word in words) or words[0] and words[0] not in CODES:
        return None
    code, message, hint = words
    return Verdict(value["facts"], code, paths.show_name(message, 600), paths.show_name(hint, 300))


def _make_room() -> None:
    """Remove the older half once there are too many."""
    with os.scandir(folder()) as entries:
        kept = [(entry.stat().st_mtime_ns, entry.path) for entry in entries]
    if len(kept) >= MOST_FILES:
        for _, path in sorted(kept)[: MOST_FILES // 2]:
            with contextlib.suppress(OSError):
                os.unlink(path)


def digest_of(*parts: Any) -> str:
    """Return the SHA-256 of some values as JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
