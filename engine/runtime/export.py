"""Export a run, an adapter or a model for other programs, and prove that they get what was trained.

    adapter       the PEFT folder, for peft, vLLM and others
    gguf-adapter  a plain LoRA as llama.cpp loads it on a GGUF of its base
    safetensors   base and adapter as one model
    gguf          that model as one file for llama.cpp and its kin
    ollama        the file with a Modelfile: template, stop words, parameters, system prompt

Everything is made in a folder beside its name, proved there, and renamed.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from engine import durable, paths
from engine.errors import EngineError, from_os_error
from engine.models.export_facts import FORMATS, NumberType, gguf_bytes, number_type, why_no_gguf
from engine.models.made import CERTIFICATE, write_origin
from engine.runtime.certify import write_certificate
from engine.runtime.export_card import licence_of, write_card
from engine.runtime.export_gguf import (
    Made,
    certificate,
    make_gguf,
    needed_program,
    prove_answers,
    prove_gguf,
)
from engine.runtime.export_plain import export_adapter, export_safetensors
from engine.runtime.export_subject import Exported, find_exported
from engine.runtime.fidelity import Progress
from engine.runtime.gguf.adapter import export_gguf_adapter
from engine.runtime.gguf.write import About
from engine.runtime.new_folder import into_folder, refuse_name
from engine.runtime.ollama.export import modelfile_of, ollama_form, prove_modelfile


def export_model(
    model: str,
    out: Path,
    format: str,
    quantization: str | None = None,
    base: str | None = None,
    progress: Progress | None = None,
    check: bool = True,
) -> dict[str, Any]:
    """Write `model` (run, adapter, model folder, starter) in a format; `out` is a folder, or a .gguf file.

    {"ok", "out", "format", "bytes", "verified", "certificate", "files": [{"name", "bytes"}], "command",
    "remarks"}; "verified" only where every proof passed. `quantization` is f16 by default.
    Raises EngineError REC-01 (wrong call), MODEL-05 (cannot be said in that format), DISK-*.
    """
    if format not in FORMATS or format == "script":
        raise EngineError(
            f"There is no format {format}.", f"Use one of: {', '.join(FORMATS)}.", "REC-01", field="format"
        )
    if quantization is not None and "gguf" not in format and format != "ollama":
        raise EngineError(
            f"{format} has no --quantization.",
            "Leave it away, or use --format gguf or ollama.",
            "REC-01",
            field="quantization",
        )
    kind = number_type(quantization or "f16")
    tell = progress or (lambda stage, done, total: None)
    exported = find_exported(model, base)
    out = Path(out).expanduser().absolute()
    if format == "adapter":
        return told(format, *export_adapter(exported, out, tell, check))
    if format == "safetensors":
        return told(format, *export_safetensors(exported, out, tell, check))
    if format == "gguf-adapter":
        return told(format, *export_gguf_adapter(exported, out, kind.name, tell))
    return told(format, *_Files(exported, out, format, kind, tell, check).export())


def told(
    format: str, out: Path, found: dict[str, Any] | None, command: str, remarks: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return the answer about what was exported; without a certificate nothing is claimed."""
    verified = found is not None and bool(found["passed"])
    listed = sorted(out.iterdir()) if out.is_dir() else [out, beside(out)]
    files = [{"name": p.name, "bytes": p.stat().st_size} for p in listed if p.is_file()]
    return {
        "ok": found is None or verified,
        "out": str(out),
        "format": format,
        "bytes": sum(int(str(each["bytes"])) for each in files),
        "verified": verified,
        "certificate": found,
        "files": files,
        "command": command,
        "remarks": list(remarks),
    }


def beside(file: Path) -> Path:
    """Return where the certificate of a single file lies."""
    return file.with_name(f"{file.name}.{CERTIFICATE}")


class _Files:
    """A GGUF under way, alone or with a Modelfile."""

    def __init__(
        self, exported: Exported, out: Path, format: str, kind: NumberType, tell: Progress, check: bool
    ) -> None:
        self.exported, self.out, self.format, self.kind = exported, out, format, kind
        self.tell, self.check = tell, check
        facts = exported.target.base
        reason = why_no_gguf(facts.model_type)
        if reason:
            raise EngineError(reason, "Export it as safetensors.", "MODEL-05", field="format")
        if kind.foreign:
            needed_program(kind)
        self.form = ollama_form(exported.target) if format == "ollama" else None
        self.single = format == "gguf" and out.suffix.lower() == ".gguf"
        stem = paths.slug(exported.name, "model")
        self.file = out.name if self.single else f"{stem}-{kind.name.replace('_', '-').upper()}.gguf"
        merged = facts.parameters * 4 if exported.blend is not None else 0
        between = facts.parameters * 2 if kind.foreign else 0
        self.needed = gguf_bytes(facts, kind) + merged + between
        self.found: dict[str, Any] | None = None
        self.remarks: tuple[str, ...] = ()

    def export(self) -> tuple[Path, dict[str, Any] | None, str, tuple[str, ...]]:
        """Make it and return where it lies, its certificate, the command that uses it, and remarks."""
        if self.single:
            self._into_file()
        else:
            into_folder(self.out, self.needed, self._write)
        name = paths.slug(self.exported.name, "model")
        if self.form is not None:
            command = f"ollama create {name} -f {shlex.quote(str(self.out / 'Modelfile'))}"
        else:
            file = self.out if self.single else self.out / self.file
            command = f"llama-server -m {shlex.quote(str(file))} --jinja"
        return self.out, self.found, command, self.remarks

    def _into_file(self) -> None:
        """Make a folder beside the file, and move the file out of it once it is whole."""
        if self.out.exists():
            raise EngineError(
                f"{paths.show_name(str(self.out), 200)} exists already.",
                "Choose another name; an existing file is never overwritten.",
                "DISK-02",
                file=str(self.out),
            )
        refuse_name(self.out)
        try:
            place = durable.scratch_folder(self.out)
            try:
                into_folder(place / "made", self.needed, self._write)
                if (place / "made" / CERTIFICATE).is_file():
                    durable.replace(place / "made" / CERTIFICATE, beside(self.out))
                durable.replace(place / "made" / self.file, self.out)
                durable.fsync_folder(self.out.parent)
            finally:
                durable.discard(place)
        except OSError as error:
            raise from_os_error(error, str(self.out)) from error

    def _write(self, folder: Path) -> None:
        target = self.exported.target
        scratch = folder / ".scratch"
        durable.make_folder(scratch)
        plain = self.exported.plain(scratch, self.tell, "fp32")
        about = about_of(self.exported)
        made = make_gguf(target, plain, folder / self.file, self.kind, about, self.tell)
        self.remarks = made.content.shape.remarks
        if self.form is not None:
            durable.write_file(folder / "Modelfile", modelfile_of(self.form, target, made))
        if self.check:
            self.found = prove(self.exported, made, self.form is not None, self.tell)
        durable.remove_tree(scratch)
        if not self.single:
            write_card(self.exported, folder, self.format, self.found)
            write_origin(folder, self.exported.origin(self.format, self.kind.name))
        if self.found is not None:
            write_certificate(folder, self.found)


def about_of(exported: Exported) -> About:
    """Return what the file says of itself."""
    base = exported.target.base
    return About(exported.name, base.name, licence_of(base))


def prove(exported: Exported, made: Made, with_modelfile: bool, tell: Progress) -> dict[str, Any]:
    """Return the certificate of a file, and of the Modelfile beside it."""
    findings = prove_gguf(made, tell)
    if with_modelfile:
        findings["modelfile"] = prove_modelfile(made.path.parent / "Modelfile", made)
    reference = exported.reference(lambda done: tell("ask", done, 0))
    answers = prove_answers(made.path, made.plain, reference, made.kind.name, tell)
    found = certificate(findings, answers)
    base = exported.target.base.name
    found["compared_with"] = base if exported.blend is None else f"{base} + {exported.name}"
    return found
