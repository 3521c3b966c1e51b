"""What reads a model through a library is in few places, and none of them gets a stranger's folder."""

from __future__ import annotations

import ast

from tests.architecture.source import sources

# Tensors and a configuration of the gate's; a .gguf that lies alone in a folder of ours.
DOORS = {"engine/runtime/opened.py", "engine/runtime/convert.py", "engine/runtime/export_gguf.py"}
READERS = ("from_pretrained", "load_adapter", "snapshot_from", "load_pretrained", "from_json_file")


def test_m14_that_from_pretrained_is_called_at_three_doors_and_never_trusts() -> None:
    found = set()
    for source in sources("engine", "app", "launch.py", "tunesmith.py"):
        for call, name in source.calls():
            if name.rpartition(".")[2] not in READERS:
                continue
            found.add(source.name)
            trusts = [k.value for k in call.keywords if k.arg == "trust_remote_code"]
            assert len(trusts) == 1, f"{source.at(call)} leaves trust_remote_code out"
            assert isinstance(trusts[0], ast.Constant) and trusts[0].value is False, source.at(call)
    assert found == DOORS
