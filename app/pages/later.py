"""Pages whose work is still to come: they say so, and what can be done now."""

from __future__ import annotations

from app.pages.page import Page, padded_column
from app.services import Services
from app.widgets.empty import EmptyState


class _LaterPage(Page):
    """A drawing, a sentence and ways to what is there already."""

    drawing: tuple[str, ...] = ()
    sentence = ""
    now: tuple[tuple[str, str], ...] = ()

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self.state_pill.set("Comes later", "dim", "clock")
        actions = [
            (text, lambda page=page: self.navigate_requested.emit(page, None)) for text, page in self.now
        ]
        padded_column(self).addWidget(EmptyState(self.drawing, self.sentence, *actions, title=self.title))


class ExperimentsPage(_LaterPage):
    """Sweeps over settings."""

    title = "Experiments"
    drawing = ("sliders", "layers", "star")
    sentence = (
        "Here several settings will be tried against each other by themselves. This is not built yet. "
        "Now you can start runs with different settings one by one and see them side by side under Runs."
    )
    now = (("New run", "wizard"), ("See the runs", "runs"))


class ComparePage(_LaterPage):
    """Runs against each other."""

    title = "Compare"
    drawing = ("chart", "chart", "check")
    sentence = (
        "Here the curves of two to six runs will lie over each other, with their differing settings. This is "
        "not built yet. Now the list of runs shows each run's curve, best validation loss and time."
    )
    now = (("See the runs", "runs"), ("Chat with an adapter", "chat"))
