"""Every code of the catalogue, provoked for real; and no code in the program that the catalogue lacks."""

from __future__ import annotations

import ast
import errno
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine import faults, report
from engine.data.inspect import inspect_file
from engine.error_catalogue import CATALOGUE
from engine.errors import EngineError, from_os_error
from tests.architecture.source import sources
from tests.reliability.resume.runs_begun import begun

Told = tuple[str, str, str]  # code, message, hint
CODE = re.compile(r"(?:DATA|MODEL|RUN|DISK|GPU|REC|HUB|CHAT|APP)-\d\d")
# What a library or the interpreter would say; none of it is for a person.
RAW = re.compile(r"Traceback|Errno|<class|0x[0-9a-f]{6,}|\b\w+(?:Error|Exception)\b|site-packages")


def told(error: Any) -> Told:
    return error.code, error.message, error.hint


def raised(act: Callable[[], object]) -> Told:
    with pytest.raises(EngineError) as caught:
        act()
    return told(caught.value)


def rows(place: Path, content: str | bytes, name: str = "rows.jsonl", **options: Any) -> Told:
    """Return the first problem that reading a file tells, or the error that refuses it."""
    file = place / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        first = inspect_file(file, **options)["problems"][0]
    except EngineError as error:
        return told(error)
    return first["code"], first["message"], first["hint"]


def line(**values: Any) -> str:
    return json.dumps(values) + "\n"


GOOD = line(prompt="a", completion="b")
CHAT = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}


def overlap(place: Path, model: Path) -> Told:
    from engine.data.dataset import prepare
    from engine.recipe.data_options import DataOptions

    file = place / "rows.jsonl"
    file.write_text("".join(line(prompt=f"a{n}", completion="b") for n in range(60)))
    data = DataOptions(train=[str(file)], validation=str(file))
    found = prepare(data, model, 0).report
    return next(told(p) for p in found.problems if p.code == "DATA-09")


def gate(place: Path, look: str) -> Told:
    """Return what the gate before a resume says of a run whose inputs or surroundings changed."""
    from engine.runs import gate_checks, store

    run = begun(place)
    recipe, then = store.load_recipe(run), gate_checks.environment_of(run)
    if look == "data":
        (place / "rows.jsonl").write_text(GOOD)
        return told(gate_checks.of_data(run, then, recipe, 8)[0])
    if look == "base":
        (place / "base" / "model.safetensors").write_bytes(b"other")
        return told(gate_checks.of_base(then, recipe, 8)[0])
    if look == "versions":
        return told(gate_checks.of_versions(then, {**then["versions"], "torch": "99"})[0])
    steps = (8,) if look == "one save" else (4, 8)
    for step in steps:
        (run / f"checkpoints/step-{step:08d}/state.json").write_text("{}")
    return told(gate_checks.of_saves(run)[1][0])


def log_damage(place: Path) -> Told:
    from engine.runs.fsck import _told, fsck

    run = begun(place)
    with (run / "events.jsonl").open("ab") as log:
        log.write(b"\0" * 64 + b"\n")
    found = next(d for d in fsck(run).findings if d.code == "RUN-09")
    return _told(found, None)


def numbers(what: str) -> Told:
    from engine.runtime import numbers as watched

    written: list[Any] = []
    run = SimpleNamespace(
        step=5,
        bad_in_a_row=2,
        saved_step=4,
        recipe=SimpleNamespace(training=SimpleNamespace(learning_rate=2e-4)),
        ranks=SimpleNamespace(several=True),
        job=SimpleNamespace(write=written.append),
        losses=SimpleNamespace(see=lambda value: 1.0),
        norms=SimpleNamespace(see=lambda value: None),
    )
    if what == "jump":
        watched.watch(run, 9.0, 1.0, [])  # type: ignore[arg-type]
        return told(written[0])
    return raised(lambda: watched.watch(run, float("nan"), 1.0, []))  # type: ignore[arg-type]


def silence() -> Told:
    from engine.runtime.vitals import Vitals

    written: list[Any] = []
    quiet = SimpleNamespace(
        _alive_at=-1e9,
        patience=lambda: 60.0,
        _silent=False,
        _saved_step=4,
        phase="step",
        _writer=SimpleNamespace(write=written.append),
    )
    Vitals._look_for_silence(quiet)  # type: ignore[arg-type]
    return told(written[0])


def too_large(model: Path) -> Told:
    import torch

    from engine.recipe.recipe import Recipe
    from engine.runtime.load_room import too_large as refusal

    compute = SimpleNamespace(device=torch.device("cpu"))
    return told(refusal(model, Recipe().model, compute, torch.float32))  # type: ignore[arg-type]


def old_driver() -> Told:
    from engine.hardware.devices import Gpu, Machine
    from engine.hardware.torch_build import TorchBuild, problem_of

    gpu = Gpu("T", "GPU-1", 8 << 30, 8 << 30, "390.1", (7, 5))
    found = problem_of(Machine("c", 1, 1, 1, 1, (gpu,)), TorchBuild("2.11.0", "12.8"), present=True)
    assert found is not None
    return told(found)


def newer(place: Path) -> Told:
    from engine.jobs.spec import read_job, refuse_newer

    run = begun(place)
    spec = {**json.loads((run / "job.json").read_bytes()), "format": 99}
    (run / "job.json").write_text(json.dumps(spec))
    return raised(lambda: refuse_newer(run, read_job(run)))


def held(place: Path) -> Told:
    from engine.jobs.lock import FolderLock

    with FolderLock(place):
        return raised(lambda: FolderLock(place).__enter__())


def no_locks(place: Path) -> Told:
    from engine.jobs.lock import FolderLock

    with faults.arm("lock:ENOLCK"):
        return raised(lambda: FolderLock(place).__enter__())


def ended_without_a_word(place: Path) -> Told:
    from engine.verbs.follow import Follower

    return raised(lambda: Follower(begun(place), True).until_end(lambda: False))


def full(place: Path) -> Told:
    try:
        with open("/dev/full", "wb", buffering=0) as file:
            file.write(b"x")
    except OSError as error:
        return told(from_os_error(error, str(place), 5_000_000))
    raise AssertionError("the device took it")


def refused(number: int, place: Path) -> Told:
    return told(from_os_error(OSError(number, os.strerror(number)), str(place)))


def model(place: Path, change: str, tiny: Path) -> Told:
    """Return what is said of a model folder of a stranger."""
    import shutil

    from engine.models.facts import read_facts

    folder = place / "model"
    shutil.copytree(tiny, folder)
    config = folder / "config.json"
    weights = folder / "model.safetensors"
    if change == "pickle":
        weights.rename(folder / "pytorch_model.bin")
    elif change == "damaged":
        weights.write_bytes(b"\x80\x04" + b"x" * 40)
    elif change == "outside":
        weights.unlink()
        weights.symlink_to(tiny / "model.safetensors")
    else:
        values = json.loads(config.read_bytes())
        other = {"code": {"model_type": "own", "architectures": ["Own"], "auto_map": {"AutoModel": "x.Y"}}}
        config.write_text(json.dumps({**values, **other.get(change, {"hidden_size": 10**9})}))
    return raised(lambda: read_facts(folder))


def template(place: Path) -> Told:
    from engine.data.templates import load_template

    return raised(
        lambda: load_template(_with_template(place, "{{ 9999999999 * 'x' }}")).render(CHAT["messages"])
    )


def _with_template(place: Path, text: str) -> Path:
    (place / "tokenizer_config.json").write_text(json.dumps({"chat_template": text}))
    return place


def unfit(place: Path) -> Told:
    from engine.runtime.attach import _unfit

    return told(_unfit(SimpleNamespace(name="a", base="b", path=place), "it has other sizes"))  # type: ignore[arg-type]


def hub(kind: str) -> Told:
    from engine import hub_words

    error = ConnectionRefusedError(errno.ECONNREFUSED, "refused")
    return told(hub_words.cut("a.bin", "3 of 9 bytes") if kind == "cut" else hub_words._failed(error))


def gated() -> Told:
    from huggingface_hub.errors import GatedRepoError

    from engine import hub_words

    answer: Any = SimpleNamespace(status_code=403, headers={}, request=None)

    def ask() -> None:
        with hub_words.told("a/b", "model"):
            raise GatedRepoError("gated", response=answer)

    return raised(ask)


def no_seat() -> Told:
    from engine.runtime.chat_room import ChatRoom

    return raised(lambda: ChatRoom().seat("adapter"))


def send_unknown(place: Path) -> Told:
    from engine.jobs.process import send

    return raised(lambda: send(place, "dance"))


def no_run(place: Path) -> Told:
    from engine.jobs.spec import read_job

    return raised(lambda: read_job(place / "nowhere"))


def lost() -> Told:
    from engine.runtime.lost import failed_at

    return told(failed_at(7, 4))


def taken_gpu() -> Told:
    from engine.jobs.gpu_lock import taken

    return told(taken("GPU-x"))


def bad_recipe() -> Told:
    from engine.recipe import codec

    return raised(lambda: codec.loads("adapter: {r: 0}\n"))


CASES: dict[str, Callable[[Path, Path], Told]] = {
    "DATA-01": lambda p, m: rows(p, b'{"prompt": "\xe4", "completion": "b"}\n' * 3),
    "DATA-02": lambda p, m: rows(p, GOOD + '{"prompt": NaN}\n'),
    "DATA-03": lambda p, m: rows(p, GOOD * 9 + line(**CHAT) * 9),
    "DATA-04": lambda p, m: rows(p, GOOD * 3 + line(prompt=None, completion="b")),
    "DATA-05": lambda p, m: rows(p, line(**CHAT) * 3 + line(messages=CHAT["messages"][::-1])),
    "DATA-06": lambda p, m: rows(p, GOOD * 3 + line(prompt="a", completion=" ")),
    "DATA-07": lambda p, m: rows(p, "\n\n"),
    "DATA-08": lambda p, m: rows(p, GOOD + line(prompt="x" * (17 << 20), completion="b")),
    "DATA-09": overlap,
    "DATA-10": lambda p, m: rows(p, 'prompt,completion\na,"b\n' + "c,d\n" * 5, "rows.csv"),
    "DATA-11": lambda p, m: gate(p, "data"),
    "DATA-12": lambda p, m: rows(p, b"PK\x03\x04 no workbook", "rows.xlsx"),
    "MODEL-01": lambda p, m: model(p, "pickle", m),
    "MODEL-02": lambda p, m: model(p, "damaged", m),
    "MODEL-03": lambda p, m: model(p, "outside", m),
    "MODEL-04": lambda p, m: model(p, "code", m),
    "MODEL-05": lambda p, m: model(p, "sizes", m),
    "MODEL-06": lambda p, m: template(p),
    "MODEL-07": lambda p, m: unfit(p),
    "MODEL-08": lambda p, m: gate(p, "base"),
    "RUN-01": lambda p, m: ended_without_a_word(p),
    "RUN-02": lambda p, m: held(p),
    "RUN-03": lambda p, m: no_run(p),
    "RUN-04": lambda p, m: gate(p, "one save"),
    "RUN-05": lambda p, m: gate(p, "all saves"),
    "RUN-06": lambda p, m: gate(p, "versions"),
    "RUN-07": lambda p, m: numbers("none"),
    "RUN-08": lambda p, m: numbers("jump"),
    "RUN-09": lambda p, m: log_damage(p),
    "RUN-10": lambda p, m: send_unknown(p),
    "RUN-11": lambda p, m: silence(),
    "RUN-12": lambda p, m: newer(p),
    "DISK-01": lambda p, m: full(p),
    "DISK-02": lambda p, m: refused(errno.EACCES, p),
    "DISK-03": lambda p, m: refused(errno.EIO, p),
    "DISK-04": lambda p, m: no_locks(p),
    "GPU-01": lambda p, m: too_large(m),
    "GPU-02": lambda p, m: lost(),
    "GPU-03": lambda p, m: old_driver(),
    "GPU-04": lambda p, m: taken_gpu(),
    "REC-01": lambda p, m: bad_recipe(),
    "HUB-01": lambda p, m: hub("away"),
    "HUB-02": lambda p, m: hub("cut"),
    "HUB-03": lambda p, m: gated(),
    "CHAT-01": lambda p, m: no_seat(),
    "APP-01": lambda p, m: told(report.keep_incident(KeyError("secret"))),
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("code", sorted(CATALOGUE))
def test_r18_that_every_code_is_raised_with_a_hint_and_without_raw_text(
    code: str, place: Path, tiny_model: Path
) -> None:
    found, message, hint = CASES[code](place, tiny_model)
    assert found == code, f"{found}: {message}"
    assert message.strip() and hint.strip(), "it says what to do"
    assert not RAW.search(f"{message} {hint}"), f"{message} {hint}"
    assert not re.search(r"[{}]", hint), "a name in braces was left empty"


def test_r18_that_the_program_uses_the_codes_of_the_catalogue_and_all_of_them() -> None:
    used = {
        node.value
        for source in sources("app", "engine")
        if source.name != "engine/error_catalogue.py"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value)
    }
    assert used == set(CATALOGUE) == set(CASES)
