"""`--demo`: drives the real window from Home to Chat on the starter model and the bundled example.

It presses what a person presses, leaves a picture of each page, and measures on held-out messages what base
and adapter answer. The short form trains a few steps only; its figures say nothing about quality.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import QCoreApplication, QEventLoop

from app.screenshot import DEFAULT_SIZE, save, wait_until_settled
from app.workers.engine_thread import EngineThread
from engine.errors import EngineError
from engine.jobs.process import exit_of, last_words
from engine.jobs.spec import create_job
from engine.models import library
from engine.paths import jobs_dir, resources, runs_dir

FAST = {"training.max_steps": 6, "evaluation.eval_steps": 3, "data.validation_split": 0.02}
FAST_ROWS = 2
LONGEST_SECONDS = 3600.0
MESSAGE = (
    "Hello, I was charged twice for my May invoice and nobody answers the phone. Please refund one payment."
)


class DemoError(Exception):
    """A station of the demo did not do what it must."""


class Demo:
    """One pass through the window; `say` prints a line with the time since the start."""

    def __init__(self, app: QCoreApplication, window: Any, options: argparse.Namespace) -> None:
        self._app, self._window = app, window
        self._fast: bool = options.fast
        self._folder: Path | None = options.screenshots
        self._began = time.monotonic()
        self._pictures = 0

    def say(self, words: str) -> None:
        """Print a line for the person who watches the terminal."""
        print(f"[{time.monotonic() - self._began:6.1f} s] {words}", flush=True)

    def turn(self, seconds: float = 0.02) -> None:
        """Let the window live for a moment."""
        end = time.monotonic() + seconds
        while True:
            self._app.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 20)
            if time.monotonic() >= end:
                return
            time.sleep(0.005)

    def wait(self, what: str, done: Callable[[], bool], longest: float = LONGEST_SECONDS) -> None:
        """Turn the event loop until `done`; raises DemoError when it takes too long."""
        end = time.monotonic() + longest
        while not done():
            if time.monotonic() > end:
                raise DemoError(f"{what}: not within {longest:.0f} s.")
            self.turn(0.05)

    def picture(self, name: str) -> None:
        """Draw what is in front once it is calm."""
        wait_until_settled(self._app, self._window)
        if self._folder is None:
            return
        self._pictures += 1
        file = self._folder / f"{self._pictures:02d}-{name}.png"
        if not save(self._window, file):
            raise DemoError(f"{file} could not be written.")
        self.say(f"picture {file.name}")

    def page(self, name: str, argument: dict[str, Any] | None = None) -> Any:
        """Go to a page and return it."""
        self._window.navigate(name, argument)
        self.turn(0.1)
        return self._window.page

    def run(self) -> None:
        """Go the whole way."""
        self.page("home")
        self.picture("home")
        run = self.wizard()
        self.monitor(run)
        self.page("runs")
        self.picture("runs")
        self.merge(run)
        self.chat(run)
        for name in ("settings", "experiments", "compare", "evaluate"):
            self.page(name)
            self.picture(name)
        self.measure(run)

    def wizard(self) -> Path:
        """From Model to Start with the bundled example; the picture of each step is taken before Next."""
        if not library.starter_ready():
            self.say("preparing the starter model")
            library.ensure_starter()
        before = set(runs_dir().iterdir())
        page = self.page("wizard", {"example": "support", "step": "model"})
        if self._fast:
            page.state.set_values(FAST)
        for step in ("model", "data", "method", "training", "review"):
            if page.step_name != step:
                raise DemoError(f"The wizard stands at {page.step_name}, not at {step}.")
            self.picture(f"wizard-{step}")
            page.footer.next.click()
            self.turn(0.1)
        self.wait("Start", lambda: bool(set(runs_dir().iterdir()) - before), 30)
        run: Path = next(iter(set(runs_dir().iterdir()) - before))
        self.say(f"started {run.name}")
        return run

    def monitor(self, run: Path) -> None:
        """Watch the run to its end."""
        queue = self._window.services.run_queue
        watch = queue.attach(run)
        half = 2 if self._fast else 30
        self.wait("First steps", lambda: watch.step >= half or watch.over)
        self.page("monitor", {"run": run})
        self.picture("monitor-running")
        self.wait("Training", lambda: watch.over)
        self.turn(0.5)
        closing = exit_of(run)
        if closing is None:
            raise DemoError(f"The run ended without a closing note. {last_words(run)}")
        if closing["status"] != "finished":
            raise DemoError(f"The run {closing['status']}: {closing['message']} {closing['hint']}")
        history = watch.history
        self.say(
            f"finished {history.step} steps, best validation {history.best.loss:.4f} at {history.best.step}"
        )
        self.picture("monitor-finished")

    def merge(self, run: Path) -> None:
        """Merge the adapter and read its certificate."""
        page = self.page("merge", {"run": run})
        self.wait("The adapter", lambda: page.board.ready and page.settled(), 60)
        page.primary_action()
        self.wait("Merge", lambda: page.result is not None or page.notice.isVisible(), 900)
        if page.result is None:
            raise DemoError("The merge failed; see its page.")
        fidelity = page.result["fidelity"]
        self.say(f"merged; largest logit difference {fidelity['max_logit_difference']:.1e}")
        self.picture("merge")

    def chat(self, run: Path) -> None:
        """Ask base and adapter the same question."""
        page = self.page("chat", {"run": run})
        page.settings.fields["max_new_tokens"].setText("64")
        page.settings.fields["temperature"].setText("0")
        page.message.setPlainText(MESSAGE)
        page.send()
        self.wait(
            "Answers", lambda: bool(page.turns) and len(page.turns[-1].answers) == 2 and page.settled(), 600
        )
        self.picture("chat")

    def measure(self, run: Path) -> None:
        """Let base and adapter answer the held-out messages and print the shares."""
        source = resources("examples", "support", "holdout.jsonl")
        rows = [line for line in source.read_text("utf-8").split("\n") if line.strip()]
        folder = jobs_dir() / f"answers-{run.name}-{time.time_ns():x}"
        folder.mkdir(parents=True)
        chosen = folder / "holdout.jsonl"
        chosen.write_text("\n".join(rows[: FAST_ROWS if self._fast else None]) + "\n", encoding="utf-8")
        arguments = {"run": str(run), "data": str(chosen), "max_new_tokens": 64}
        create_job("answers", arguments, folder, name="Held-out answers")
        thread = EngineThread(folder, start_child=True)
        thread.start()
        self.wait("Held-out answers", thread.isFinished, 1800)
        if not (folder / "answers.json").exists():
            raise DemoError("The held-out messages were not answered; see child.log in " + str(folder))
        found = json.loads((folder / "answers.json").read_bytes())
        for who in ("base", "adapter"):
            valid, right = score(found[who], found["expected"])
            shares = f"{valid:.1%} valid JSON, {right:.1%} queue and priority both right"
            self.say(f"{len(found[who])} held-out messages, {who}: {shares}")


def score(answers: list[str], expected: list[str]) -> tuple[float, float]:
    """Return the share of valid JSON objects, and of answers with queue and priority both right."""
    valid = right = 0
    for answer, wanted in zip(answers, expected, strict=True):
        try:
            value = json.loads(answer)
        except ValueError:
            continue
        if not isinstance(value, dict):
            continue
        valid += 1
        goal = json.loads(wanted)
        right += all(value.get(key) == goal[key] for key in ("queue", "priority"))
    return valid / len(answers), right / len(answers)


def run_demo(app: QCoreApplication, window: Any, options: argparse.Namespace) -> int:
    """Run the demo and return the exit code: 0 when every station did what it must."""
    from app.application import finish

    window.resize(*(options.size or DEFAULT_SIZE))
    window.show()
    demo = Demo(app, window, options)
    try:
        demo.run()
    except (DemoError, EngineError) as error:
        print(f"The demo stopped: {error}", file=sys.stderr)
        return 1
    finally:
        finish(window)
    demo.say("done")
    return 0
