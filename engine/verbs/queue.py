"""Verbs of the queue: what waits, in which order, and running it without a window."""

from __future__ import annotations

import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from engine.errors import EngineError
from engine.recipe import codec
from engine.runs import queue, queue_runner, store
from engine.runs.advance import Started, advance, going_folders, name_of, occupied
from engine.runs.advance import device_names as names_of_devices
from engine.verbs.runs import check_inputs, read_recipe
from engine.verbs.spoken import say
from engine.verbs.starts import ask_base, refuse_without_gpu

Answer = dict[str, Any] | int
RECIPES = (".yaml", ".yml")
FOLLOW_SECONDS = 1.0


def view() -> dict[str, Any]:
    """Return the queue as it is answered in JSON: what waits, what goes on and where."""
    now = queue.read()
    where: dict[Path, list[str]] = {}
    for device, folder in occupied(now, names_of_devices()).items():
        where.setdefault(folder, []).append(device)
    return {
        "queued": [
            {"place": place, "run": folder.name, "name": name_of(folder), "state": store.state_of(folder)}
            for place, folder in enumerate(now.queued, 1)
        ],
        "going": [
            {
                "run": folder.name,
                "name": name_of(folder),
                "devices": where.get(folder, []),
                **_how_far(folder),
            }
            for folder in going_folders(now)
        ],
        "held": now.held,
        "on_error": now.on_error,
    }


def _how_far(folder: Path) -> dict[str, Any]:
    run = store.summary(folder)
    return {"state": run.state, "step": run.step, "total_steps": run.total_steps}


def list_queue(args: Namespace) -> Answer:
    """Say what waits, in order, and what goes on."""
    return view()


def add(args: Namespace) -> Answer:
    """Make a run of each recipe, or take a run that is there, and let it wait for its device."""
    added = []
    for what in args.what:
        if Path(what).suffix.lower() in RECIPES:
            recipe = read_recipe(what, args.set)
            codec.refuse_unsupported(recipe)
            check_inputs(recipe)
            ask_base(recipe, anyway=args.anyway)
            refuse_without_gpu(recipe, anyway=args.anyway)
            folder = store.create_run(recipe)
        else:
            folder = _waitable(what)
        queue.add(folder, first=args.first)
        added.append(folder.name)
    queue_runner.ensure_running()
    return {"added": added, **view()}


def _waitable(what: str) -> Path:
    folder = store.find_run(what)
    state = store.state_of(folder)
    if state == "finished":
        raise EngineError(
            "This run is finished.", "Start a new run to go further.", "RUN-10", file=str(folder)
        )
    if state in ("running", "paused"):
        raise EngineError("This run is going.", "Stop it first.", "RUN-02", file=str(folder))
    return folder


def move(args: Namespace) -> Answer:
    """Give a waiting run another place: 1 is the next one."""
    queue.move(store.find_run(args.run), args.place - 1)
    return view()


def remove(args: Namespace) -> Answer:
    """Take a waiting run out of the queue; it stays among the runs."""
    queue.remove(store.find_run(args.run))
    return view()


def hold(args: Namespace) -> Answer:
    """Start nothing more; what goes on goes on."""
    queue.hold("put on hold")
    return view()


def release(args: Namespace) -> Answer:
    """Let a queue on hold go on."""
    queue.release()
    queue_runner.ensure_running()
    return view()


def on_error(args: Namespace) -> Answer:
    """Say what follows a run that failed: the next one, or nothing until the queue is released."""
    queue.set_on_error(args.mode)
    return view()


def run(args: Namespace) -> Answer:
    """Advance the queue until nothing waits; Ctrl-C ends the looking, what goes on goes on."""

    def tell(started: Started) -> None:
        if not args.json:
            say(f"started {started.folder.name}: {name_of(started.folder)}")

    try:
        queue_runner.run_queue(tell, alone=False)
        while going_folders(queue.read()) and not queue.read().held:
            time.sleep(FOLLOW_SECONDS)
        advance()  # takes note of how the last ones ended
    except KeyboardInterrupt:
        return 130
    return view()


def runner(args: Namespace) -> int:
    """The process that outlives the window: ends at once where another one is there."""
    try:
        queue_runner.run_queue()
    except EngineError as error:
        if error.code != "RUN-02":
            raise
    return 0


def _argument(*names: str, **options: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    return names, options


_RUN = _argument("run", help="id, folder or name of a run")
ACTIONS: list[Any] = [
    ("list", "what waits, in order, and what goes on", list_queue, []),
    (
        "add",
        "let a run wait for its device: a recipe, or a run that is there",
        add,
        [
            _argument("what", nargs="+", metavar="RECIPE|RUN"),
            _argument(
                "--set",
                action="append",
                default=[],
                metavar="FIELD=VALUE",
                help="override an option of the recipe",
            ),
            _argument("--anyway", action="store_true", help="train on the CPU where a GPU cannot be used"),
            _argument("--first", action="store_true", help="before all others"),
        ],
    ),
    (
        "move",
        "give a waiting run another place",
        move,
        [_RUN, _argument("place", type=int, help="1 is the next one")],
    ),
    ("remove", "take a waiting run out", remove, [_RUN]),
    ("hold", "start nothing more", hold, []),
    ("release", "let a queue on hold go on", release, []),
    (
        "on-error",
        "what follows a run that failed",
        on_error,
        [_argument("mode", choices=["continue", "hold"])],
    ),
    ("run", "advance the queue here until nothing waits", run, []),
]
