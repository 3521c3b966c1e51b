"""From the command line to the window: platform, home, look, page, and what happens to unexpected errors."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

from engine.errors import EngineError
from engine.paths import home, resources

log = logging.getLogger("tunesmith")

LOG_BYTES = 1_000_000
# The first picture and the first press come before the store and the drivers are brought in.
START_WORK_MS = 60
PAGE_NAMES = (
    "home wizard-model wizard-data wizard-method wizard-training wizard-review monitor runs compare evaluate "
    "experiments merge chat settings"
).split()


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the command line of the window, taken apart."""
    parser = argparse.ArgumentParser(
        prog="tunesmith",
        description="Finetune language models in a window. Without options the window opens.",
    )
    parser.add_argument("--home", metavar="DIR", type=Path, help="where runs, models and settings lie")
    parser.add_argument("--theme", choices=("dark", "light", "system"), help="for this start only")
    parser.add_argument("--language", metavar="CODE", help="for this start only, as en or de")
    parser.add_argument("--page", choices=PAGE_NAMES, metavar="NAME", help=f"one of {', '.join(PAGE_NAMES)}")
    parser.add_argument("--run", metavar="ID", help="the run that the page shows")
    parser.add_argument("--data", metavar="FILE", type=Path, help="data for a new run")
    parser.add_argument("--screenshot", metavar="FILE", type=Path, help="draw the page into a PNG and exit")
    parser.add_argument("--size", metavar="WxH", type=_size, default=None, help="of the window, as 1440x900")
    parser.add_argument("--text-size", metavar="PERCENT", type=int, help="85 to 150, for this start only")
    parser.add_argument("--demo", action="store_true", help="drive the window from wizard to chat by itself")
    parser.add_argument("--fast", action="store_true", help="with --demo: the short form")
    parser.add_argument("--screenshots", metavar="DIR", type=Path, help="with --demo: where pictures go")
    return parser.parse_args(arguments)


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdigit() and height.isdigit()) or not (
        400 <= int(width) <= 8000 and 300 <= int(height) <= 8000
    ):
        raise argparse.ArgumentTypeError(f"{text} is no size; write it as 1440x900")
    return int(width), int(height)


def main(arguments: list[str] | None = None) -> int:
    """Open the window, draw a picture, or run the demo; return the exit code."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    if options.home is not None:
        os.environ["TUNESMITH_HOME"] = str(options.home.expanduser().absolute())
    os.environ.setdefault("PYQTGRAPH_QT_LIB", "PySide6")
    choose_platform()
    start_log()
    try:
        options.run = _run_folder(options.run) if options.run else None
    except EngineError as error:  # a wrong call: say it and end, before anything is started
        print(error, file=sys.stderr)
        return 2
    app = make_application()
    window = make_window(app, options)
    if options.demo:
        from app.demo import run_demo

        return int(run_demo(app, window, options))
    if options.screenshot is not None:
        from app.screenshot import save_page

        return save_page(app, window, options)
    window.show()
    return run(app, window)


def choose_platform() -> None:
    """Fall back to drawing without a screen where there is none."""
    if os.environ.get("QT_QPA_PLATFORM") or sys.platform in ("win32", "darwin"):
        return
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        os.environ["QT_QPA_PLATFORM"] = "offscreen"


def start_log() -> None:
    """Write the application's own log into home/logs; one that has grown long makes way at a start.

    (logging.handlers would bring in sockets and pickle, and the first paint would wait for them.)
    """
    folder = home() / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "app.log"
    if file.is_file() and file.stat().st_size > LOG_BYTES:
        file.replace(folder / "app.log.1")
    handler = logging.FileHandler(file, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)


def make_application() -> Any:
    """Return the one QApplication, named and at full resolution."""
    from PySide6.QtCore import Qt
    from PySide6.QtGui import QIcon
    from PySide6.QtWidgets import QApplication

    from app.garbage import Collector

    existing = QApplication.instance()
    if existing is not None:
        return existing
    QApplication.setHighDpiScaleFactorRoundingPolicy(Qt.HighDpiScaleFactorRoundingPolicy.PassThrough)
    app = QApplication(["tunesmith"])
    app.setApplicationName("Tunesmith")
    app.setApplicationDisplayName("Tunesmith")
    app.setDesktopFileName("tunesmith")
    app.setWindowIcon(QIcon(str(resources("theme", "app.svg"))))
    Collector(app)
    return app


def make_window(app: Any, options: argparse.Namespace) -> Any:
    """Return the window with its services, at the page that was asked for or was last open."""
    from PySide6.QtCore import QTimer

    from app.i18n import set_language
    from app.services import make_services
    from app.theme.style import load_fonts
    from app.window import MainWindow

    missing = load_fonts()
    services = make_services(app, options.theme)
    set_language(options.language or services.settings.value.language)
    if options.text_size:
        services.theme.set_text_size(options.text_size)
    window = MainWindow(services)
    install_excepthook(window)
    if options.size is not None:
        window.resize(*options.size)
    if options.page or options.demo:
        start_work(window, advances=options.screenshot is None)
    else:
        window.painted.connect(lambda: QTimer.singleShot(START_WORK_MS, window, lambda: start_work(window)))
    window.navigate(*_first_page(options, services))
    if missing:
        hint = "Text uses another font. Run `python3 launch.py --setup` to bring it back."
        window.notify(f"Font missing: {', '.join(missing)}.", "warn", hint=hint)
    if services.settings.problem:
        window.notify(services.settings.problem, "warn")
    return window


def start_work(window: Any, *, advances: bool = True) -> None:
    """Start the run queue and the look at the hardware; a plain start paints first.

    Where only a picture is drawn the queue is shown and not advanced.
    """
    from app.notices import RunNotices
    from app.workers.room_watch import RoomWatch
    from app.workers.run_queue import RunQueue

    window.services.run_queue = RunQueue(window.services, advances=advances)
    window.follow_run_queue()
    window.services.room = RoomWatch(window.services, window)
    RunNotices(window, window.services)
    window.services.hardware.start()


def _first_page(options: argparse.Namespace, services: Any) -> tuple[str, dict[str, Any] | None]:
    """Return the page to open with and what it is to show."""
    page = options.page or ("home" if options.demo else _last_page(services))
    if options.data is not None:
        page = page if page.startswith("wizard") else "wizard-data"
        return page, {"data": options.data.expanduser().absolute()}
    return page, {"run": Path(options.run)} if options.run else None


def _last_page(services: Any) -> str:
    page: str = services.settings.value.page
    return page if page in ("home", "runs", "merge", "chat", "settings", "experiments") else "home"


def _run_folder(text: str) -> Path:
    from engine.runs.store import find_run

    return find_run(text)


def run(app: Any, window: Any) -> int:
    """Turn the event loop until the window is closed."""
    from PySide6.QtCore import QTimer

    # The charts' libraries are brought in once the window stands, so that the first chart does not wait.
    window.painted.connect(lambda: QTimer.singleShot(600, window, import_charts))
    signal.signal(signal.SIGINT, lambda *_: app.exit(130))
    # Python looks at signals only between its own instructions: give it some while the window is idle.
    heartbeat = QTimer(window, interval=500)
    heartbeat.timeout.connect(lambda: None)
    heartbeat.start()
    code: int = app.exec()
    finish(window)
    return code


def import_charts() -> None:
    """Import numpy and pyqtgraph, which the first paint does without."""
    import gc

    import numpy  # noqa: F401
    import pyqtgraph  # noqa: F401

    # What is there now stays; looking through it again and again would stop the window for 0.1 s each time.
    gc.collect()
    gc.freeze()


def finish(window: Any) -> None:
    """Stop the window's own threads; trainings go on in their children."""
    from app.workers.newest_writer import flush_all

    services = window.services
    for page in window.pages.values():
        page.finish()
    flush_all()
    services.hardware.stop()
    services.background.finish()
    for part in (services.notices, services.room, services.run_queue, services.chat):
        if part is not None and hasattr(part, "close"):
            part.close()


def install_excepthook(window: Any) -> None:
    """Show an unexpected error as APP-01, with its trace in the log; a known one in its own words."""
    from app.widgets.toast import Toast
    from engine.report import keep_incident

    def show(error: BaseException) -> Toast:
        if isinstance(error, EngineError):
            toast: Toast = window.notify(f"{error.message} ({error.code})", "bad", hint=error.hint)
            return toast
        told = keep_incident(error)
        action = ("Open the report", lambda: _open_folder(Path(told.file or home() / "logs")))
        toast = window.notify(f"{told.message} ({told.code})", "bad", action, told.hint)
        return toast

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
            window.close()
            return
        log.error("unexpected: %s", "".join(traceback.format_exception(kind, error, trace)))
        if threading.current_thread() is threading.main_thread():
            show(error)

    sys.excepthook = hook


def _open_folder(folder: Path) -> None:
    from PySide6.QtCore import QUrl
    from PySide6.QtGui import QDesktopServices

    QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder)))
