"""Folders that look like a model or an adapter and cannot be used: which they are, and why not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine import paths
from engine.errors import EngineError


@dataclass(frozen=True)
class Refused:
    """One folder: its name, where it lies, and the error that reading it ended with."""

    name: str
    path: Path
    error: EngineError

    def as_dict(self) -> dict[str, str]:
        """Return it as `models list` and `adapters list` answer."""
        told = {"code": self.error.code, "message": self.error.message, "hint": self.error.hint}
        return {"name": self.name, "path": str(self.path), **told}


def folder_name(folder: Path) -> str:
    """Return what a model's or an adapter's folder is called.

    What a run made is known by the run's name (`runs/tickets/model` is `tickets`), what came from the hub by
    its id, as its folder there is named after a commit.
    """
    above = folder.parent
    if folder.name in ("model", "adapter") and (above / "job.json").is_file():
        return paths.show_name(above.name)
    if above.name == "snapshots" and above.parent.name.startswith("models--"):
        return paths.show_name(above.parent.name.removeprefix("models--").replace("--", "/", 1))
    return paths.show_name(folder.name)
