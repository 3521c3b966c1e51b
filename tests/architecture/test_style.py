"""How the code is written: sizes, names, errors, and what may never stand in it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from engine.error_catalogue import CODES
from tests.architecture.source import Source, dotted, sources

OURS = ("app", "engine", "packaging", "launch.py", "tunesmith.py")
LONGEST_FILE = 400
LONGEST_FUNCTION = 50
LONGEST_IN_THE_LOOP = 60
BANNED_NAMES = re.compile(r"(^|_)(utils?|helpers?|common|misc|managers?)(_|$)", re.I)
# They run what they read.
BANNED_IMPORTS = {"pickle", "cPickle", "shelve", "marshal", "dill", "cloudpickle", "joblib"}
BANNED_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.load", "torch.save"}
BANNED_CALLS |= {
    "yaml.load",
    "yaml.unsafe_load",
    "yaml.full_load",
    "tempfile.mktemp",
    "numpy.load",
    "np.load",
}
# Where a broad `except` may stand: the doors of the child, the threads, the window and the command line.
DOORS = (
    "engine/runtime/child.py",
    "engine/runtime/chat_child.py",
    "engine/cli.py",
    "app/workers/",
    "app/application.py",
)


def test_that_files_stay_within_400_lines() -> None:
    long = [f"{s.name}: {s.lines}" for s in sources(*OURS, "tests") if s.lines > LONGEST_FILE]
    assert not long, long


def functions(source: Source) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function of a file."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_that_functions_stay_within_50_lines_and_the_loop_within_60() -> None:
    long = []
    for source in sources(*OURS):
        limit = LONGEST_IN_THE_LOOP if source.name == "engine/runtime/train.py" else LONGEST_FUNCTION
        for node in functions(source):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > limit:
                long.append(f"{source.at(node)} {node.name}: {lines}")
    assert not long, long


def test_that_init_files_hold_a_docstring_only() -> None:
    for source in sources("app", "engine"):
        if source.path.name == "__init__.py":
            assert len(source.tree.body) == 1 and ast.get_docstring(source.tree), source.name


def test_that_every_module_says_what_it_is_for() -> None:
    silent = [s.name for s in sources(*OURS) if not ast.get_docstring(s.tree)]
    assert not silent, silent


def test_that_no_module_or_class_hides_behind_an_empty_name() -> None:
    found = [s.name for s in sources(*OURS) if BANNED_NAMES.search(s.path.stem)]
    for source in sources(*OURS):
        classes = (n for n in ast.walk(source.tree) if isinstance(n, ast.ClassDef))
        found += [
            f"{source.at(c)} {c.name}" for c in classes if re.search(r"(Manager|Helper|Utils?)$", c.name)
        ]
    assert not found, found


def test_that_every_function_is_typed() -> None:
    bare = []
    for source in sources("app", "engine"):
        for node in functions(source):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            named = [a for a in arguments if a.arg not in ("self", "cls")]
            if node.returns is None or any(a.annotation is None for a in named):
                bare.append(f"{source.at(node)} {node.name}")
    assert not bare, bare


def is_broad(handler: ast.ExceptHandler) -> bool:
    """Say whether a handler takes every exception."""
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or dotted(kind) in ("Exception", "BaseException") for kind in kinds)


def test_that_no_exception_is_swallowed() -> None:
    found = []
    for source in sources(*OURS):
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ExceptHandler):
                silent = all(isinstance(s, ast.Pass) or _is_ellipsis(s) for s in node.body)
                if silent:
                    found.append(
                        f"{source.at(node)} an empty handler; suppress the one expected error by name"
                    )
        for call, name in source.calls():
            if name.endswith("suppress") and any(
                dotted(a) in ("Exception", "BaseException") for a in call.args
            ):
                found.append(f"{source.at(call)} suppresses everything")
    assert not found, found


def _is_ellipsis(statement: ast.stmt) -> bool:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and value.value is ...


def test_that_everything_is_caught_at_the_doors_only() -> None:
    found = []
    for source in sources(*OURS):
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ExceptHandler) and is_broad(node) and not source.name.startswith(DOORS):
                # Putting things back and letting the error go on, or saying it in our words, is no catch.
                if not any(isinstance(n, ast.Raise) for n in ast.walk(node)):
                    found.append(source.at(node))
    assert not found, found


def test_that_nothing_that_is_read_is_run() -> None:
    found = []
    for source in sources(*OURS):
        for each in source.imports():
            if each.module.split(".")[0] in BANNED_IMPORTS:
                found.append(f"{source.name}:{each.line} imports {each.module}")
        for call, name in source.calls():
            shell = any(k.arg == "shell" and _is_true(k.value) for k in call.keywords)
            trusts = any(k.arg == "trust_remote_code" and _is_true(k.value) for k in call.keywords)
            unsafe = any(k.arg == "weights_only" and not _is_true(k.value) for k in call.keywords)
            if name in BANNED_CALLS or shell or trusts or unsafe:
                found.append(f"{source.at(call)} calls {name}")
    assert not found, found


def _is_true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def test_that_every_error_code_is_in_the_catalogue() -> None:
    pattern = re.compile(r"^(DATA|MODEL|RUN|DISK|GPU|REC|HUB|CHAT|APP)-\d+$")
    unknown = [
        f"{source.at(node)} {node.value}"
        for source in sources("app", "engine")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and pattern.match(node.value)
        if node.value not in CODES
    ]
    assert not unknown, unknown


def test_that_every_raised_error_has_a_hint_and_a_code() -> None:
    poor = []
    for source in sources("engine"):
        for call, name in source.calls():
            if name == "EngineError" and not any(isinstance(a, ast.Starred) for a in call.args):
                words = {k.arg for k in call.keywords}
                hint = len(call.args) > 1 or "hint" in words
                code = len(call.args) > 2 or "code" in words
                if not (hint and code) and None not in words:
                    poor.append(source.at(call))
    assert not poor, poor
