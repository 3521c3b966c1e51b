"""The job `merge`: what the verb does, in a child; options in job.json, the answer in result.json."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from engine import durable
from engine.events import Finished, Stopped
from engine.runtime.job import AskedToStop, Job
from engine.runtime.merge import merge_adapter

OPTIONS = ("base", "weights", "method", "dtype", "check", "density", "seed", "svd_rank", "adapter_only")


def merge_job(job: Job) -> Finished | Stopped:
    """Merge `arguments["adapters"]` into `arguments["out"]`; the other arguments are `merge_adapter`'s."""
    began = time.monotonic()
    arguments = job.spec.arguments
    progress = partial(job.report, unit="tensors")
    options = {name: arguments[name] for name in OPTIONS if arguments.get(name) is not None}
    adapters = [Path(adapter) for adapter in arguments["adapters"]]
    try:
        result = merge_adapter(adapters, Path(arguments["out"]), progress=progress, **options)
    except AskedToStop:  # a folder that is written, and only not compared yet, stays
        return Stopped(step=0)
    durable.write_json(job.folder / "result.json", result)
    return Finished(seconds=time.monotonic() - began)
