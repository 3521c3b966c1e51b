"""Recipes and names of strangers: no field runs anything, paths are asked for, no name is an option."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

from app import exporting
from app.merging import Mixing
from app.pages.wizard import recipe_file
from engine import cli, paths
from engine.errors import EngineError
from engine.jobs.process import child_command
from engine.recipe import codec, named_paths
from engine.recipe.fields import field_specs
from tests.architecture.source import sources
from tests.gui.conftest import collected_here, home, services, settled_heap  # noqa: F401
from tests.gui.wizard_place import open_page

# Pytest names a fixture by its argument.
# ruff: noqa: F811
NAMES = [
    "-rf",
    "--help",
    "a'b",
    'a"b',
    "a\nb",
    "%s%n",
    "{0}",
    "$(touch canary)",
    "`touch canary`",
    ";touch canary",
    "a b",
    "*",
]
TRICKS = [
    "$(touch canary)",
    "`touch canary`; touch canary #",
    "__import__('os').system('touch canary')",
    "{{ cycler.__init__.__globals__.os.system('touch canary') }}",
    "{0.__class__}",
    "%(x)s",
    "\\\\server\\share\\x",
    "file:///etc/passwd",
    "-x --flag",
    "=cmd|' /C calc'!A0",
]
NEVER = (
    "command",
    "script",
    "hook",
    "environment",
    "env",
    "exec",
    "python",
    "code",
    "shell",
    "callback",
    "module_path",
)


def test_m35_that_no_field_of_a_recipe_is_a_command() -> None:
    names = [part for spec in field_specs() for part in spec.path.split(".")]
    assert len(names) > 60
    assert not [name for name in names if name.startswith(NEVER) or name.endswith(NEVER)]


def test_m35_that_every_field_takes_tricks_as_text_or_refuses_them(tmp_path, monkeypatch) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    for spec in field_specs():
        section, _, name = spec.path.rpartition(".")
        for trick in TRICKS:
            for held in (trick, [trick]):
                refuse_or_hold({section: {name: held}} if section else {name: held}, trick)
    assert not list(empty.iterdir()), "something was run"


def refuse_or_hold(values: dict[str, object], trick: str) -> None:
    """Read a recipe with a trick in one field: it is refused with its field, or comes back as text."""
    try:
        recipe = codec.loads(json.dumps(values))
    except EngineError as error:
        assert error.code == "REC-01" and error.hint
        return
    assert codec.loads(codec.dumps(recipe)) == recipe
    assert json.dumps(trick) in json.dumps(recipe.model_dump(mode="json"))


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "\\\\server\\share",
        "//server/x",
        "C:\\x",
        "~/x",
        "../x",
        "a/../../x",
        "file:///x",
        "a\0b",
    ],
)
def test_m35_that_a_path_to_elsewhere_is_known(path: str) -> None:
    recipe = codec.from_values(
        {"data": {"train": [path, "rows.jsonl"], "validation": path}, "model": {"path": path}}
    )
    assert named_paths.elsewhere(recipe) == [path]
    left = named_paths.without(recipe, [path])
    assert (left.data.train, left.data.validation, left.model.path) == (["rows.jsonl"], None, "starter")


def test_m35_that_names_beside_the_recipe_and_of_the_hub_are_no_elsewhere() -> None:
    values = {
        "data": {"train": ["rows.jsonl", "a/b..c.csv", "hub:name/set"]},
        "model": {"path": "name/model"},
    }
    assert not named_paths.elsewhere(codec.from_values(values))


def test_m35_that_the_window_asks_before_it_opens_what_a_recipe_names_elsewhere(
    qtbot, services, tmp_path
) -> None:
    secret = tmp_path / "secret\u202e.jsonl"
    secret.write_text('{"text": "secret"}\n')
    folder = tmp_path / "sent"
    folder.mkdir()
    (folder / "rows.jsonl").write_text('{"text": "a"}\n')
    file = folder / "recipe.yaml"
    file.write_text(codec.dumps(codec.from_values({"data": {"train": ["rows.jsonl", str(secret)]}})))
    page = open_page(qtbot, services)
    page.read_recipe(file)
    assert page.state.recipe.data.train == [str(folder / "rows.jsonl")], "it is not opened before the answer"
    assert "secret<U+202E>" in " ".join(label_texts(page.asked))
    page.asked.act_button.click()
    assert page.state.recipe.data.train == [str(folder / "rows.jsonl"), str(secret)]
    page.read_recipe(file)
    page.asked.stay_button.click()
    assert page.state.recipe.data.train == [str(folder / "rows.jsonl")]


def label_texts(dialog) -> list[str]:
    from app.widgets.label import TextLabel

    return [label.text() for label in dialog.findChildren(TextLabel)]


def test_m35_that_a_recipe_of_this_home_is_taken_as_it_is(home: Path) -> None:
    run = paths.runs_dir() / "mine"
    run.mkdir()
    file = run / "recipe.yaml"
    file.write_text(codec.dumps(codec.from_values({"data": {"train": ["/data/rows.jsonl"]}})))
    recipe, named = recipe_file.read(file)
    assert recipe.data.train == ["/data/rows.jsonl"] and not named


@pytest.mark.parametrize("name", NAMES)
def test_m38_that_a_name_is_never_an_option_a_command_or_a_form(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    command = child_command(["job", str(folder.resolve())])
    args, rest = cli.build_parser().parse_known_args(command[command.index("engine") + 1 :])
    assert (args.folder, rest) == (str(folder), [])
    args, rest = cli.build_parser().parse_known_args(
        ["export", f"--out={name}", "--format=gguf", str(folder)]
    )
    assert (args.out, rest) == (name, [])
    what = SimpleNamespace(target=str(folder))
    words = shlex.split(exporting.command(what, "gguf", "q8_0", folder / "out"))  # type: ignore[arg-type]
    assert words[2] == str(folder) and words[words.index("--out") + 1] == str(folder / "out")
    error = EngineError.of("RUN-03", path=name)
    assert paths.show_name(name) in error.message


def test_m38_that_a_copied_merge_keeps_every_name_whole(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in NAMES]
    mixing = SimpleNamespace(
        sources=[SimpleNamespace(folder=folder) for folder in folders],
        base=SimpleNamespace(path=tmp_path / "b c"),
        weights=(1.0,),
        numbers=dict,
        method="linear",
        adapter_only=False,
        dtype="",
    )
    words = shlex.split(Mixing.command(mixing, tmp_path / "$(x)"))  # type: ignore[arg-type]
    assert words[2 : 2 + len(folders)] == [str(folder) for folder in folders]


def test_m38_that_processes_get_lists_and_no_shell() -> None:
    found = []
    for source in sources("app", "engine"):
        for call, name in source.calls():
            if name.split(".")[-1] in ("Popen", "run", "call", "check_output") and name.startswith(
                "subprocess"
            ):
                first = type(call.args[0]).__name__
                found += [source.at(call)] if first not in ("List", "Name", "Call") else []
            if name in ("os.system", "os.popen", "os.execl", "os.execv", "os.spawnl"):
                found.append(source.at(call))
    assert not found, found
