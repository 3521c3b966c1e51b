"""Certificates of folders that were made: as they are made, and again whenever a person asks.

certificate.json is the comparison; the sums of all files stand in tunesmith.json (models/made.py).
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from engine import durable, paths
from engine.data.templates import load_template
from engine.data.tokenizer import ModelTokenizer
from engine.errors import EngineError, from_os_error
from engine.models.adapter_facts import CONFIG, WEIGHTS, read_adapter_facts
from engine.models.export_facts import PROVED_AGAIN
from engine.models.facts import ModelFacts, read_facts
from engine.models.made import CERTIFICATE, Damage, check_files, read_origin
from engine.models.merging import DENSITY, make_mix
from engine.models.weight_files import read_json
from engine.runtime.adapted import load_adapted
from engine.runtime.blend import Blend, resolve_blend
from engine.runtime.check_prompts import Asked, prompts_of
from engine.runtime.device import cpu_dtype, quieten
from engine.runtime.fidelity import ANSWER_TOKENS, Progress, Reference, certify, listen, subject_of
from engine.runtime.fitted import fingerprint_base
from engine.runtime.generate import stops_of
from engine.runtime.load import Compute
from engine.runtime.mixture import mixture_of

COMPARED = ("merged", "adapter")


def certify_made(blend: Blend, folder: Path, tell: Progress) -> dict[str, Any]:
    """Compare a merged model or a new adapter with what it was made of; write certificate.json into it."""
    quieten()
    made = _facts_of(folder, blend.base)
    compute = Compute(torch.device("cpu"), cpu_dtype(made))
    prompts = prompts_of(blend.targets, ANSWER_TOKENS)
    half = len(prompts)
    reference = listen_to(blend, compute, prompts, lambda done: tell("check", done, 2 * half))
    found = _compare(reference, blend, folder, compute, lambda done: tell("check", half + done, 2 * half))
    write_certificate(folder, found)
    return found


def listen_to(
    blend: Blend, compute: Compute, prompts: Sequence[Asked], tell: Callable[[int], None]
) -> Reference:
    """Load base + adapters, let them answer, and let them go; what is made of them is compared with that."""
    quieten()
    base, first = blend.base, blend.targets[0]
    if blend.is_one_as_trained:
        model = load_adapted(base, first.adapter, compute)
    else:
        model = mixture_of(base, blend.adapters, blend.mix, compute)
    tokenizer = ModelTokenizer(base.path)
    stops = stops_of(base.path, load_template(base.path, first.chat_template), tokenizer)
    with model.speaking("adapter"):
        reference: Reference = listen(model.model, prompts, stops, tell)
    del model
    gc.collect()
    return reference


def _facts_of(folder: Path, base: ModelFacts) -> ModelFacts:
    return base if (folder / CONFIG).is_file() else read_facts(folder)


def _compare(
    reference: Reference, blend: Blend, folder: Path, compute: Compute, tell: Callable[[int], None]
) -> dict[str, Any]:
    if (folder / CONFIG).is_file():
        adapter = read_adapter_facts(folder)
        kind, dtype = "adapter", str(read_origin(folder).get("dtype", "float32"))
        model = load_adapted(blend.base, adapter, compute)
    else:
        facts = read_facts(folder)
        kind, dtype = "merged", facts.dtype
        model = load_adapted(facts, None, compute)
    with model.speaking("adapter" if kind == "adapter" else "base"):
        found = certify(reference, subject_of(model.model), kind=kind, dtype=dtype, tell=tell)
    found["compared_with"] = f"{blend.base.name} + {blend.name}"
    return found


def write_certificate(folder: Path, found: Mapping[str, Any]) -> None:
    """Write certificate.json; raises EngineError DISK-*."""
    try:
        durable.write_json(folder / CERTIFICATE, {"format": 1, "time": time.time(), **found})
    except OSError as error:
        raise from_os_error(error, str(folder / CERTIFICATE)) from error


def certify_folder(folder: Path, tell: Progress = lambda stage, done, total: None) -> dict[str, Any]:
    """Check a made folder's files against their sums, then compare it again with what it was made of.

    {"ok", "folder", "kind", "files": how many, "damaged": [{"file", "what", "tensors"}], "message",
    "repeated": whether it was compared again, "certificate": {...} or None where files are damaged already}
    Copies are proved as they are made: for them the sums and that proof count.
    Raises EngineError MODEL-02 when the folder was not made here, MODEL-07 when what it was made of is gone.
    """
    origin = read_origin(folder)
    damaged = check_files(folder, origin, lambda done, total: tell("sums", done, total))
    answer: dict[str, Any] = {
        "ok": False,
        "folder": str(folder.resolve()),
        "kind": str(origin.get("kind", "")),
        "files": len(origin["sha256"]),
        "damaged": [_told(each) for each in damaged],
        "repeated": False,
        "certificate": None,
    }
    if damaged:
        return {**answer, "message": " ".join(each.told() for each in damaged)}
    compared = origin.get("kind") in COMPARED and "sources" in origin
    if not compared and origin.get("kind") not in PROVED_AGAIN:
        return {**answer, **_as_proved(folder)}
    found = _again(folder, origin, tell)
    words = (
        "It agrees with base + adapters." if found["passed"] else f"It differs: {found.get('reason', '')}."
    )
    return {**answer, "ok": found["passed"], "message": words, "repeated": True, "certificate": found}


def _as_proved(folder: Path) -> dict[str, Any]:
    """Return what was proved of a folder as it was made; its files are as they were then."""
    found = read_json(folder / CERTIFICATE) if (folder / CERTIFICATE).is_file() else None
    if found is None:
        return {"ok": True, "message": "The files are as they were written; they were not compared."}
    passed = found.get("passed") is True
    words = "passed" if passed else f"did not pass: {paths.show_name(str(found.get('reason', '')), 200)}"
    message = f"The files are as they were written, when they were compared and {words}."
    return {"ok": passed, "message": message, "certificate": found}


def _again(folder: Path, origin: Mapping[str, Any], tell: Progress) -> dict[str, Any]:
    if origin.get("kind") in PROVED_AGAIN:
        from engine.runtime.export_again import certify_export

        return certify_export(folder, origin, tell)
    return certify_made(blend_of(origin, folder), folder, tell)


def _told(damage: Damage) -> dict[str, Any]:
    return {"file": damage.file, "what": damage.what, "tensors": list(damage.tensors)}


def blend_of(origin: Mapping[str, Any], folder: Path) -> Blend:
    """Find again what a folder was made of.

    Raises EngineError MODEL-07 when base or adapters are gone or are others by now.
    """
    sources = origin.get("sources")
    if not isinstance(sources, dict):
        raise EngineError(
            f"tunesmith.json of {paths.show_name(folder.name)} does not say what it was made of.",
            "Make the folder again.",
            "MODEL-02",
            file=str(folder),
        )
    adapters = [dict(each) for each in sources["adapters"]]
    for each in adapters:
        path = Path(str(each["path"])) / WEIGHTS
        if not path.is_file() or durable.sha256_file(path) != each["sha256"]:
            raise _gone(f"the adapter {each['name']}", path, gone=not path.is_file())
    base = Path(str(sources["base"]["path"]))
    if not (base / "config.json").is_file():
        raise _gone("the base", base, gone=True)
    mix = dict(sources["mix"])
    numbers = {
        "density": float(mix.get("density", DENSITY)),
        "seed": int(mix.get("seed", 0)),
        "svd_rank": mix.get("svd_rank"),
        "adapter_only": mix.get("adapter_only") is True,
    }
    made = make_mix(len(adapters), [float(w) for w in mix["weights"]], str(mix["method"]), **numbers)
    blend = resolve_blend([Path(str(each["path"])) for each in adapters], made, str(base))
    if fingerprint_base(blend.base) != sources["base"]["fingerprint"]:
        raise _gone("the base", base, gone=False)
    return replace(blend, mix=made)


def _gone(what: str, path: Path, *, gone: bool) -> EngineError:
    how = "is not here any more" if gone else "is another one by now"
    return EngineError(
        f"The files are as they were written, but {what} {how}: they cannot be compared.",
        "Bring it back to compare once more.",
        "MODEL-07",
        file=str(path),
    )
