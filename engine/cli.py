"""The command line: `python -m engine VERB`, and `tunesmith VERB`.

With --json stdout carries JSON only. Exit codes: 0 done, 1 the job failed, 2 a wrong call or a bad
input, 130 stopped by Ctrl-C after saving. The only module that reaches into `engine.runtime`.
"""

from __future__ import annotations

import argparse
import os
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine import paths
from engine.errors import EngineError, from_os_error
from engine.report import keep_incident
from engine.verbs import advice, evaluate, library, queue, runs, script
from engine.verbs import export as exporting
from engine.verbs import merge as merging
from engine.verbs.follow import CrashError
from engine.verbs.spoken import json_text, note, say

Handler = Callable[[Namespace], "dict[str, Any] | int"]
LATER = {
    "sweep": "Sweeps",
    "lab": "Repeatable experiments",
}


class _Parser(argparse.ArgumentParser):
    """Wrong calls become EngineError, so that --json answers JSON for them too."""

    def error(self, message: str) -> Any:
        raise EngineError(message[0].upper() + message[1:] + ".", f"See `{self.prog} --help`.", "REC-01")


def _argument(*names: str, **options: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    return names, options


RUN = _argument("run", help="id, folder or name of a run")
SET = _argument(
    "--set", action="append", default=[], metavar="FIELD=VALUE", help="override an option of the recipe"
)
DETACH = _argument("--detach", action="store_true", help="start, say the id, and leave it going")
ANYWAY = _argument("--anyway", action="store_true", help="go on where that is offered")
CHECK_HELP = "only say what is not as it was"
PROCESSES = _argument(
    "--processes", type=int, metavar="N", help="another number of processes; the steps stay the same"
)


def _later(args: Namespace) -> dict[str, Any] | int:
    raise EngineError(
        f"{LATER[args.verb]}: not available in this version yet.", "See the changelog for what is.", "REC-01"
    )


def job(args: Namespace) -> int:
    """The child's entry."""
    from engine.runtime.child import run_job

    return run_job(Path(args.folder), alone=True)


def chat_child(args: Namespace) -> int:
    """The chat child's entry: JSON lines over its pipes."""
    from engine.runtime.chat_child import main as chat_main

    return chat_main()


def chat(args: Namespace) -> dict[str, Any] | int:
    """Answer one message, with the base beside it when asked."""
    from engine.runtime.chat import answer_once

    if args.message is None:
        raise EngineError(
            "No message was given.", "Write --message TEXT, or open the window to talk at length.", "REC-01"
        )
    if args.device == "auto":
        evaluate.tell_of_the_cpu()
    return answer_once(
        args.target,
        args.message,
        device=args.device,
        compare_base=args.compare_base,
        adapter_strength=args.adapter_strength,
        temperature=args.temperature,
        max_new_tokens=args.max_new_tokens,
        seed=args.seed,
        system_prompt=args.system_prompt,
    )


VERBS: dict[str, tuple[str, Handler | None, list[Any]]] = {
    "doctor": (
        "check the installation",
        library.doctor,
        [_argument("--report", action="store_true", help="a text to send, without names and tokens")],
    ),
    "models": (
        "models on disk",
        None,
        [
            ("list", "name them", library.models_list, []),
            (
                "add",
                "take a folder, a .gguf file, or a zip or tar of a folder",
                library.models_add,
                [_argument("path")],
            ),
            ("get", "bring one to disk: starter, or a hub id", library.models_get, [_argument("id")]),
            ("show", "describe one", library.models_show, [_argument("path")]),
        ],
    ),
    "adapters": (
        "adapters on disk",
        None,
        [
            ("list", "name them", library.adapters_list, []),
            (
                "add",
                "take an adapter folder, or a zip or tar of one",
                library.adapters_add,
                [_argument("path")],
            ),
            ("show", "describe one", library.adapters_show, [_argument("path")]),
        ],
    ),
    "data": (
        "look at training data",
        None,
        [
            ("list", "name the sets on disk", library.data_list, []),
            (
                "get",
                "bring a set of the hub to disk: its id",
                library.data_get,
                [_argument("id"), _argument("--file", action="append", help="only this file of it")],
            ),
            (
                "inspect",
                "format, problems, lengths",
                library.data_inspect,
                [
                    _argument("file"),
                    _argument("--model", help="count tokens with this model's tokenizer"),
                    _argument("--max-length", type=int),
                    _argument("--format", default="auto"),
                    SET,
                ],
            ),
            (
                "preview",
                "one row as the model gets it",
                library.data_preview,
                [
                    _argument("file"),
                    _argument("--row", type=int, default=0),
                    _argument("--model", default="starter"),
                    _argument("--format", default="auto"),
                    SET,
                ],
            ),
        ],
    ),
    "plan": (
        "memory, time and trainable parameters of a recipe",
        library.plan,
        [
            _argument("recipe"),
            SET,
            _argument("--exact", action="store_true", help="count memory by a dry run too"),
            _argument("--device-memory", type=float, metavar="BYTES", help="such as 24e9"),
            _argument(
                "--profile",
                default="own",
                choices=["own", "peft", "litgpt"],
                help="whose training: our own, transformers with peft, or the article's trainer",
            ),
            _argument("--probe", type=int, metavar="STEPS", help="try so many steps and measure, such as 20"),
            _argument("--compare-qlora", action="store_true", help="try LoRA and QLoRA, and say which"),
        ],
    ),
    "advise": (
        "what speaks against a recipe, with the change that mends it and its sources",
        advice.advise,
        [
            _argument("recipe"),
            SET,
            _argument(
                "--device-memory", type=float, metavar="BYTES", help="as on a GPU with so much, such as 24e9"
            ),
        ],
    ),
    "train": (
        "start a run from a recipe and follow it",
        runs.train,
        [_argument("recipe"), SET, _argument("--run-dir", metavar="FOLDER"), DETACH, ANYWAY],
    ),
    "resume": (
        "go on from the last save",
        runs.resume,
        [RUN, SET, DETACH, PROCESSES, ANYWAY, _argument("--check", action="store_true", help=CHECK_HELP)],
    ),
    "stop": ("save and end a run", runs.stop, [RUN]),
    "pause": ("save a run, free its memory, wait", runs.pause, [RUN]),
    "watch": ("show a run's events", runs.watch, [RUN]),
    "tell": (
        "ask a run to save, to evaluate or to answer now",
        runs.tell,
        [
            RUN,
            _argument("command", choices=["save", "evaluate", "sample"]),
            _argument("--prompt", help="what it shall answer, with sample"),
        ],
    ),
    "queue": ("runs that wait for their device", None, queue.ACTIONS),
    "runs": (
        "the library of runs",
        None,
        [
            ("list", "name them", runs.list_runs, []),
            ("show", "describe one", runs.show, [RUN]),
            ("compare", "differences and results", runs.compare, [_argument("runs", nargs="+")]),
            ("check", "say what is damaged", runs.check_run, [RUN]),
            ("repair", "move what is damaged into quarantine", runs.repair, [RUN]),
            ("rename", "give it another name", runs.rename, [RUN, _argument("name")]),
            ("delete", "move to the trash", runs.delete, [RUN]),
        ],
    ),
    "evaluate": (
        "measure a run, an adapter or a model on benchmarks",
        evaluate.evaluate,
        [
            _argument("target", nargs="?", help="run, adapter folder, model folder or starter"),
            _argument(
                "--benchmark", action="append", default=[], metavar="NAME", help="may stand several times"
            ),
            _argument("--data", metavar="FILE", help="your own tests; or the benchmark's file or folder"),
            _argument("--limit", type=int, metavar="N", help="only the first N questions"),
            _argument("--base-too", action="store_true", help="measure the base on the same questions"),
            _argument("--list", action="store_true", help="say which benchmarks there are"),
            _argument("--device", choices=["auto", "cpu"], default="auto", help="auto takes a free GPU"),
            ANYWAY,
        ],
    ),
    "merge": ("put adapters into their base, or into one adapter", merging.merge, merging.ARGUMENTS),
    "certify": ("check a folder that merge or export made, once more", merging.certify, merging.CERTIFY),
    "export": (
        "make a run, an adapter or a model ready for other programs, and prove it",
        exporting.export,
        exporting.ARGUMENTS,
    ),
    "script": (
        "write a stand-alone script of plain transformers and peft that repeats a run",
        script.script,
        [RUN, _argument("--out", required=True, metavar="FILE", help="such as train.py")],
    ),
    "chat": (
        "answer a message with a run, adapter or model",
        chat,
        [
            _argument("target", help="run, adapter folder, model folder or starter"),
            _argument("--message"),
            _argument("--system-prompt"),
            _argument("--compare-base", action="store_true", help="let the base answer too"),
            _argument("--adapter-strength", type=float, default=1.0),
            _argument("--temperature", type=float, default=0.0),
            _argument("--max-new-tokens", type=int, default=256),
            _argument("--seed", type=int),
            _argument("--device", choices=["auto", "cpu", "cuda"], default="auto"),
        ],
    ),
}
HIDDEN: dict[str, tuple[Handler, list[Any]]] = {
    "job": (job, [_argument("folder")]),
    "chat-child": (chat_child, []),
    "queue-runner": (queue.runner, []),
}


def _add(parser: argparse.ArgumentParser, handler: Handler, arguments: list[Any]) -> None:
    parser.add_argument("--json", action="store_true", help="answer in JSON only")
    for names, options in arguments:
        parser.add_argument(*names, **options)
    parser.set_defaults(handler=handler)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs."""
    parser = _Parser(prog="tunesmith", description="Finetune language models and trust what comes out.")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=_Parser)
    for name, (help, handler, arguments) in VERBS.items():
        own = verbs.add_parser(name, help=help, description=help)
        if handler is not None:
            _add(own, handler, arguments)
            continue
        inner = own.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=_Parser)
        for action, action_help, action_handler, action_arguments in arguments:
            _add(
                inner.add_parser(action, help=action_help, description=action_help),
                action_handler,
                action_arguments,
            )
    for name, help in LATER.items():
        _add(verbs.add_parser(name, help=f"{help} (a later version)"), _later, [_argument("rest", nargs="*")])
    for name, (hidden, arguments) in HIDDEN.items():
        _add(verbs.add_parser(name), hidden, arguments)
    return parser


def _print(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json_text(answer))
        return
    for key, value in answer.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            print(f"{key}:")
            for item in value:
                said = ((k, v) for k, v in item.items() if k != "curve" and v not in (None, "", []))
                say("  " + "  ".join(f"{k}={v}" for k, v in said))
        else:
            say(f"{key}: {value}")


def _fail(error: EngineError, as_json: bool) -> int:
    place = f"{error.file}, line {error.line}: " if error.file and error.line else ""
    note(f"{place}{error}")
    if as_json:
        print(json_text({"error": error.as_dict()}))
    return 1 if isinstance(error, CrashError) else 2


def _unexpected(error: Exception, as_json: bool) -> int:
    """Tell what nobody foresaw in one line; its trace goes to a file that can be sent."""
    told = keep_incident(error)
    _fail(told, as_json)
    note(f"The report: {told.file}")
    return 1


def main(argv: list[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    words = sys.argv[1:] if argv is None else argv
    as_json = "--json" in words
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        args, rest = build_parser().parse_known_args(words)
        if rest and args.verb not in LATER:
            raise EngineError(
                f"There is no argument {rest[0]}.", f"See `tunesmith {args.verb} --help`.", "REC-01"
            )
        answer = args.handler(args)
    except EngineError as error:
        return _fail(error, as_json)
    except BrokenPipeError:
        return 0
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        return _fail(from_os_error(error, str(error.filename or paths.home())), as_json)
    except Exception as error:
        return _unexpected(error, as_json)
    if isinstance(answer, int):
        return answer
    _print(answer, as_json)
    return 0 if answer.get("ok", True) else 1
