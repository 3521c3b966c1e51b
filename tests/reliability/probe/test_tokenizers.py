"""M26, M27: a tokenizer that floods memory, never ends or panics ends a child, and nothing else."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from app.workers.background import Background
from engine.data.probe_tokenizer import _growth
from engine.data.survey import survey
from engine.data.templates import load_template
from engine.data.tokenizer import ModelTokenizer, guarded, open_tokenizer
from engine.errors import EngineError
from engine.probes import limits, proof, verdicts
from engine.recipe.data_options import DataOptions

VOCABULARY = {chr(c): c - 32 for c in range(32, 127)} | {"<unk>": 95}


def tokenizer(**changes: Any) -> dict[str, Any]:
    """Return a sound tokenizer of single characters as tokenizer.json has it."""
    model = {"type": "BPE", "unk_token": "<unk>", "vocab": VOCABULARY, "merges": []}
    made: dict[str, Any] = dict.fromkeys(
        ["truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"]
    )
    return {"version": "1.0", "added_tokens": [], **made, "model": model, **changes}


def replacing(text: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"String": text}, "content": content}


def added(number: int, content: str) -> dict[str, Any]:
    flags = dict.fromkeys(["single_word", "lstrip", "rstrip", "normalized"], False)
    return {"id": number, "content": content, "special": True, **flags}


def folder_of(place: Path, made: dict[str, Any] | str) -> Path:
    place.mkdir(exist_ok=True)
    (place / "tokenizer.json").write_text(made if isinstance(made, str) else json.dumps(made))
    return place


def chain(steps: int, mark: str = "1") -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": [replacing(mark, mark * 10) for _ in range(steps)]}


SPLIT = {"type": "Split", "behavior": "Isolated", "invert": False}
FLOODS = {
    "chain": tokenizer(normalizer=chain(12)),
    "rare": tokenizer(normalizer=chain(12, "\u2603")),
    "decoder": tokenizer(decoder={"type": "Sequence", "decoders": [replacing("a", "a" * 99)] * 6}),
    "everywhere": tokenizer(
        normalizer={"type": "Replace", "pattern": {"Regex": "x*"}, "content": "y" * 10_000}
    ),
    "padding": tokenizer(
        padding={
            "strategy": {"Fixed": 10**9},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "a",
        }
    ),
    "added": tokenizer(added_tokens=[added(96 + i, f"<extra{i}>") for i in range(70_000)]),
    "number": tokenizer(model=tokenizer()["model"] | {"vocab": VOCABULARY | {"zz": 2**32 - 1}}),
    "mark": tokenizer(
        post_processor={
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": "<s>", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
            ],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [2**32 - 1], "tokens": ["<s>"]}},
        }
    ),
    "regex": tokenizer(pre_tokenizer={**SPLIT, "pattern": {"Regex": "(a+)+$"}}),
    "broken": "{",
}


def test_m26_m27_that_a_hostile_tokenizer_is_refused_and_this_process_lives(tmp_path: Path) -> None:
    places = {name: folder_of(tmp_path / name, made) for name, made in FLOODS.items()}
    sound = folder_of(tmp_path / "sound", tokenizer())
    questions = [
        proof.file_question("tokenizer", place / "tokenizer.json") for place in (*places.values(), sound)
    ]
    found = dict(zip([*places, "sound"], [v for v, _ in proof.ask(questions)], strict=True))
    assert found.pop("sound").facts == {"tokens": 96, "added": 0, "chatml": False}
    for name, verdict in found.items():
        assert verdict.code == "MODEL-06" and "of this model was stopped" in verdict.message, name
        assert verdict.hint, name
    told = {name: verdict.message for name, verdict in found.items()}
    assert "1,000,000,000,000 long" in told["chain"] and "1,000,000,000,000 long" in told["rare"]
    assert "adds 70,000 tokens" in told["added"] and "4,294,967,295" in told["number"]


def test_m26_that_a_table_of_sentencepiece_may_hold_no_long_text() -> None:
    def table(*texts: str) -> dict[str, Any]:
        tree = bytes(16)
        blob = "\0".join([*texts, ""]).encode()
        packed = base64.b64encode(len(tree).to_bytes(4, "little") + tree + blob).decode()
        return {"type": "Precompiled", "precompiled_charsmap": packed}

    class Part:
        def __init__(self, *steps: dict[str, Any]) -> None:
            self.steps = steps

        def __getstate__(self) -> bytes:
            return json.dumps({"type": "Sequence", "normalizers": list(self.steps)}).encode()

    usual = table("a", "صلى الله عليه وسلم")
    assert _growth(Part(usual)) == 18
    assert _growth(Part(usual, replacing("  ", "▁"))) == 18
    assert _growth(Part(table("a" * 100_000), usual)) == 1_800_000
    assert _growth(Part({"type": "Precompiled", "precompiled_charsmap": None})) == 1


def test_m26_that_the_signal_that_ends_a_probe_is_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without the rule of growth the library itself asks for more memory than there is and aborts.
    place = folder_of(tmp_path / "chain", tokenizer(normalizer=chain(12)))
    script = tmp_path / "without_rule.py"
    script.write_text(
        "import engine.data.probe_tokenizer as p, engine.data.probe as probe\n"
        "p.MOST_GROWTH = 10 ** 20\n"
        "raise SystemExit(probe.main())\n"
    )
    first = proof.command()[:-2]
    monkeypatch.setattr(proof, "command", lambda: [*first, str(script)])
    with pytest.raises(EngineError) as told:
        ModelTokenizer(place)
    assert told.value.code == "MODEL-06" and told.value.file == str(place / "tokenizer.json")
    assert "crashes its reader (signal 6)" in told.value.message
    # Remembered: nothing is tried again.
    monkeypatch.setattr(proof, "ask", lambda _: pytest.fail("asked again"))
    with pytest.raises(EngineError, match="signal 6"):
        ModelTokenizer(place)


def test_m26_that_the_window_hears_of_it_and_goes_on(qtbot: Any, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"prompt": "a", "completion": "b"}) + "\n")
    section = DataOptions(train=[str(rows)], validation_split=0.0)
    hostile = folder_of(tmp_path / "chain", tokenizer(normalizer=chain(12)))
    sound = folder_of(tmp_path / "sound", tokenizer())
    told: list[EngineError] = []
    found: list[Any] = []
    background = Background(threads=1)
    background.run(lambda: survey(section, hostile), found.append, told.append)
    background.run(lambda: survey(section, sound), found.append, told.append)
    qtbot.waitUntil(lambda: not background.busy, timeout=30_000)
    background.finish()
    assert [error.code for error in told] == ["MODEL-06"] and len(found) == 1
    assert found[0].report.rows == 1


def test_m26_that_a_verdict_is_kept_by_content_and_read_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (folder_of(tmp_path / name, tokenizer()) for name in ("one", "other"))
    ModelTokenizer(one)
    asked: list[Any] = []
    monkeypatch.setattr(proof, "ask", lambda questions: asked.extend(questions) or [])
    ModelTokenizer(other)
    verdicts.forget()
    assert ModelTokenizer(one).encode("abc") == [65, 66, 67] and not asked
    kept = list(verdicts.folder().iterdir())
    assert len(kept) == 1 and json.loads(kept[0].read_text())["facts"] == {
        "tokens": 96,
        "added": 0,
        "chatml": False,
    }
    folder_of(one, tokenizer(normalizer=replacing("a", "b")))
    with pytest.raises(IndexError):
        ModelTokenizer(one)
    assert len(asked) == 1


def test_m26_that_tokenizer_and_template_of_a_model_take_one_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = folder_of(tmp_path / "model", tokenizer())
    (place / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    begun: list[int] = []
    child = proof._child
    monkeypatch.setattr(proof, "_child", lambda requests: begun.append(len(requests)) or child(requests))
    ModelTokenizer(place)
    assert load_template(place).facts["missing"] == [] and begun == [2]


def test_m26_that_a_damaged_verdict_is_none(tmp_path: Path) -> None:
    verdicts.remember("k", verdicts.Verdict({"a": 1}))
    path = verdicts.folder() / "k.json"
    for content in ("", "[]", '{"facts": []}', '{"facts": {}, "code": "NO-99"}', "[" * 9000, "x" * 70_000):
        path.write_text(content)
        verdicts.forget()
        assert verdicts.recall("k") is None, content[:20]


def test_m27_that_a_panic_over_a_row_is_an_error_of_ours(tmp_path: Path) -> None:
    rare = tokenizer(pre_tokenizer={**SPLIT, "pattern": {"Regex": "(\u2603+)+$"}})
    place = folder_of(tmp_path / "rare", rare)
    made = open_tokenizer(place)
    assert made.encode("abc") == [65, 66, 67]
    row = "\u2603" * 40 + "!"
    for encode in (
        made.encode,
        lambda text: made.encode_batch([text]),
        lambda text: made.encode_spans([text]),
    ):
        with pytest.raises(EngineError) as told:
            encode(row)
        assert told.value.code == "MODEL-06"
    with pytest.raises(EngineError, match="too much memory"), guarded(made.path):
        raise MemoryError


@pytest.mark.skipif(os.name == "nt", reason="limits of POSIX")
def test_m26_that_a_probe_is_bound_before_it_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "greedy.py"
    script.write_text(
        "import json, os, resource, socket, subprocess, sys\n"
        "from engine.probes import limits\n"
        "before = limits._address_space()\n"
        "limits.confine()\n"
        "said = {'room': resource.getrlimit(resource.RLIMIT_AS)[0] - before}\n"
        "said['core'] = resource.getrlimit(resource.RLIMIT_CORE)[0]\n"
        "said['seconds'] = resource.getrlimit(resource.RLIMIT_CPU)[0]\n"
        "said['environment'] = sorted(os.environ)\n"
        "tries = {\n"
        "    'memory': lambda: bytearray(2 << 30), 'write': lambda: open('made', 'w'),\n"
        "    'remove': lambda: os.unlink('made'), 'program': lambda: subprocess.Popen(['true']),\n"
        "    'socket': lambda: socket.socket(), 'fork': os.fork,\n"
        "}\n"
        "for name, attempt in tries.items():\n"
        "    try:\n"
        "        attempt()\n"
        "        said[name] = 'done'\n"
        "    except Exception as error:\n"
        "        said[name] = type(error).__name__\n"
        "said['folder'] = os.listdir('.')\n"
        "print(json.dumps({'facts': said}))\n"
    )
    first = proof.command()[:-2]
    monkeypatch.setattr(proof, "command", lambda: [*first, str(script)])
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    monkeypatch.setenv("LD_PRELOAD_CANARY", "x")
    said = proof.ask([proof.Question("gguf", "x", "m.gguf")])[0][0].facts
    refused = {"write", "remove", "program", "socket", "fork"}
    assert {name: said[name] for name in refused} == dict.fromkeys(refused, "EngineError")
    assert said["core"] == 0 and said["folder"] == [] and said["seconds"] <= limits.CPU_SECONDS + 2
    if limits.KEEPS_LIMITS:
        assert said["memory"] == "MemoryError" and abs(said["room"] - limits.MEMORY_BYTES) < 64 << 20
    assert not {"HF_TOKEN", "LD_PRELOAD_CANARY", "TUNESMITH_HOME"} & set(said["environment"])
    assert "HF_HUB_OFFLINE" in said["environment"]


def test_m26_that_one_that_neither_ends_nor_works_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "asleep.py"
    script.write_text("import time\ntime.sleep(100)\n")
    first = proof.command()[:-2]
    monkeypatch.setattr(proof, "command", lambda: [*first, str(script)])
    monkeypatch.setattr(limits, "WALL_SECONDS", 0.3)
    verdict, lasting = proof.ask([proof.Question("gguf", "x", "m.gguf")])[0]
    assert verdict.code == "MODEL-02" and "did not come to an end" in verdict.message
    assert not lasting  # a busy computer is no fault of the file


def test_m26_that_the_parent_ends_one_where_the_system_keeps_no_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "large.py"
    script.write_text("import time\nheld = bytearray(64 << 20)\ntime.sleep(100)\n")
    first = proof.command()[:-2]
    monkeypatch.setattr(proof, "command", lambda: [*first, str(script)])
    monkeypatch.setattr(limits, "KEEPS_LIMITS", False)
    monkeypatch.setattr(limits, "MEMORY_BYTES", -(224 << 20))
    verdict, lasting = proof.ask([proof.Question("workbook", "x", "b.xlsx")])[0]
    assert verdict.code == "DATA-12" and "1 GiB of memory" in verdict.message and lasting
