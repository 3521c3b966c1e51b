"""job.json: what a child is to do, frozen before it starts."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from engine import durable, paths
from engine.errors import EngineError, from_os_error

FORMAT = 1  # of a job folder; a folder of a later format is only looked at
JobKind = Literal["train", "merge", "answers", "probe", "dry_run", "evaluate", "export", "certify"]


class JobSpec(BaseModel):
    """One job: its kind, its name and the arguments of its kind."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    format: int = FORMAT
    kind: JobKind
    id: str
    name: str
    created: float
    launcher: dict[str, Any] = {}
    interpreter: str = ""
    arguments: dict[str, Any] = {}

    @field_validator("name", "id")
    @classmethod
    def _seen(cls, text: str) -> str:
        """A folder may come from anybody: its name turns and steers nothing where it is shown."""
        return paths.mark_name(text)


def create_job(
    kind: JobKind,
    arguments: dict[str, Any],
    folder: Path,
    *,
    name: str = "",
    id: str = "",
    launcher: dict[str, Any] | None = None,
) -> JobSpec:
    """Make `folder` with its `control/` and job.json; raises EngineError DISK-* when it cannot be written.

    `launcher` is the recipe's section of that name: how many processes the child is to be.
    """
    spec = JobSpec(
        kind=kind,
        id=id or folder.name,
        name=name or folder.name,
        created=time.time(),
        launcher=launcher or {"kind": "local", "processes": 1},
        interpreter=sys.executable,
        arguments=arguments,
    )
    try:
        durable.make_folder(folder, mode=0o700)
        durable.make_folder(folder / "control")
        durable.write_json(folder / "job.json", spec.model_dump())
    except OSError as error:
        raise from_os_error(error, str(folder)) from error
    return spec


def read_job(folder: Path) -> JobSpec:
    """Read job.json; raises EngineError RUN-03 when the folder is no job, RUN-12 when it is damaged."""
    path = folder / "job.json"
    value = None
    try:
        value = json.loads(paths.read_head(path))
        return JobSpec.model_validate(value)
    except FileNotFoundError as error:
        raise EngineError(
            f"{folder} is not a run.", "Choose a folder that holds a job.json.", "RUN-03", file=str(path)
        ) from error
    except OSError as error:
        raise from_os_error(error, str(path)) from error
    except (ValueError, ValidationError, RecursionError) as error:
        number = value.get("format") if isinstance(value, dict) else None
        if isinstance(number, int) and number > FORMAT:
            raise newer(folder, number) from error
        raise EngineError(
            f"{path} cannot be read.",
            "The run can still be looked at; start a new one to go on.",
            "RUN-12",
            file=str(path),
        ) from error


def newer(folder: Path, number: int) -> EngineError:
    """Return what is said of a folder that a later version made: nothing is done in it."""
    return EngineError(
        f"This run was made by a newer Tunesmith (format {number}, {FORMAT} is known here).",
        "You can look at it; update to go on with it.",
        "RUN-12",
        file=str(folder / "job.json"),
    )


def refuse_newer(folder: Path, spec: JobSpec) -> None:
    """Raise EngineError RUN-12 for the folder of a later version."""
    if spec.format > FORMAT:
        raise newer(folder, spec.format)
