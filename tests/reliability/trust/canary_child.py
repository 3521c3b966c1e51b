"""A real child beside planted packages: what it does with folders of strangers, as JSON on the last line.

usage: python -I canary_child.py JOBS with {"planted": folder, "jobs": [[what, argument, ...], ...]} as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def load(folder: str) -> dict[str, Any]:
    """Load a base as a run does and say what became of its configuration."""
    import torch

    from engine.recipe.recipe import ModelOptions
    from engine.runtime.load import Compute, load_base

    model = load_base(Path(folder), ModelOptions(path=folder), Compute(torch.device("cpu"), torch.float32))
    config = model.config
    return {
        "fields": sorted(vars(config)),
        "attention": config._attn_implementation,
        "generation": model.generation_config.to_diff_dict(),
        "finite": bool(torch.isfinite(model(torch.arange(3, 9)[None]).logits).all()),
    }


def train(folder: str) -> dict[str, Any]:
    """Do a job as its child does it."""
    from engine.runtime.child import run_job

    return {"exit": run_job(Path(folder))}


def answer(target: str, base: str) -> dict[str, Any]:
    """Answer with an adapter on a base, and without it."""
    from engine.runtime.chat import answer_once

    said = answer_once(target, "Where is my parcel?", base=base, compare_base=True, max_new_tokens=3)
    return {"texts": [reply["text"] for reply in said["replies"]]}


def export(target: str, base: str, kind: str, out: str) -> dict[str, Any]:
    """Export an adapter or a merged model."""
    from engine.runtime.export import export_model

    export_model(target, Path(out), kind, base=base, check=False)
    return {"files": sorted(p.name for p in Path(out).iterdir())}


def config(values: dict[str, Any]) -> dict[str, Any]:
    """Compare transformers' configuration of rebuilt values with that of the values as they stand."""
    from transformers import CONFIG_MAPPING

    from engine.models.rebuilt import rebuild_config

    found = rebuild_config(values)
    plain = {k: v for k, v in values.items() if k != "auto_map"}
    kind = CONFIG_MAPPING[values["model_type"]]
    whole, rebuilt = kind.from_dict(plain).to_dict(), kind.from_dict(dict(found.values)).to_dict()
    odd = [k for k in {*whole, *rebuilt} if whole.get(k) != rebuilt.get(k) and k not in UNREAD]
    return {"odd": sorted(odd), "dropped": found.dropped}


# Of a model for other tasks, and what transformers writes of itself.
UNREAD = ("id2label", "label2id", "_name_or_path", "architectures_from")
WORK = {"load": load, "train": train, "answer": answer, "export": export, "config": config}


def main() -> None:
    """Do each piece of work; a refusal is an answer too."""
    asked = json.loads(Path(sys.argv[1]).read_text())
    sys.path.insert(0, asked["planted"])
    sys.path.append(asked["root"])
    from engine.errors import EngineError

    found = []
    for what, *arguments in asked["jobs"]:
        try:
            found.append(WORK[what](*arguments))
        except EngineError as error:
            found.append({"code": error.code, "message": error.message, "hint": error.hint})
    found.append({"kernels": sys.modules.get("kernels", "absent") is None})
    print("\n" + json.dumps(found))


if __name__ == "__main__":
    main()
