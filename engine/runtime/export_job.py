"""The job `export`: what the verb does, in a child; options in job.json, the answer in result.json."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Any

from engine import durable
from engine.events import Finished, Stopped, Warned
from engine.runs.script import write_script
from engine.runtime.export import export_model
from engine.runtime.job import AskedToStop, Job

OPTIONS = ("quantization", "base", "check")


def export_job(job: Job) -> Finished | Stopped:
    """Export `arguments["model"]` as `arguments["format"]` to `arguments["out"]`."""
    began = time.monotonic()
    arguments = job.spec.arguments
    if arguments["format"] == "script":
        job.phase("script")
        answer = script_of(Path(str(arguments["model"])), Path(arguments["out"]))
        durable.write_json(job.folder / "result.json", answer)
        return Finished(seconds=time.monotonic() - began)
    options = {name: arguments[name] for name in OPTIONS if arguments.get(name) is not None}
    try:
        result = export_model(
            str(arguments["model"]),
            Path(arguments["out"]),
            str(arguments["format"]),
            progress=job.report,
            **options,
        )
    except AskedToStop:
        return Stopped(step=0)
    durable.write_json(job.folder / "result.json", result)
    if not result["ok"]:
        reason = (result["certificate"] or {}).get("reason", "")
        job.write(
            Warned(code="MODEL-05", message=f"The export did not pass: {reason}.", hint="Do not use it yet.")
        )
    return Finished(seconds=time.monotonic() - began)


def script_of(run: Path, out: Path) -> dict[str, Any]:
    """Write a run's script to the file `out`, and answer as for any other format."""
    found = write_script(run, out)
    files = [{"name": Path(name).name, "bytes": Path(name).stat().st_size} for name in found["files"]]
    return {
        "ok": True,
        "format": "script",
        **found,
        "certificate": None,
        "files": files,
        "command": f"python {shlex.quote(str(out))}",
        "remarks": [found["reason"]] if found["reason"] else [],
    }
