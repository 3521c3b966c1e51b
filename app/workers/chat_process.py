"""The parent's side of the chat child: starts it, asks it, brings back what it says, notices its death."""

from __future__ import annotations

import json
from typing import Any

from PySide6.QtCore import QObject, QProcess, QProcessEnvironment, Signal

from engine import paths
from engine.jobs.process import child_command, child_environment

QUIT_MS = 1500
REPLIES = ("joined", "mixed", "left", "strength", "saved", "template", "rendered", "chances")
LAST_WORDS = 2000


class ChatProcess(QObject):
    """One child that holds one model. It is started by the first `load` and ended by `close`.

    Signals:
        loading: a model is being read.
        loaded: what was loaded, with "fingerprints", "system_prompt", "device" ...
        token_arrived: "id", "who", "text", "tokens", "seconds".
        answered: the whole answer, with "ended" and "fingerprint".
        replied: what came of any other order, with its "type" and "id".
        failed: "code", "message", "hint"; the child is alive.
        died: the child ended by itself; the last it wrote.
    """

    loading = Signal()
    loaded = Signal(dict)
    token_arrived = Signal(dict)
    answered = Signal(dict)
    replied = Signal(dict)
    failed = Signal(dict)
    died = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._process: QProcess | None = None
        self._rest = b""
        self._number = 0
        self._closing = False
        self._tell = {
            "loaded": self.loaded,
            "token": self.token_arrived,
            "done": self.answered,
            "failed": self.failed,
            **dict.fromkeys(REPLIES, self.replied),
        }

    @property
    def alive(self) -> bool:
        """Return whether the child is there."""
        return self._process is not None and self._process.state() != QProcess.ProcessState.NotRunning

    @property
    def pid(self) -> int:
        """Return the child's process id, 0 when there is none."""
        return int(self._process.processId()) if self._process is not None and self.alive else 0

    def load(self, target: str, device: str = "auto", strength: float = 1.0, base: str | None = None) -> None:
        """Load a run, adapter or model; `base` takes the place of an adapter's recorded one.

        Ends in `loaded`, `failed` or `died`.
        """
        if not self.alive:
            self._start()
        self._send(
            {"command": "load", "target": target, "device": device, "strength": strength, "base": base}
        )

    def generate(self, who: str, messages: list[dict[str, str]], sampling: dict[str, Any]) -> str:
        """Ask `base` or `adapter` to go on with a conversation; returns the id its answer will carry."""
        return self.order("generate", who=who, messages=messages, sampling=sampling)

    def order(self, command: str, **fields: Any) -> str:
        """Give an order; returns the id that its reply, or its failure, will carry."""
        self._number += 1
        identity = f"a{self._number}"
        self._send({"command": command, "id": identity, **fields})
        return identity

    def stop(self, identity: str | None = None) -> None:
        """End an answer that is being made or waits, or all; what was said so far is kept."""
        if self.alive:
            self._send({"command": "stop"} | ({} if identity is None else {"id": identity}))

    def close(self) -> None:
        """End the child and give its memory back."""
        process, self._process = self._process, None
        if process is None:
            return
        self._closing = True
        if process.state() != QProcess.ProcessState.NotRunning:
            process.write(b'{"command": "stop"}\n{"command": "quit"}\n')
            process.closeWriteChannel()
            if not process.waitForFinished(QUIT_MS):
                process.kill()
                process.waitForFinished(QUIT_MS)
        process.deleteLater()

    def last_words(self) -> str:
        """Return the end of what the child wrote to its log."""
        try:
            text = self._log().read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join(paths.show_name(line, 300) for line in text[-LAST_WORDS:].strip().split("\n"))

    def _log(self) -> Any:
        return paths.home() / "logs" / "chat.log"

    def _start(self) -> None:
        self._closing, self._rest = False, b""
        process = QProcess(self)
        program, *arguments = child_command(["chat-child"])
        environment = QProcessEnvironment()
        for name, value in child_environment().items():
            environment.insert(name, value)
        process.setProcessEnvironment(environment)
        process.setWorkingDirectory(str(paths.neutral_folder()))
        self._log().parent.mkdir(parents=True, exist_ok=True)
        process.setStandardErrorFile(str(self._log()))
        process.readyReadStandardOutput.connect(self._on_output)
        process.finished.connect(self._on_finished)
        process.errorOccurred.connect(self._on_error)
        self._process = process
        process.start(program, arguments)

    def _send(self, message: dict[str, Any]) -> None:
        if self._process is not None:
            self._process.write(json.dumps(message).encode() + b"\n")

    def _on_output(self) -> None:
        if self._process is None:
            return
        self._rest += bytes(self._process.readAllStandardOutput().data())
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            return
        if not isinstance(message, dict):
            return
        if message.get("type") == "loading":
            self.loading.emit()
        signal = self._tell.get(str(message.get("type")))
        if signal is not None:
            signal.emit(message)

    def _on_finished(self, code: int, status: QProcess.ExitStatus) -> None:
        if self._closing or self._process is None:
            return
        self._on_output()
        self._forget()
        crashed = status == QProcess.ExitStatus.CrashExit
        self.died.emit("it was killed" if crashed else f"it ended with {code}")

    def _on_error(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart and self._process is not None and not self._closing:
            self._forget()
            self.died.emit("it could not be started")

    def _forget(self) -> None:
        if self._process is not None:
            self._process.deleteLater()
            self._process = None
