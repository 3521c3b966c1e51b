"""What is exported: a run, an adapter or a model, as a plain folder and as what its answers should be."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from engine.data.templates import load_template
from engine.data.tokenizer import ModelTokenizer
from engine.models.merging import make_mix
from engine.runtime.adapted import load_adapted
from engine.runtime.blend import Blend, resolve_blend
from engine.runtime.certify import listen_to
from engine.runtime.check_prompts import prompts_of
from engine.runtime.device import cpu_dtype, quieten
from engine.runtime.fidelity import ANSWER_TOKENS, Progress, Reference, listen
from engine.runtime.fitted import fingerprint_base
from engine.runtime.generate import stops_of
from engine.runtime.load import Compute
from engine.runtime.merge import merge_adapter
from engine.runtime.target import Target, resolve_target


@dataclass(frozen=True)
class Exported:
    """A target, and the adapter on its base where it has one."""

    target: Target
    blend: Blend | None

    @property
    def name(self) -> str:
        """Return what a person calls it."""
        return self.target.name

    def plain(self, scratch: Path, tell: Progress, dtype: str | None) -> Path:
        """Return a plain folder of it: the model's own, or base and adapter merged into `scratch`."""
        if self.blend is None or self.target.adapter is None:
            return self.target.base.path
        out = scratch / "merged"
        merge_adapter(
            [self.target.adapter.path],
            out,
            base=str(self.target.base.path),
            dtype=dtype,
            progress=tell,
            check=False,
        )
        return out

    def reference(self, tell: Callable[[int], None]) -> Reference:
        """Load it as it was trained, let it answer, and let it go."""
        base = self.target.base
        compute = Compute(torch.device("cpu"), cpu_dtype(base))
        prompts = prompts_of([self.target], ANSWER_TOKENS)
        if self.blend is not None:
            heard: Reference = listen_to(self.blend, compute, prompts, tell)
            return heard
        quieten()
        model = load_adapted(base, None, compute)
        template = load_template(base.path, self.target.chat_template)
        stops = stops_of(base.path, template, ModelTokenizer(base.path))
        reference: Reference = listen(model.model, prompts, stops, tell)
        del model
        gc.collect()
        return reference

    def origin(self, kind: str, dtype: str) -> dict[str, Any]:
        """Return what tunesmith.json says of the export."""
        base = self.target.base
        told: dict[str, Any] = {
            "made_by": "Tunesmith",
            "kind": kind,
            "base": base.name,
            "base_fingerprint": fingerprint_base(base),
            "model": str(base.path),
            "name": self.name,
            "dtype": dtype,
            "system_prompt": self.target.system_prompt,
        }
        if self.blend is not None:
            told |= {"adapter": self.blend.name, "sources": self.blend.sources()}
        return told


def find_exported(model: str, base: str | None = None) -> Exported:
    """Return what a person named; raises EngineError RUN-*, MODEL-* as `resolve_target` does."""
    target = resolve_target(model, base)
    if target.adapter is None:
        return Exported(target, None)
    blend = resolve_blend([target.adapter.path], make_mix(1, None, "linear"), base or str(target.base.path))
    return Exported(target, blend)
