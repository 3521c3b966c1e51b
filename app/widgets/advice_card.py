"""One remark as a card: what, why, what it saves, a press that does it, and what it rests on."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QUrl, Signal
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QPushButton, QSizePolicy, QWidget

from app.widgets.button import button
from app.widgets.floating import Floating
from app.widgets.flow import FlowLayout
from app.widgets.label import TextLabel, hairline
from app.widgets.look import Look
from app.widgets.notice import Notice
from app.widgets.pill import Pill
from app.widgets.plan_figures import Advice, Source

TAG_WORDS = {
    "ARTICLE": "As the article says that this product starts from.",
    "PUBLISHED": "From a public source.",
    "MEASURED": "Measured for this product.",
    "EARLIER": "Measured earlier, not run again.",
}


class SourceCard(Floating):
    """The evidence of a remark: claim, figure, where it is from, and the correction where there is one."""

    def __init__(self, source: Source, anchor: QWidget) -> None:
        super().__init__(anchor, 360)
        self.setAccessibleName(f"Evidence {source.id}: {source.title}")
        column = self.column
        column.addWidget(TextLabel(source.title, "strong", wrap=True).make_selectable())
        if source.figure:
            column.addWidget(TextLabel(source.figure, "body", wrap=True).make_selectable())
        if source.correction:
            column.addWidget(hairline())
            column.addWidget(Notice("warn", "Corrected", source.correction))
        column.addWidget(hairline())
        tag = Pill(source.tag.lower(), "dim", "") if source.tag else None
        if tag is not None:
            column.addWidget(tag)
        words = TAG_WORDS.get(source.tag.upper(), "")
        column.addWidget(
            TextLabel(
                ". ".join(filter(None, (source.source.rstrip("."), words))), "small", wrap=True
            ).make_selectable()
        )
        column.addWidget(TextLabel(source.id, "mono_dim").make_selectable())
        if source.link.startswith("https://"):
            column.addWidget(
                button(
                    "Open the source",
                    "external",
                    "link",
                    on_click=lambda: QDesktopServices.openUrl(QUrl(source.link)),
                    tip=source.link,
                )
            )


class AdviceCard(Notice):
    """The card.

    Signals:
        looked_at: the Advice while its press is pointed at or has the keyboard, else None.
        applied: its press was pressed; the Advice.
    """

    looked_at = Signal(object)
    applied = Signal(object)

    def __init__(self, advice: Advice, after: Callable[[], object] | None = None) -> None:
        super().__init__(advice.kind, advice.title, advice.text)
        self.advice, self._after = advice, after
        self.press: QPushButton | None = None
        self.links: list[QPushButton] = []
        if advice.figure:
            figure = TextLabel(advice.figure, "small_text", wrap=True).make_selectable()
            self._column.insertWidget(1, figure)
        if advice.action is None and not advice.sources:
            return
        place = QWidget()
        policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        place.setSizePolicy(policy)
        row = FlowLayout(place)
        self._column.addWidget(place)
        if advice.action is not None:
            self.press = button(
                advice.action[0],
                on_click=self._on_pressed,
                compact=True,
                name=f"{advice.action[0]}: {advice.title}",
            )
            Look(self.press, lambda looked: self.looked_at.emit(advice if looked else None), self)
            row.addWidget(self.press)
        for source in advice.sources:
            words = f"{source.tag.lower()} {source.id}".strip()
            link = button(words, kind="link", compact=True, name=f"Evidence {source.id}: {source.title}")
            link.clicked.connect(lambda _checked=False, s=source, a=link: SourceCard(s, a).open())
            row.addWidget(link)
            self.links.append(link)

    def _on_pressed(self) -> None:
        assert self.advice.action is not None
        self.advice.action[1]()
        self.applied.emit(self.advice)
        if self._after is not None:
            self._after()
