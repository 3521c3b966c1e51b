"""What a person asks of a run between two steps: stop, pause, save, evaluate, sample."""

from __future__ import annotations

import time

import torch

from engine.events import Paused, Resumed
from engine.runtime import evaluate, memory
from engine.runtime.keep import save
from engine.runtime.measure import measure, sample
from engine.runtime.training import Training


def obey(run: Training) -> str:
    """Do what was asked between two steps; return "stop" when the run is to end."""
    requests = run.job.requests
    requests.poll()
    if requests.stop:
        return "stop"
    if requests.take("save"):
        save(run)
    if requests.take("evaluate"):
        measure(run)
    for prompt in requests.take_prompts():
        sample(
            run,
            extra=evaluate.prompt_from_text(prompt, run.template, run.tokenizer, run.system_prompt),
        )
    return wait(run) if requests.take("pause") else ""


def wait(run: Training) -> str:
    """Save, free the device's memory, and wait until told to go on or to stop."""
    save(run, wait=True)
    memory.move(run.model, run.optimizer, torch.device("cpu"))
    memory.free(run.compute.device)
    run.job.write(Paused(step=run.step))
    run.job.phase("paused")
    while not (run.job.requests.stop or run.job.requests.take("resume")):
        time.sleep(0.1)
        run.job.requests.poll()
    if run.job.requests.stop:
        return "stop"
    memory.move(run.model, run.optimizer, run.compute.device)
    run.job.write(Resumed(step=run.step))
    run.job.phase("train")
    return ""
