"""The job `certify`: what the verb does, in a child; the answer in result.json."""

from __future__ import annotations

import time
from pathlib import Path

from engine import durable
from engine.events import Finished, Stopped
from engine.runtime.certify import certify_folder
from engine.runtime.job import AskedToStop, Job


def certify_job(job: Job) -> Finished | Stopped:
    """Check the files of `arguments["folder"]` and compare it again with what it was made of."""
    began = time.monotonic()
    try:
        result = certify_folder(Path(job.spec.arguments["folder"]), job.report)
    except AskedToStop:
        return Stopped(step=0)
    durable.write_json(job.folder / "result.json", result)
    return Finished(seconds=time.monotonic() - began)
