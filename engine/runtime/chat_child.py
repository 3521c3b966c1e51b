"""The chat child: answers over its pipes, from models that stay loaded.

It reads one JSON object a line from standard input and answers the same way on standard output:

    {"command": "load", "id", "target", "base"?, "device"?, "strength"?}
        -> loaded {base, adapter, fingerprints, system_prompt, device, dtype, parameters, seconds}
    {"command": "join", "id", "name", "target", "base"?, "device"?, "in_turn"?}
        -> joined {name, label, fingerprint, shares, in_turn ...}: one more who answers, as `name`
    {"command": "leave", "id", "name"} -> left
    {"command": "generate", "id", "who": "base" | "adapter" | a name, "messages": [{"role", "content"}],
     "sampling"}
        -> token {text, tokens, seconds} ... done {text, ids, tokens, seconds, ended, fingerprint ...}
    {"command": "chances", "id", "who", "messages", "ids"}
        -> chances {tokens: [{text, chance, place, likeliest: [{text, chance}]}]}
    {"command": "load", "id", "mixture": {"adapters": [paths], "weights", "method", "density" ...}, "base"?}
        -> loaded: `adapter` answers as a merge of them would; {"command": "mix", "id", "weights"} -> mixed
    {"command": "strength", "id", "who", "strength"} -> strength {who, strength, fingerprint}
    {"command": "save_scaled", "id", "who", "strength", "out"?} -> saved {path}
    {"command": "template", "id", "template": name or null} -> template {name}
    {"command": "render", "id", "who", "messages"} -> rendered {text}: what the model reads
    {"command": "stop", "id"?}  ends the answer that is being made (all of them without an id)
    {"command": "quit"}, or the end of standard input

Everything that goes wrong is {"type": "failed", "id", "code", "message", "hint"}; the child goes on, unless
its device is gone: a new process may find it again. Point of `engine.faults`: chat, at each token.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, BinaryIO

from engine.errors import EngineError
from engine.runtime import chat_mix, faulty, lost
from engine.runtime.chat_room import ChatRoom
from engine.runtime.generate import Sampling

MAX_LINE_BYTES = 4 * 1024 * 1024
Send = Callable[[dict[str, Any]], None]


class ChatChild:
    """Obeys commands; a thread of its own reads them, so that `stop` is heard while an answer is made."""

    def __init__(self, source: BinaryIO, send: Send) -> None:
        self._source = source
        self._send = send
        self._commands: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._stopped: set[str] = set()
        self._stop_before = 0
        self._arrived = 0
        self._lost = False
        self._room = ChatRoom()

    def run(self) -> int:
        """Serve until told to quit; answers with the exit status."""
        threading.Thread(target=self._listen, name="chat commands", daemon=True).start()
        self._send({"type": "ready", "pid": os.getpid()})
        while (command := self._commands.get()) is not None:
            self._obey(command)
            if self._lost:
                return 1
        return 0

    def _listen(self) -> None:
        while line := self._source.readline(MAX_LINE_BYTES):
            try:
                command = json.loads(line)
            except ValueError:
                continue
            if not isinstance(command, dict):
                continue
            if command.get("command") == "quit":
                break
            if command.get("command") == "stop":
                self._stop(command.get("id"))
            else:
                self._arrived += 1
                command["_number"] = self._arrived
                self._commands.put(command)
        self._stop(None)
        self._commands.put(None)

    def _stop(self, identity: Any) -> None:
        if identity is None:
            self._stop_before = self._arrived
        else:
            self._stopped.add(str(identity))

    def _is_stopped(self, command: dict[str, Any]) -> bool:
        return command["_number"] <= self._stop_before or str(command.get("id")) in self._stopped

    def _obey(self, command: dict[str, Any]) -> None:
        """One of the places where errors are caught: the window is told, the child goes on."""
        work = getattr(self, f"_do_{command.get('command')}", None)
        if work is None:
            return
        try:
            work(command)
        except EngineError as error:
            self._fail(command, error)
        except MemoryError:
            self._fail(
                command,
                EngineError(
                    "Memory ran out.", "Close other programs, or chat with a smaller model.", "GPU-01"
                ),
            )
        except Exception as error:  # noqa: BLE001  the traceback goes to the log, a person gets an event
            traceback.print_exc()
            self._lost = lost.is_lost(error)
            self._fail(command, _unexpected(error))

    def _fail(self, command: dict[str, Any], error: EngineError) -> None:
        self._send(
            {"type": "failed", "id": command.get("id"), "command": command.get("command"), **error.as_dict()}
        )

    def _tell(self, kind: str, command: dict[str, Any], **told: Any) -> None:
        self._send({"type": kind, "id": command.get("id"), **told})

    def _do_load(self, command: dict[str, Any]) -> None:
        self._tell("loading", command)
        device, strength = str(command.get("device", "auto")), read_strength(command)
        if command.get("mixture") is not None:
            blend = chat_mix.read_mixture(command["mixture"], command.get("base"))
            model = chat_mix.load_mixture(self._room, blend, device=device, strength=strength)
        else:
            target = str(command.get("target", ""))
            model = self._room.load(target, command.get("base"), device=device, strength=strength)
        self._tell("loaded", command, **model.describe())

    def _do_mix(self, command: dict[str, Any]) -> None:
        self._tell("mixed", command, **chat_mix.change_mix(self._room, command.get("weights")))

    def _do_join(self, command: dict[str, Any]) -> None:
        told = self._room.join(
            str(command.get("name", "")),
            str(command.get("target", "")),
            command.get("base"),
            device=str(command.get("device", "auto")),
            in_turn=command.get("in_turn") is True,
            strength=read_strength(command),
        )
        self._tell("joined", command, **told)

    def _do_leave(self, command: dict[str, Any]) -> None:
        self._room.leave(str(command.get("name", "")))
        self._tell("left", command, name=command.get("name"))

    def _do_strength(self, command: dict[str, Any]) -> None:
        who, strength = str(command.get("who", "adapter")), read_strength(command)
        fingerprint = self._room.set_strength(who, strength)
        self._tell("strength", command, who=who, strength=strength, fingerprint=fingerprint)

    def _do_save_scaled(self, command: dict[str, Any]) -> None:
        out = command.get("out")
        path = self._room.save_scaled(
            str(command.get("who", "adapter")),
            read_strength(command),
            Path(out) if isinstance(out, str) else None,
        )
        self._tell("saved", command, path=str(path))

    def _do_template(self, command: dict[str, Any]) -> None:
        choice = command.get("template")
        self._room.use_template(choice if isinstance(choice, str) else None)
        self._tell("template", command, template=self._room.template)

    def _do_render(self, command: dict[str, Any]) -> None:
        model, who = self._room.seat(str(command.get("who", "adapter")))
        text = model.prompt_text(who, read_messages(command.get("messages")))
        self._tell("rendered", command, text=text)

    def _do_chances(self, command: dict[str, Any]) -> None:
        name, ids = str(command.get("who", "adapter")), command.get("ids")
        if not isinstance(ids, list) or not all(type(i) is int and i >= 0 for i in ids):
            raise EngineError("The answer's tokens cannot be read.", "Ask again.", "REC-01", field="ids")
        model, who = self._room.seat(name)
        found = model.chances(who, read_messages(command.get("messages")), ids)
        self._tell("chances", command, who=name, tokens=[chance.as_dict() for chance in found])

    def _do_generate(self, command: dict[str, Any]) -> None:
        identity, who = command.get("id"), str(command.get("who", "adapter"))
        model, speaker = self._room.seat(who)
        began = time.perf_counter()

        def tell(text: str, tokens: int) -> None:
            faulty.device("chat")
            seconds = time.perf_counter() - began
            self._send(
                {
                    "type": "token",
                    "id": identity,
                    "who": who,
                    "text": text,
                    "tokens": tokens,
                    "seconds": seconds,
                }
            )

        answer, fingerprint = model.answer(
            speaker,
            read_messages(command.get("messages")),
            read_sampling(command.get("sampling")),
            tell,
            lambda: self._is_stopped(command),
        )
        made = answer.seconds - answer.first_token_seconds
        self._send(
            {
                "type": "done",
                "id": identity,
                "who": who,
                "text": answer.text,
                "ids": list(answer.ids),
                "tokens": len(answer.ids),
                "seconds": answer.seconds,
                "first_token_seconds": answer.first_token_seconds,
                "tokens_per_second": (len(answer.ids) - 1) / made
                if len(answer.ids) > 1 and made > 0
                else None,
                "ended": answer.ended,
                "fingerprint": fingerprint,
            }
        )


def _unexpected(error: Exception) -> EngineError:
    if type(error).__name__ == "OutOfMemoryError":
        return EngineError(
            "The GPU ran out of memory.", "Pause the run that uses it, or answer on the CPU.", "GPU-01"
        )
    if lost.is_lost(error):
        return EngineError(
            "The GPU stopped answering.", "Try again; restart the computer if it happens again.", lost.CODE
        )
    return EngineError(
        f"Something unexpected happened ({type(error).__name__}).",
        "Try again; the details are in chat.log.",
        "APP-01",
    )


def read_messages(value: Any) -> list[dict[str, str]]:
    """Return a checked conversation; raises EngineError REC-01."""
    good = isinstance(value, list) and all(
        isinstance(m, dict)
        and m.get("role") in ("system", "user", "assistant")
        and isinstance(m.get("content"), str)
        for m in value
    )
    if not good or not value:
        raise EngineError("The conversation cannot be read.", "Write a message.", "REC-01", field="messages")
    return [{"role": m["role"], "content": m["content"]} for m in value]


def read_strength(command: dict[str, Any]) -> float:
    """Return the strength of a command, 1 where it names none; raises EngineError REC-01 for no number."""
    value = command.get("strength", 1.0)
    if type(value) not in (int, float):
        raise EngineError("The strength is not a number.", "Use 0 to 1.5.", "REC-01", field="strength")
    return float(value)


def read_sampling(value: Any) -> Sampling:
    """Return checked sampling; raises EngineError REC-01 for a value that is not allowed."""
    names = {f.name for f in fields(Sampling)}
    given = {k: v for k, v in value.items() if k in names} if isinstance(value, dict) else {}
    for name, number in given.items():
        if not isinstance(number, int | float) and not (name == "seed" and number is None):
            raise EngineError(f"{name} is not a number.", "Use a number.", "REC-01", field=name)
    for name in ("top_k", "max_new_tokens", "seed"):
        if isinstance(given.get(name), float):
            given[name] = int(given[name])
    return Sampling(**given)


def main() -> int:
    """Serve on the process's own pipes; what libraries print goes to standard error."""
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    gate = threading.Lock()

    def send(message: dict[str, Any]) -> None:
        line = json.dumps(message, ensure_ascii=True, allow_nan=False).encode() + b"\n"
        with gate:
            out.write(line)

    try:
        return ChatChild(sys.stdin.buffer, send).run()
    except BrokenPipeError:  # the window is gone
        return 0


if __name__ == "__main__":
    raise SystemExit(main())
