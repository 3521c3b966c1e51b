"""Who writes: `engine/durable.py` alone changes a job's folder, so that all can be noted and refused."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.architecture.source import Source, sources

ROOMS = ("engine/runs", "engine/jobs", "engine/runtime", "engine/data/frozen.py")
# Methods of a path, functions of modules and of libraries that change what is on a disk.
METHODS = {"write_text", "write_bytes", "touch", "mkdir", "rmdir", "unlink", "rename", "symlink_to"}
METHODS |= {"hardlink_to", "save_pretrained", "extractall"}
FUNCTIONS = {
    f"os.{name}" for name in "replace rename renames unlink remove mkdir makedirs rmdir link".split()
}
FUNCTIONS |= {f"os.{name}" for name in "symlink truncate ftruncate write fsync removedirs".split()}
FUNCTIONS |= {f"shutil.{name}" for name in "copy copy2 copyfile copyfileobj copytree move rmtree".split()}
FUNCTIONS |= {
    "save_file",
    "torch.save",
    "tempfile.mkdtemp",
    "tempfile.NamedTemporaryFile",
    "tempfile.mkstemp",
}
TO_WRITE = {"O_WRONLY", "O_RDWR", "O_CREAT", "O_APPEND", "O_TRUNC"}
# What else may, and why.
ALLOWED = {
    "engine/jobs/lock.py": "a lock is a file held open, and its text is never believed",
    "engine/jobs/gpu_lock.py": "such locks too, in the user's own folder",
    "engine/jobs/process.py": "child.log, which the system fills with what the child prints",
    "engine/jobs/fetch.py": "a pipe to the process that asked",
    "engine/runtime/convert.py": "transformers writes the model, into a folder that gets its name when whole",
    "engine/runtime/crew.py": "where the ranks meet: in the system's temporary folder, gone with them",
    "engine/runtime/gguf/write.py": "the gguf library writes, into a folder that gets its name when whole",
    "engine/runtime/gguf/adapter.py": "the same",
    "engine/runtime/resident.py": "a switch of the kernel, no file",
}


def changes(source: Source) -> Iterator[tuple[ast.Call, str]]:
    """Yield every call that changes what is on a disk, other than through `durable`."""
    for call, name in source.calls():
        room, _, last = name.rpartition(".")
        if room.split(".")[0] == "durable":
            continue
        opens = last == "open" and (_mode_writes(call) or _flags_write(call))
        renames = last == "replace" and room and len(call.args) == 1 and not call.keywords
        if name in FUNCTIONS or (room and last in METHODS) or opens or renames:
            yield call, name


def _mode_writes(call: ast.Call) -> bool:
    given = [*call.args, *(k.value for k in call.keywords if k.arg == "mode")]
    texts = [a.value for a in given if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    return any(set(text) <= set("rwaxbt+") and set(text) & set("wax+") for text in texts)


def _flags_write(call: ast.Call) -> bool:
    return any(isinstance(n, ast.Attribute) and n.attr in TO_WRITE for n in ast.walk(call))


def test_that_one_module_changes_the_folders_of_jobs() -> None:
    found = [f"{s.at(call)} {name}" for s in sources(*ROOMS) for call, name in changes(s)]
    alien = [each for each in found if each.split(":")[0] not in ALLOWED]
    assert not alien, "\n".join(alien)
    idle = [name for name in ALLOWED if not any(each.startswith(f"{name}:") for each in found)]
    assert not idle, f"these need no leave any more: {idle}"


def test_that_the_search_finds_what_changes_a_disk() -> None:
    code = """
open(p, "rb"); p.open(); text.replace("a", "b"); replace(x, y=1); os.open(p, os.O_RDONLY); durable.replace(a)
open(p, "w"); open(p, mode="ab"); p.open("x"); os.open(p, os.O_WRONLY | os.O_CREAT); p.replace(q)
shutil.rmtree(p); p.unlink(missing_ok=True); p.parent.mkdir(); save_file(t, p); model.save_pretrained(p)
"""
    made = Source(sources("engine/durable.py")[0].path, ast.parse(code), 4)
    assert [call.lineno for call, _ in changes(made)] == [3] * 5 + [4] * 5
