"""The certificate of what was made last: the seal, what it rests on, and what to do with the folder."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QApplication, QHBoxLayout, QVBoxLayout, QWidget

from app.i18n import number, size, tr, when
from app.merging import Made
from app.widgets.button import button
from app.widgets.card import Card, Inset
from app.widgets.certificate_view import CertificateView
from app.widgets.flow import FlowLayout
from app.widgets.label import TextLabel
from app.widgets.mark import Mark

WAITING = (
    "What is made is loaded again and compared with base and adapters on prompts of validation. "
    "Its largest difference, and whether it would say the same, will stand here."
)
KINDS = {
    "merged": "merged model",
    "adapter": "adapter",
    "safetensors": "model",
    "gguf": "GGUF file",
    "gguf-adapter": "GGUF adapter",
    "ollama": "Ollama folder",
    "script": "script",
}


class MergeCertificate(Card):
    """The verdict with its figures.

    Signals:
        chat_requested: chat with what was made.
        folder_requested: show its folder.
        export_requested: export it for another program.
        check_requested: check its files and compare it once more.
    """

    chat_requested = Signal()
    folder_requested = Signal()
    export_requested = Signal()
    check_requested = Signal()

    def __init__(self, title: str, *, exportable: bool) -> None:
        super().__init__(title)
        self.made: Made | None = None
        self._exportable = exportable
        self.waiting = TextLabel(tr(WAITING), "dim", wrap=True)
        self.head = self._build_head()
        self.figures = CertificateView()
        self.remarks = TextLabel("", "small", wrap=True).make_selectable()
        self.use = self._build_use()
        self.after = self._build_after()
        for widget in (self.waiting, self.head, self.figures, self.remarks, self.use, self.after):
            self.body.addWidget(widget)
        self.body.addStretch(1)
        self.show_made(None)

    def _build_head(self) -> QWidget:
        head = QWidget()
        row = QHBoxLayout(head)
        row.setContentsMargins(0, 0, 0, 4)
        row.setSpacing(12)
        self.seal = Mark("seal-unmeasured", "dim", 34)
        row.addWidget(self.seal)
        stack = QVBoxLayout()
        stack.setSpacing(2)
        self.verdict = TextLabel("", "strong", wrap=True).make_selectable()
        self.about = TextLabel("", "small", wrap=True).make_selectable()
        stack.addWidget(self.verdict)
        stack.addWidget(self.about)
        row.addLayout(stack, 1)
        return head

    def _build_use(self) -> QWidget:
        use = Inset()
        row = QHBoxLayout()
        row.setSpacing(8)
        self.command = TextLabel("", "mono", wrap=True).make_selectable()
        row.addWidget(self.command, 1)
        copy = button(icon="copy", kind="ghost", compact=True, name=tr("Copy the command"))
        copy.clicked.connect(lambda _checked=False: QApplication.clipboard().setText(self.command.text()))
        row.addWidget(copy)
        use.body.addLayout(row)
        return use

    def _build_after(self) -> QWidget:
        after = QWidget()
        flow = FlowLayout(after, spacing=8)
        self.chat_button = button(tr("Chat with it"), "chat", on_click=self.chat_requested.emit)
        self.export_button = button(tr("Export…"), "external", on_click=self.export_requested.emit)
        self.folder_button = button(tr("Open folder"), "folder-open", on_click=self.folder_requested.emit)
        self.check_button = button(
            tr("Check again"),
            "shield",
            on_click=self.check_requested.emit,
            tip=tr("Compares every file with its sum, then the answers once more"),
        )
        for made in (self.chat_button, self.export_button, self.folder_button, self.check_button):
            flow.addWidget(made)
        return after

    def show_made(self, made: Made | None, result: dict[str, Any] | None = None) -> None:
        """Show what was made, with what its job answered where that was just now."""
        again = self.made is not None and made is not None and made.folder == self.made.folder
        self.made = made
        self.waiting.setHidden(made is not None)
        for widget in (self.head, self.figures, self.remarks, self.use, self.after):
            widget.setHidden(made is None)
        if made is None:
            return
        found, result = made.certificate or {}, result or {}
        damage = " ".join(f"{each['file']} {each['what']}." for each in result.get("damaged") or ())
        passed = bool(found.get("passed")) and not damage
        self._show_verdict(made, found, passed, damage)
        about = [tr(KINDS.get(made.kind, made.kind)), size(made.bytes), when(made.time)]
        if found.get("tokens"):
            words = tr("{n} positions of {m} prompts")
            about.insert(1, words.format(n=number(found["tokens"]), m=found["prompts"]))
        self.about.setText(" · ".join(about) + self._way_out(made, found, passed, damage))
        self.figures.show_fidelity(found)
        self.figures.setHidden(not found or bool(damage))
        remarks = [_loss_words(made), *(str(remark) for remark in result.get("remarks") or ())]
        self.remarks.setText("\n".join(remark for remark in remarks if remark))
        self.remarks.setHidden(not self.remarks.text() or bool(damage))
        if not again or result.get("command"):
            self.command.setText(_run_too(str(result.get("command", ""))))
        self.use.setHidden(not self.command.text())
        self.chat_button.setHidden(made.chat_argument() is None)
        self.export_button.setHidden(not self._exportable)
        self.check_button.setHidden(not made.checkable)

    def _show_verdict(self, made: Made, found: dict[str, Any], passed: bool, damage: str) -> None:
        name, against = made.folder.name, found.get("compared_with") or tr("what it was made of")
        if damage:
            words = tr("{name} is damaged: {damage}").format(name=name, damage=damage)
        elif not found:
            words = tr("{name} was not compared").format(name=name)
        elif passed:
            words = tr("{name} agrees with {against}").format(name=name, against=against)
        else:
            reason = found.get("reason") or tr("it differs")
            words = tr("{name} does not pass: {reason}").format(name=name, reason=reason)
        bad = bool(damage) or (bool(found) and not passed)
        state = "red" if bad else "green" if passed else "unmeasured"
        self.seal.set(f"seal-{state}", {"red": "bad", "green": "ok"}.get(state, "dim"))
        self.verdict.setText(words)
        self.verdict.set_token("bad" if bad else "text")
        self.setAccessibleDescription(words)

    def _way_out(self, made: Made, found: dict[str, Any], passed: bool, damage: str) -> str:
        if passed or not (found or damage):
            return ""
        if damage:
            return "\n" + tr("Do not use it. Make it again; what it was made of is untouched.")
        if made.kind in ("merged", "adapter"):
            return "\n" + tr(
                "Do not use it. Merge again in float32; if that differs too, tell us with its log."
            )
        return "\n" + tr("Do not use it. Choose a type with more bits, such as q8_0 or f16.")


def _loss_words(made: Made) -> str:
    """Say how far a mix that is no plain sum is from the sum, as measured while it was made."""
    loss = made.origin.get("loss")
    if not isinstance(loss, dict):
        return ""
    method = (made.origin.get("sources") or {}).get("mix", {}).get("method", "")
    words = tr("{method} is {share:.1%} away from the exact weighted sum; {worst:.1%} in {module}.")
    return words.format(
        method=method,
        share=loss["relative_error"],
        worst=loss["worst_error"],
        module=loss["worst_module"],
    )


def _run_too(command: str) -> str:
    """Return a command with the one that follows it: what Ollama was told of is then run."""
    words = command.split()
    if words[:2] == ["ollama", "create"]:
        return f"{command}\nollama run {words[2]}"
    return command
