"""The real starter model: a complete run, its merge, its chat, and the demo in its short form."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.runs import store
from engine.runs.event_log import EventReader

DEMO_PAGES = (
    "home wizard-model wizard-data wizard-method wizard-training wizard-review monitor-running "
    "monitor-finished runs merge chat settings"
).split()


def call(*words: str) -> list[dict[str, object]]:
    done = subprocess.run(
        [sys.executable, "-m", "engine", *words, "--json"], capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drive the window from wizard to chat once, in a home of its own; return where its pictures lie."""
    home = tmp_path_factory.mktemp("starter")
    words = [sys.executable, "-m", "app", "--demo", "--fast", "--screenshots", str(home / "pictures")]
    environment = dict(os.environ, QT_QPA_PLATFORM="offscreen", TUNESMITH_HOME=str(home))
    done = subprocess.run(words, capture_output=True, text=True, timeout=900, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return home / "pictures"


@pytest.fixture(scope="module")
def run(demo: Path) -> Path:
    """Return the run that the window made: the starter on the bundled example."""
    (folder,) = [p for p in (demo.parent / "runs").iterdir() if (p / "job.json").is_file()]
    return folder


@pytest.mark.slow
def test_that_a_run_of_the_window_learns_to_its_end(run: Path) -> None:
    events = EventReader(run).read_new()
    losses = [e.loss for e in events if e.type == "step" and e.loss is not None]
    assert store.state_of(run) == "finished" and len(losses) == 6
    assert sum(losses[-2:]) < sum(losses[:2]) * 0.9


@pytest.mark.slow
def test_that_the_merged_starter_is_base_plus_adapter_in_plain_transformers(run: Path, demo: Path) -> None:
    """What the window merged; the verb of the command line is asked in test_mixing.py."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    (merged,) = (demo.parent / "exports").iterdir()
    certificate = json.loads((merged / "certificate.json").read_text())
    assert certificate["passed"] and certificate["max_logit_difference"] < 1e-3
    config = json.loads((run / "adapter" / "adapter_config.json").read_text())
    base = AutoModelForCausalLM.from_pretrained(config["base_model_name_or_path"])
    adapted = PeftModel.from_pretrained(base, run / "adapter").eval()
    plain = AutoModelForCausalLM.from_pretrained(merged).eval()
    ids = torch.randint(10, 40_000, (1, 64), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        difference = (adapted(input_ids=ids).logits - plain(input_ids=ids).logits).abs().max()
    assert float(difference) < 1e-3


@pytest.mark.slow
def test_that_chat_answers_as_base_and_as_adapter(run: Path) -> None:
    words = ("--message", "My parcel has not arrived.", "--compare-base", "--max-new-tokens", "12")
    replies = call("chat", str(run), *words)[0]["replies"]
    assert len(replies) == 2  # type: ignore[arg-type]
    assert replies[0]["text"] != replies[1]["text"]  # type: ignore[index]


@pytest.mark.slow
def test_that_the_short_demo_leaves_a_picture_of_each_page(demo: Path) -> None:
    names = [p.stem[3:] for p in sorted(demo.glob("*.png"))]
    assert names[: len(DEMO_PAGES)] == DEMO_PAGES
