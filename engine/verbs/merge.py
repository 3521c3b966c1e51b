"""Verbs that put adapters together and check what came of it."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.errors import EngineError
from engine.models.merging import DENSITY, METHODS
from engine.verbs.spoken import note, step

Argument = tuple[tuple[str, ...], dict[str, Any]]


def _argument(*names: str, **options: Any) -> Argument:
    return names, options


ARGUMENTS: list[Argument] = [
    _argument("adapters", nargs="+", metavar="ADAPTER", help="adapter folder or run"),
    _argument("--out", required=True, metavar="FOLDER"),
    _argument("--base", help="another base than the recorded one"),
    _argument(
        "--weights", help="one for each adapter, such as 1,0.5; written --weights=-1,1 where it begins with -"
    ),
    _argument("--method", default="linear", choices=METHODS, help="linear is the weighted sum"),
    _argument(
        "--density",
        type=float,
        default=DENSITY,
        metavar="SHARE",
        help="what ties, dare_linear, dare_ties and magnitude_prune keep of the values",
    ),
    _argument("--seed", type=int, default=0, help="draws what dare_linear and dare_ties keep"),
    _argument("--rank", type=int, metavar="R", help="of svd; the largest among the adapters by default"),
    _argument("--adapter-only", action="store_true", help="make a new adapter, not a merged model"),
    _argument("--dtype", choices=["fp32", "bf16", "fp16"]),
    _argument("--no-check", action="store_true", help="leave the comparison with base + adapters out"),
]
CERTIFY: list[Argument] = [_argument("folder", help="what merge or export made")]


def merge(args: Namespace) -> dict[str, Any] | int:
    """Merge adapters into their base, or into one adapter, and check the result."""
    from engine.runtime.merge import merge_adapter

    return merge_adapter(
        [adapter_folder(name) for name in args.adapters],
        Path(args.out).expanduser(),
        base=args.base,
        weights=read_weights(args.weights),
        method=args.method,
        dtype=args.dtype,
        progress=_progress(args),
        check=not args.no_check,
        density=args.density,
        seed=args.seed,
        svd_rank=args.rank,
        adapter_only=args.adapter_only,
    )


def certify(args: Namespace) -> dict[str, Any] | int:
    """Check the files of a made folder, and compare it again with what it was made of."""
    from engine.runtime.certify import certify_folder

    found = certify_folder(Path(args.folder).expanduser(), _progress(args))
    if not found["ok"]:
        note(found["message"])
    return found


def _progress(args: Namespace) -> Callable[[str, int, int], None]:
    def progress(stage: str, done: int, total: int) -> None:
        if not args.json:
            step(stage, done, total, ends=done >= total)

    return progress


def read_weights(text: str | None) -> list[float] | None:
    """Return what `--weights 1,0.5` says; raises EngineError REC-01 for what is no number."""
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise EngineError(
            f"The weights {text} cannot be read.",
            "Write one number for each adapter, such as 1,0.5.",
            "REC-01",
            field="weights",
        ) from error


def adapter_folder(name: str) -> Path:
    """Return the folder of an adapter or of a run's result; raises EngineError RUN-03 / RUN-05."""
    folder = Path(name).expanduser()
    if (folder / "adapter_config.json").exists():
        return folder
    from engine.runs import store

    run = store.find_run(name)
    if not (run / "adapter" / "adapter_config.json").exists():
        raise EngineError(
            f"{run.name} has no finished adapter.",
            "Let the run finish, or resume it.",
            "RUN-05",
            file=str(run),
        )
    return run / "adapter"
