"""Prove an export once more, long after it was made: `certify FOLDER`."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.errors import EngineError
from engine.models.export_facts import number_type
from engine.runtime.certify import blend_of, write_certificate
from engine.runtime.export import about_of, prove
from engine.runtime.export_gguf import plan_gguf
from engine.runtime.export_subject import Exported, find_exported
from engine.runtime.fidelity import Progress
from engine.runtime.fitted import fingerprint_base
from engine.runtime.gguf.adapter import FILE, certificate_of
from engine.runtime.gguf.families import shape_of


def certify_export(folder: Path, origin: Mapping[str, Any], tell: Progress) -> dict[str, Any]:
    """Compare a folder of PROVED_AGAIN's kinds with what it was made of; write certificate.json into it.

    Raises EngineError MODEL-07 when base or adapter are gone or are others by now.
    """
    exported = _found_again(folder, origin)
    kind = number_type(str(origin.get("dtype", "f16")))
    base = exported.target.base
    if origin["kind"] == "gguf-adapter" and exported.target.adapter is not None:
        shape = shape_of(base.path, base.tied)
        found = certificate_of(folder / FILE, exported.target.adapter, shape, kind.name)
    else:
        files = sorted(folder.glob("*.gguf"))
        if len(files) != 1:
            raise _unlike(folder, "holds no single GGUF")
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
            plain = exported.plain(Path(scratch), tell, "fp32")
            made = plan_gguf(exported.target, plain, files[0], kind, about_of(exported))
            found = prove(exported, made, origin["kind"] == "ollama", tell)
    write_certificate(folder, found)
    return found


def _found_again(folder: Path, origin: Mapping[str, Any]) -> Exported:
    if isinstance(origin.get("sources"), dict):
        blend = blend_of(origin, folder)
        exported = find_exported(str(blend.adapters[0].path), str(blend.base.path))
    else:
        exported = find_exported(str(origin.get("model", "")))
        if fingerprint_base(exported.target.base) != origin.get("base_fingerprint"):
            raise EngineError(
                "The files are as they were written, but the model is another one by now.",
                "Bring it back to compare once more.",
                "MODEL-07",
                file=str(exported.target.base.path),
            )
    target = replace(exported.target, name=str(origin.get("name", exported.name)))
    return replace(exported, target=target)


def _unlike(folder: Path, what: str) -> EngineError:
    return EngineError(f"{folder.name} {what}.", "Export it again.", "MODEL-02", file=str(folder))
