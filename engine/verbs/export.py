"""The verb `export`: a run, an adapter or a model for other programs, and to the hub when asked."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.errors import EngineError
from engine.models.export_facts import FORMATS, TYPES
from engine.verbs.spoken import note, step

Argument = tuple[tuple[str, ...], dict[str, Any]]


def _argument(*names: str, **options: Any) -> Argument:
    return names, options


ARGUMENTS: list[Argument] = [
    _argument("model", help="run, adapter folder, model folder or starter"),
    _argument("--format", required=True, choices=FORMATS),
    _argument("--out", required=True, metavar="PATH", help="a folder; with gguf also a file NAME.gguf"),
    _argument("--quantization", metavar="TYPE", help=f"of a GGUF, f16 by default: {', '.join(TYPES)}"),
    _argument("--base", help="another base than the recorded one"),
    _argument("--no-check", action="store_true", help="leave the proofs out; nothing is claimed then"),
    _argument("--push", metavar="OWNER/NAME", help="say what would be sent to the hub; sent with --yes only"),
    _argument("--private", action="store_true", help="with --push: a repository that only you see"),
    _argument("--yes", action="store_true", help="with --push: send it"),
]


def export(args: Namespace) -> dict[str, Any] | int:
    """Export, prove, and say what would be sent to the hub or send it."""
    out = Path(args.out).expanduser()
    if args.yes and not args.push:
        raise EngineError(
            "--yes belongs to --push.", "Name a repository: --push owner/name.", "REC-01", field="yes"
        )
    if args.format == "script":
        return _script(args, out)
    from engine.runtime.export import export_model

    answer = export_model(
        args.model,
        out,
        args.format,
        quantization=args.quantization,
        base=args.base,
        progress=_progress(args),
        check=not args.no_check,
    )
    if not answer["ok"]:
        note(f"Not verified: {answer['certificate'].get('reason', '')}.")
    if args.push:
        answer["push"] = _push(args, out, answer)
    return answer


def _script(args: Namespace, out: Path) -> dict[str, Any] | int:
    from engine.verbs.script import script

    return script(Namespace(run=args.model, out=str(out), json=args.json))


def _push(args: Namespace, out: Path, answer: dict[str, Any]) -> dict[str, Any]:
    """Show what would be sent; send it only where a person said --yes and the proofs passed."""
    from engine.runtime.export_push import push_in_child, what_is_sent

    if not out.is_dir():
        raise EngineError(
            "Only a folder is sent: it holds the card and the certificate.",
            "Name a folder with --out.",
            "REC-01",
            field="out",
        )
    sent = what_is_sent(out, args.push)
    if not args.json:
        _show(sent)
    if not args.yes:
        return {"pushed": False, "would_send": sent, "hint": "Add --yes to send it."}
    if not answer["ok"]:
        raise EngineError(
            "It is not sent: its certificate did not pass.", "See the reason above.", "MODEL-05", field="push"
        )
    return push_in_child(out, args.push, args.private)


def _show(sent: dict[str, Any]) -> None:
    note(f"To {sent['repository']}, {sent['bytes']:,} bytes:")
    for each in sent["files"]:
        note(f"  {each['bytes']:>14,}  {each['name']}")
    note(sent["card"])


def _progress(args: Namespace) -> Callable[[str, int, int], None]:
    def progress(stage: str, done: int, total: int) -> None:
        if not args.json:
            step(stage, done, total or "?", ends=bool(total) and done >= total)

    return progress
