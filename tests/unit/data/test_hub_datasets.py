"""Data sets of the hub, by the hub's own client against a server that speaks its interface."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import hub, paths
from engine.data import library
from engine.data.readers import read_rows
from engine.errors import EngineError
from tests.unit.data.hub_stub import COMMIT, SET, Hub, serving

ROOT = Path(__file__).parents[3]
ROWS = b"".join(json.dumps({"text": f"row {i}"}).encode() + b"\n" for i in range(2000))
TOKEN = "hf_canaryCanaryCanaryCanary"
CLIENT = """
import json, sys
from engine import hub
from engine.errors import EngineError
heard = []
try:
    made = {code}
    print("ANSWER", json.dumps({{"made": made, "heard": heard}}))
except EngineError as error:
    print("ANSWER", json.dumps({{"error": error.as_dict(), "heard": heard}}))
"""
GET = "str(hub.download_dataset('some/set', progress=lambda done, total: heard.append((done, total))))"


@pytest.fixture
def stub() -> Iterator[Hub]:
    with serving() as made:
        made.files = {
            "README.md": b"# A set",
            "data/train-00000-of-00001.jsonl": ROWS,
            "data/test-00000-of-00001.jsonl": ROWS[:200],
            "weights.parquet": b"PAR1 and so on",
            "set.py": b"raise SystemExit",
            "model.pkl": b"pickle",
            "old.pkl.gz": b"pickle",
            ".gitattributes": b"",
            "more.csv.zst": b"packed",
        }
        yield made


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def environment(stub: Hub, **more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "TRANSFORMERS_", "HUGGING"))}
    kept |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "HF_HOME": str(paths.home() / "hf")}
    return {**kept, "HF_ENDPOINT": stub.url, "HF_TOKEN": TOKEN, **more}


def ask(stub: Hub, code: str = GET, **more: str) -> dict[str, Any]:
    """Run the client in a process of its own, where nothing but its environment tells it of the server."""
    done = subprocess.run(
        [sys.executable, "-c", CLIENT.format(code=code)],
        cwd=ROOT,
        env=environment(stub, **more),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.rsplit("ANSWER", 1)[1])
    if "error" in answer:
        assert answer["error"]["hint"]
    return answer


def test_that_sizes_are_known_before_anything_is_downloaded(stub: Hub) -> None:
    code = "[(file.name, file.bytes) for file in hub.dataset_files('some/set')]"
    assert ask(stub, code)["made"] == [
        ["README.md", 7],
        ["data/test-00000-of-00001.jsonl", 200],
        ["data/train-00000-of-00001.jsonl", len(ROWS)],
        ["more.csv.zst", 6],
        ["weights.parquet", 14],
    ]
    assert not [line for line in stub.seen if "/resolve/" in line]
    assert list(paths.datasets_dir().iterdir()) == []


def test_that_data_files_alone_are_brought_and_told_byte_by_byte(stub: Hub) -> None:
    del stub.files["weights.parquet"], stub.files["more.csv.zst"]
    answer = ask(stub)
    folder = Path(answer["made"])
    assert folder == paths.datasets_dir() / f"some--set@{COMMIT[:12]}"
    names = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and ".cache" not in p.parts}
    whole = 7 + 200 + len(ROWS)
    assert names == {*(n for n in stub.files if n.endswith((".md", ".jsonl"))), hub.MARK}
    assert not [line for line in stub.seen if ".py" in line or ".pkl" in line]
    heard = answer["heard"]
    assert heard[0] == [0, whole] and heard[-1] == [whole, whole] and heard == sorted(heard)
    assert hub.cached_dataset(SET) == folder == library.resolve_data("hub:some/set")
    assert len(list(read_rows(folder))) == 2000
    (told,) = library.list_datasets()
    assert (told.path, told.kind, told.complete) == (folder, "JSON", True)
    assert TOKEN not in str(stub.tokens) and TOKEN not in json.dumps(answer)


def test_that_one_file_can_be_chosen_and_an_unknown_one_is_told(stub: Hub) -> None:
    name = "data/test-00000-of-00001.jsonl"
    folder = Path(ask(stub, f"str(hub.download_dataset('some/set', files=[{name!r}]))")["made"])
    assert [p.name for p in folder.rglob("*.jsonl")] == [Path(name).name]
    assert hub.cached_dataset(SET) == folder
    error = ask(stub, "str(hub.download_dataset('some/set', files=['no.csv']))")["error"]
    assert error["code"] == "HUB-03" and "no.csv" in error["message"]


@pytest.mark.parametrize(
    ("mode", "code", "word"),
    [
        ("gated", "HUB-03", "permission"),
        ("missing", "HUB-03", "no data set some/set"),
        ("revision", "HUB-03", "revision"),
        ("login", "HUB-01", "cannot be read"),
        ("login_files", "HUB-01", "not the hub"),
        ("proxy", "HUB-01", "proxy"),
        ("short", "HUB-02", "not complete"),
        ("forged", "HUB-02", "not complete"),
    ],
)
def test_that_what_goes_wrong_is_told_in_one_sentence(stub: Hub, mode: str, code: str, word: str) -> None:
    stub.mode = mode
    error = ask(stub)["error"]
    assert error["code"] == code and word in error["message"], error
    assert hub.cached_dataset(SET) is None
    with pytest.raises(EngineError):
        library.resolve_data("hub:some/set")


def test_that_a_broken_connection_is_taken_up_again_where_it_ended(stub: Hub) -> None:
    stub.mode = "broken"
    stub.files = {"train.jsonl": ROWS}
    folder = Path(ask(stub)["made"])
    assert (folder / "train.jsonl").read_bytes() == ROWS


def test_that_a_stopped_download_is_not_taken_for_a_data_set_and_goes_on(stub: Hub) -> None:
    stub.files = {"a.jsonl": ROWS, "b.jsonl": ROWS}
    stop = (
        "hub.download_dataset('some/set', progress=lambda done, total: (heard.append(done), "
        "(_ for _ in ()).throw(EngineError('Stopped.', 'Go on.', 'HUB-02')) "
        f"if done > {len(ROWS)} else None))"
    )
    assert ask(stub, stop)["error"]["message"] == "Stopped."
    (folder,) = paths.datasets_dir().iterdir()
    assert (folder / "a.jsonl").read_bytes() == ROWS and not (folder / "b.jsonl").exists()
    assert hub.cached_dataset(SET) is None and not library.list_datasets()[0].complete
    stub.seen.clear()
    assert Path(ask(stub)["made"]) == folder == hub.cached_dataset(SET)
    assert not [line for line in stub.seen if line.startswith("GET") and line.endswith("a.jsonl")]
    (folder / "b.jsonl").write_bytes(ROWS[:-5])
    assert hub.cached_dataset(SET) is None


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"])
def test_that_an_offline_variable_keeps_the_network_unasked(stub: Hub, name: str) -> None:
    error = ask(stub, **{name: "1"})["error"]
    assert error["code"] == "HUB-01" and name in error["message"]
    assert stub.seen == []


def test_that_a_hub_that_is_not_there_is_told(stub: Hub) -> None:
    error = ask(stub, HF_ENDPOINT="http://127.0.0.1:9")["error"]
    assert error["code"] == "HUB-01" and "cannot be reached" in error["message"]


def test_that_a_set_without_data_files_names_the_parquet_copy(stub: Hub) -> None:
    stub.files = {"README.md": b"", "set.py": b"", "data.tar.gz": b""}
    error = ask(stub)["error"]
    assert error["code"] == "DATA-12" and "refs/convert/parquet" in error["hint"]


def test_that_the_server_names_no_file_outside_the_folder(stub: Hub) -> None:
    stub.files = {"../../x.jsonl": ROWS, "/tmp/x.jsonl": ROWS, "a\\..\\x.jsonl": ROWS, "C:x.jsonl": ROWS}
    assert ask(stub)["error"]["code"] == "DATA-12"
    assert not [line for line in stub.seen if "/resolve/" in line]


def test_that_the_command_line_gets_lists_and_inspects(stub: Hub) -> None:
    stub.files = {"train.jsonl": ROWS}

    def verb(*words: str) -> Any:
        command = [sys.executable, "-m", "engine", "data", *words, "--json"]
        done = subprocess.run(command, cwd=ROOT, env=environment(stub), capture_output=True, text=True)
        return json.loads(done.stdout)

    assert "data get some/set" in verb("inspect", "hub:some/set")["error"]["hint"]
    assert verb("get", "https://huggingface.co/datasets/some/set")["train"] == "hub:some/set"
    (listed,) = verb("list")["data"]
    assert listed["complete"] and listed["bytes"] >= len(ROWS)
    assert verb("inspect", "hub:some/set")["rows"] == 2000
    assert verb("get", "no id")["error"]["code"] == "HUB-01"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a/b", ("a/b", None)),
        (" a/b@v1.0 ", ("a/b", "v1.0")),
        ("a/b@refs/convert/parquet", ("a/b", "refs/convert/parquet")),
        ("https://huggingface.co/datasets/a/b", ("a/b", None)),
        ("https://hf.co/datasets/a/b/tree/v2?x=1", ("a/b", "v2")),
        ("datasets/a/b/", ("a/b", None)),
        ("https://evil.example/datasets/a/b", None),
        ("a", None),
        ("../b", None),
        ("a/b/c", None),
        ("", None),
    ],
)
def test_that_a_name_or_the_address_of_its_page_names_a_set(text: str, name: object) -> None:
    assert hub.dataset_name(text) == name


@pytest.mark.parametrize("text", ["hub:some/set", "hub:some/set@v1", "hub:", "hub:x", "hub:../../etc"])
def test_that_a_set_that_is_not_here_is_told_without_asking_the_network(text: str) -> None:
    with pytest.raises(EngineError) as caught:
        library.resolve_data(text)
    assert caught.value.code == "HUB-01" and caught.value.field == "data.train" and caught.value.hint
    assert library.resolve_data("~/x.jsonl") == Path.home() / "x.jsonl"
