"""What a run keeps of its data beyond tokens: its template's date and the system prompt of its rows."""

from __future__ import annotations

import json
from pathlib import Path

from engine.data import sandbox
from engine.data.inspect import common_system_prompt


def test_that_a_stopped_clock_writes_the_same_date_on_another_day() -> None:
    template = sandbox.compile_template("{{ strftime_now('%Y-%m-%d') }}")
    sandbox.stop_clock(86_400.0 * 365)
    try:
        assert sandbox.run(template, {})[0] == "1971-01-01"
    finally:
        sandbox.stop_clock(None)
    assert sandbox.run(template, {})[0] > "2024"


def test_that_a_system_prompt_in_every_row_is_found_and_a_mixed_one_is_not(tmp_path: Path) -> None:
    def write(name: str, systems: list[str]) -> Path:
        rows = [
            {
                "messages": [
                    {"role": "system", "content": s},
                    {"role": "user", "content": "a"},
                    {"role": "assistant", "content": "b"},
                ]
            }
            for s in systems
        ]
        path = tmp_path / name
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
        return path

    assert common_system_prompt(write("same.jsonl", ["Be brief."] * 5)) == "Be brief."
    assert common_system_prompt(write("mixed.jsonl", ["Be brief.", "Be long."])) is None
