"""Draw what a person sees of the commonest faults: `python -m tests.gui.fault_pictures FOLDER [WORD ...]`.

Both themes, both sizes the design names; the runs are written as a child writes them, their locks are held.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from app.window import MainWindow
from engine import durable
from engine.events import Failed, Heartbeat, Paused, Warned
from engine.jobs.lock import FolderLock
from tests.gui.monitor_runs import Script, crashed_run, finished_run, made_run
from tests.integration.adapters import make_adapters

THEMES = ("dark", "light")
SIZES = ((1440, 900), (1100, 700))
Place = tuple[str, dict[str, Any] | None]


class Stage:
    """A window in a home of its own, with what keeps runs going while they are drawn."""

    def __init__(self, app: Any, theme: str, tiny: Path) -> None:
        from app.application import start_work
        from app.services import make_services
        from engine import paths

        shutil.rmtree(paths.home(), ignore_errors=True)
        paths.home().mkdir(parents=True)
        self.app, self.tiny = app, tiny
        self.held = contextlib.ExitStack()
        self.services = make_services(app, theme)
        self.window = MainWindow(self.services)
        self.window.resize(*SIZES[0])
        start_work(self.window, advances=False)
        self.window.show()

    def going(self, steps: int = 130, **options: Any) -> Script:
        """Write a run in its middle whose child lives."""
        script = Script(made_run(**options))
        script.begin()
        script.steps(1, steps)
        script.write()
        self.held.enter_context(FolderLock(script.folder))
        return script

    def turn(self, seconds: float) -> None:
        """Let the window work for a while."""
        end, turns = time.monotonic() + seconds, 0
        while time.monotonic() < end or turns < 12:  # what came last is laid out on a slow machine too
            self.app.processEvents()
            time.sleep(0.005)
            turns += 1

    def until(self, calm: Callable[[], bool], seconds: float = 60.0) -> None:
        """Let the window work until something holds."""
        end = time.monotonic() + seconds
        while not calm() and time.monotonic() < end:
            self.turn(0.05)

    def settled(self) -> bool:
        """Say whether nothing is being read or drawn."""
        return self.window.page.settled() and not self.services.background.busy

    def close(self) -> None:
        """Put everything away."""
        from app.application import finish

        self.held.close()
        finish(self.window)
        self.window.blockSignals(True)
        self.window.hide()
        self.window.deleteLater()
        self.turn(0.1)


# -- the faults --------------------------------------------------------------------------------------------
def crash(stage: Stage) -> Place:
    """F1: the process was killed."""
    return "monitor", {"run": crashed_run(steps=163)}


def disk_full(stage: Stage) -> Place:
    """F8: no room for the next save."""
    script = stage.going()
    script.say(
        Warned(
            code="DISK-01",
            message="480 MB needed in /home/anna/tunesmith/runs, 61 MB free. Training waits.",
            hint="Free some space, then Continue; nothing is lost.",
        )
    )
    script.say(Paused(step=130))
    script.write()
    return "monitor", {"run": script.folder}


def out_of_memory(stage: Stage) -> Place:
    """F21: the GPU is too small."""
    script = Script(made_run())
    script.begin()
    script.steps(1, 112)
    told = {
        "code": "GPU-01",
        "message": "The GPU has too little memory: 25.3 GB needed, 23.6 GB free.",
        "hint": "Load the base in 4 bits (11.4 GB less), or halve the length (3.1 GB less).",
    }
    script.say(Failed(**told))
    script.end("failed", **told)
    return "monitor", {"run": script.folder}


def not_a_number(stage: Stage) -> Place:
    """F28: three bad steps in a row."""
    script = Script(made_run())
    script.begin()
    script.steps(1, 119)
    told = {
        "code": "RUN-07",
        "message": "Loss was not a number 3 times in a row at step 119.",
        "hint": "Resume from 100 with learning rate 0.0001; look at row 1,204.",
    }
    script.say(Failed(**told))
    script.end("failed", **told)
    return "monitor", {"run": script.folder}


def moved(stage: Stage) -> Place:
    """F14: somebody renamed the folder of a run that goes on."""
    script = stage.going()
    stage.window.navigate("monitor", {"run": script.folder})
    page = stage.window.page
    stage.until(lambda: page.watch.state == "running" and page.watch.whole)
    script.folder.rename(script.folder.with_name("tickets-keep-this"))
    stage.until(lambda: page.watch.state == "gone")
    return "monitor", None


def silent(stage: Stage) -> Place:
    """F18: it lives and takes no step."""
    script = stage.going()
    script.say(Heartbeat(phase="train"))
    script.write()
    stage.window.navigate("monitor", {"run": script.folder})
    page = stage.window.page
    stage.until(lambda: page.watch.state == "running" and page.watch.whole)
    page.watch._moved_at = time.monotonic() - 642
    page._look_for_silence()
    return "monitor", None


def spike(stage: Stage) -> Place:
    """F29: the loss jumped."""
    script = stage.going()
    message = "Loss jumped from 0.91 to 6.8 at step 130."
    hint = "Usual once; if it stays high, lower the learning rate."
    script.say(Warned(code="RUN-08", message=message, hint=hint))
    script.write()
    return "monitor", {"run": script.folder}


def slept(stage: Stage) -> Place:
    """F17: the computer slept."""
    script = stage.going(60)
    script.start_time += 3 * 3600 + 260
    script.steps(61, 140)
    script.write()
    return "monitor", {"run": script.folder}


def copied(stage: Stage) -> Place:
    """F35: a copied folder beside the original that goes on."""
    script = stage.going()
    copy = script.folder.with_name("copied-by-hand")
    shutil.copytree(script.folder, copy)
    (copy / "exit.json").write_text(json.dumps({"status": "stopped"}))
    return "monitor", {"run": copy}


def damaged_log(stage: Stage) -> Place:
    """F31: a power cut left NULs in the log."""
    folder = finished_run()
    path = folder / "events.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[120:123] = [b"\x00" * 4096 + b"\n", lines[120][:40] + b"\n"]
    path.write_bytes(b"".join(lines))
    return "monitor", {"run": folder}


def bad_row(stage: Stage) -> Place:
    """D15, D20: rows that cannot be read."""
    rows = [json.dumps({"prompt": f"Where is parcel {n}?", "completion": f"At stop {n}."}) for n in range(60)]
    rows[16] = '{"prompt": "Where is parcel 16?", "completion": NaN}'
    rows[40] = '{"prompt": "Where is parcel 40?", "comple'
    file = stage.tiny.parent / "tickets.jsonl"
    file.write_text("\n".join(rows) + "\n")
    stage.window.navigate("wizard", {"model": str(stage.tiny)})
    return "wizard", {"data": file}


def pickled_model(stage: Stage) -> Place:
    """M1: a model that only exists as a pickle."""
    folder = stage.tiny.parent / "from-a-stranger"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(stage.tiny, folder)
    for weights in folder.glob("*.safetensors*"):
        weights.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04]\x94.")
    return "wizard", {"model": str(folder), "step": "model"}


def trash(stage: Stage) -> Place:
    """Deleted things, to be brought back."""
    from engine.runs import conversations, store, trash
    from engine.runs.conversations import Conversation, Turn

    store.delete_run(finished_run(steps=40))
    store.delete_run(crashed_run("tone-lora-r8", steps=30))
    question = "Does the adapter answer in Swiss German too?"
    talk = Conversation(id=conversations.new_id(), title=question, turns=(Turn(question=question),))
    conversations.save(talk)
    conversations.delete(talk.id)
    model = stage.tiny.parent / "models" / "merged-tickets"
    from engine import paths

    shutil.copytree(stage.tiny, paths.models_dir() / model.name)
    trash.delete_model(paths.models_dir() / model.name)
    return "runs", {"trash": True}


def chat_died(stage: Stage) -> Place:
    """F45, CHAT-01: the process that answers was killed in the middle of its second answer."""
    adapters = make_adapters(stage.tiny)
    stage.window.navigate("chat", {"adapter": adapters / "plain-adapter"})
    page = stage.window.page
    fields = page.settings.fields
    for name, text in (("temperature", "1"), ("seed", "4"), ("max_new_tokens", "40")):
        fields[name].setText(text)
    page.message.setPlainText("Where is parcel 16?")
    page.send()
    stage.until(lambda: bool(page.turns) and not page.talk.busy)
    fields["max_new_tokens"].setText("90")

    def kill(told: dict[str, Any]) -> None:
        if told["who"] == "adapter" and told["tokens"] > 30 and page.process.pid:
            os.kill(page.process.pid, signal.SIGKILL)

    page.process.token_arrived.connect(kill)
    page.message.setPlainText("And when does it arrive?")
    page.send()
    stage.until(lambda: not page.notice.isHidden())
    page.message.setPlainText("Thank you, that is all I")
    return "chat", None


def low_disk(stage: Stage) -> Place:
    """F10: room for less than two more saves, on the run's page."""
    script = _low(stage)
    return "monitor", {"run": script.folder}


def low_disk_home(stage: Stage) -> Place:
    """F10: the same on Home."""
    _low(stage)
    return "home", None


def _low(stage: Stage) -> Script:
    """Write a run that goes on beside a deleted one, on a disk with 201 MB left."""
    from app.workers import room_watch
    from engine.runs import store

    deleted = finished_run("tone-lora-r8", steps=40)
    with open(deleted / "large.bin", "wb") as file:
        file.truncate(1_900_000_000)
    store.delete_run(deleted)
    script = stage.going()
    stage.held.enter_context(room_watch.durable.using(SmallDisk()))
    queue, room = stage.services.run_queue, stage.services.room
    stage.window.navigate("home")
    stage.until(lambda: any(run.history.checkpoints for run in queue.active()))
    room.look()
    stage.until(lambda: room.low is not None)
    stage.window.page.refresh()
    return script


class SmallDisk(durable.Disk):
    """A disk with little room."""

    def free(self, folder: Path) -> int:
        return 201_000_000


def notices(stage: Stage) -> Place:
    """What a person is called for."""
    return "settings", {"section": "notices"}


def collected(stage: Stage) -> Place:
    """What the settings offer to delete."""
    from engine import paths
    from engine.models import library
    from engine.runs import tests_kept

    shutil.copytree(stage.tiny, paths.models_dir() / "merged-tickets")
    library.add_model(stage.tiny)
    tests_kept.keep_test(paths.home(), "My invoice was charged twice this month.", "billing", "contains")
    return "settings", {"section": "library"}


CASES: dict[str, Callable[[Stage], Place]] = {
    "crash": crash,
    "disk-full": disk_full,
    "out-of-memory": out_of_memory,
    "not-a-number": not_a_number,
    "moved": moved,
    "silent": silent,
    "spike": spike,
    "slept": slept,
    "copied": copied,
    "damaged-log": damaged_log,
    "bad-row": bad_row,
    "pickled-model": pickled_model,
    "trash": trash,
    "collected": collected,
    "chat-died": chat_died,
    "low-disk": low_disk,
    "low-home": low_disk_home,
    "notices": notices,
}


def pictures(app: Any, folder: Path, tiny: Path, only: list[str]) -> Iterator[Path]:
    """Draw the cases that are wanted and say where each picture was written."""
    from app import screenshot

    for theme in THEMES:
        for case, make in CASES.items():
            files = {size: folder / f"{case}-{theme}-{size[0]}x{size[1]}.png" for size in SIZES}
            wanted = {s: f for s, f in files.items() if not only or any(word in f.name for word in only)}
            if not wanted:
                continue
            stage = Stage(app, theme, tiny)
            page, argument = make(stage)
            if argument is not None:
                stage.window.navigate(page, argument)
            for size, file in wanted.items():
                stage.window.resize(*size)
                stage.turn(0.6)
                stage.until(stage.settled, 15)
                stage.turn(0.3)
                screenshot.save(stage.window, file)
                yield file
            stage.close()


def main() -> int:
    """Read the words of the command line and draw."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("folder", type=Path, help="where the pictures are written")
    reader.add_argument("only", nargs="*", help="draw those whose name holds one of these words")
    options = reader.parse_args()
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    with tempfile.TemporaryDirectory() as place:
        here = Path(place)
        tempfile.tempdir = place
        os.environ.update(TUNESMITH_HOME=str(here / "home"), HF_HUB_CACHE=str(here / "hub"))
        maker = Path(__file__).parents[1] / "data" / "make_tiny_model.py"
        subprocess.run(
            [sys.executable, str(maker), str(here / "tiny-llama")], check=True, capture_output=True
        )
        from app.application import import_charts, make_application
        from app.theme.style import load_fonts

        app = make_application()
        load_fonts()
        import_charts()
        for file in pictures(app, options.folder.absolute(), here / "tiny-llama", options.only):
            print(file, flush=True)
        shutil.rmtree(here, ignore_errors=True)
        os._exit(0)  # threads that read this machine need not be waited for


if __name__ == "__main__":
    main()
