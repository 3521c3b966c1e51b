"""Who may import whom: the rules of ARCHITECTURE.md."""

from __future__ import annotations

import ast
import subprocess
import sys

from tests.architecture.source import Import, Source, below, sources

# The floors of the engine, from the ground up; a file of a room imports only rooms of lower floors.
FLOORS: list[set[str]] = [
    {"paths", "faults", "event_lines", "links"},
    {"error_catalogue", "durable", "clocks"},
    {"errors"},
    {"events", "plain_yaml", "probes", "hub_words", "hub_token"},
    {"encoders"},
    {"recipe", "models", "hub", "hardware", "benchmarks"},
    {"data", "plan", "jobs"},
    {"advice"},
    {"runs"},
    {"sweeps", "runtime"},
    {"cli", "verbs", "doctor", "report", "__main__"},
]
HEAVY = {"torch", "transformers", "peft", "bitsandbytes", "accelerate", "ray", "trl", "liger_kernel"}
RUNS_THE_ENGINE = ("engine.cli", "engine.verbs")
THREADS = {"threading", "subprocess", "multiprocessing", "concurrent", "asyncio", "_thread"}
QT_THREADS = {"QThread", "QThreadPool", "QRunnable", "QProcess"}


def floor_of(module: str) -> int:
    """Return the floor of an engine module."""
    room = module.split(".")[1]
    for number, rooms in enumerate(FLOORS):
        if room in rooms:
            return number
    raise AssertionError(f"{module}: the room {room} stands on no floor; add it in ARCHITECTURE.md and here")


def real_imports(*folders: str) -> list[tuple[Source, Import]]:
    """Return every import that can run below some folders."""
    return [(s, i) for s in sources(*folders) for i in s.imports() if not i.typing_only]


def told(found: list[tuple[Source, Import]]) -> str:
    """Return the finds as lines of a message."""
    return "\n".join(f"{source.name}:{each.line} imports {each.module}" for source, each in found)


def test_that_the_engine_imports_neither_the_window_nor_qt() -> None:
    found = [(s, i) for s, i in real_imports("engine") if below(i.module, "app") or _is_qt(i.module)]
    assert not found, told(found)


def _is_qt(module: str) -> bool:
    return module.split(".")[0] in ("PySide6", "shiboken6", "pyqtgraph")


def test_that_torch_and_its_company_live_in_the_runtime_alone() -> None:
    found = [
        (s, i)
        for s, i in real_imports("engine", "app", "tunesmith.py")
        if i.module.split(".")[0] in HEAVY and not _may_be_heavy(s, i)
    ]
    assert not found, told(found)


def _may_be_heavy(source: Source, each: Import) -> bool:
    if below(source.module, "engine.runtime"):
        return True
    return each.module.split(".")[0] == "ray" and below(source.module, "engine.jobs") and each.inside


def test_that_only_the_command_line_enters_the_runtime_and_only_inside_functions() -> None:
    found = [
        (s, i)
        for s, i in real_imports("engine", "app", "tunesmith.py")
        if below(i.module, "engine.runtime") and not below(s.module, "engine.runtime")
        if not (i.inside and any(below(s.module, entry) for entry in RUNS_THE_ENGINE))
    ]
    assert not found, told(found)


def test_that_the_window_imports_neither_the_runtime_nor_the_command_line() -> None:
    banned = ("engine.runtime", "engine.cli", "engine.verbs")
    found = [(s, i) for s, i in real_imports("app") if any(below(i.module, b) for b in banned)]
    assert not found, told(found)


def test_that_a_floor_of_the_engine_imports_only_floors_below_it() -> None:
    found = []
    for source, each in real_imports("engine"):
        if source.module == "engine" or not below(each.module, "engine") or each.module == "engine":
            continue
        same_room = source.module.split(".")[1] == each.module.split(".")[1]
        if not same_room and floor_of(each.module) >= floor_of(source.module):
            found.append((source, each))
    # The top may talk to itself: cli, its verbs and __main__ are one room in several files.
    found = [(s, i) for s, i in found if floor_of(s.module) != len(FLOORS) - 1]
    assert not found, told(found)


def test_that_no_two_modules_import_each_other_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    for source, each in real_imports("engine", "app"):
        if not each.inside and (below(each.module, "engine") or below(each.module, "app")):
            graph.setdefault(source.module, set()).add(each.module)
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join([*way[way.index(module) :], module])
        if module in done:
            return
        for other in sorted(graph.get(module, ())):
            visit(other, (*way, module))
        done.add(module)

    for module in sorted(graph):
        visit(module, ())


def page_of(module: str) -> str:
    """Return the page a module belongs to: its first name below app.pages."""
    return module.split(".")[2]


def test_that_a_page_imports_no_other_page() -> None:
    found = []
    for source, each in real_imports("app/pages"):
        if not below(each.module, "app.pages") or each.module.count(".") < 2 or source.module == "app.pages":
            continue
        theirs, ours = page_of(each.module), page_of(source.module)
        # `page` is the base of all; a page in several files shares its first word (monitor, monitor_charts).
        if theirs != "page" and theirs.split("_")[0] != ours.split("_")[0]:
            found.append((source, each))
    assert not found, told(found)


def test_s4_that_one_module_of_the_window_knows_sockets() -> None:
    networks = ("socket", "ssl", "urllib.request", "http", "PySide6.QtNetwork", "PySide6.QtDBus")
    found = [
        (s, i)
        for s, i in real_imports("app")
        if any(below(i.module, n) for n in networks) and s.module != "app.workers.notice_bus"
    ]
    assert not found, told(found)


def test_that_widgets_know_the_theme_the_words_and_the_fields_only() -> None:
    allowed = (
        "app.widgets",
        "app.theme",
        "app.i18n",
        "engine.recipe.fields",
        "engine.paths",
        "engine.errors",
        "engine.error_catalogue",
        "engine.encoders",
    )
    ours = [(s, i) for s, i in real_imports("app/widgets") if i.module.split(".")[0] in ("app", "engine")]
    found = [(s, i) for s, i in ours if not any(below(i.module, a) for a in allowed)]
    assert not found, told(found)


def test_that_only_the_workers_touch_threads_and_processes() -> None:
    found = [
        (s, i)
        for s, i in real_imports("app")
        if i.module.split(".")[0] in THREADS
        and not below(s.module, "app.workers")
        # The excepthook has to know in which thread it was called.
        and (s.name, i.module) != ("app/application.py", "threading")
    ]
    assert not found, told(found)


def test_that_only_the_workers_make_qt_threads_and_processes() -> None:
    for source in sources("app"):
        nodes = [node for node in ast.walk(source.tree) if isinstance(node, ast.ImportFrom)]
        used = QT_THREADS.intersection(alias.name for node in nodes for alias in node.names)
        assert not used or below(source.module, "app.workers"), f"{source.name} imports {sorted(used)}"


def loaded_by(code: str) -> set[str]:
    """Return the top-level modules in a fresh interpreter after it ran `code`."""
    script = f"import sys\n{code}\nprint('LOADED', *sorted({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rsplit("LOADED", 1)[1].split())


def test_that_the_window_comes_up_without_torch_numpy_or_charts() -> None:
    loaded = loaded_by("import app.window")
    assert "PySide6" in loaded
    # numpy and pyqtgraph are imported after the first paint.
    assert not loaded & (HEAVY | {"numpy", "pyqtgraph", "pandas", "scipy"}), loaded & HEAVY


def test_that_the_command_line_helps_without_torch_or_qt() -> None:
    loaded = loaded_by(
        "import runpy\nsys.argv = ['engine', '--help']\n"
        "try:\n    runpy.run_module('engine', run_name='__main__')\n"
        "except SystemExit as end:\n    assert not end.code"
    )
    assert "engine" in loaded
    assert not loaded & (HEAVY | {"PySide6"})
