"""The charts of a run: which series, which levels, how their values are written."""

from __future__ import annotations

import math
from collections.abc import Callable

from PySide6.QtCore import QTimer

from app.i18n import duration, loss, number, size, small
from app.widgets.chart import Chart
from app.widgets.chart_card import ChartCard, choice_button, scale_button, smoothing_button
from app.widgets.chart_flags import ChartFlags
from app.widgets.chart_group import ChartGroup, HorizontalLine, SeriesSpec
from engine.runs.history import RunHistory
from engine.runs.series import Series

GENERATION = 1_000_000  # versions of a series stay below it
TIME_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
HELP = {
    "loss": "Mean over the trained tokens of each step: faint as it was, thick smoothed. Dots are the loss "
    "on rows kept aside, the star the best. Good: both fall, then flatten together. Ticks below are saves.",
    "learning_rate": "How far each step goes. It warms up, then falls as the schedule says.",
    "grad_norm": "How much a step wants to change the weights. Calm is good; above the clip line it is cut.",
    "memory_bytes": "Memory held at each step, beside what was planned and what there is.",
    "tokens_per_second": "Tokens worked through each second. Evaluations and saves are not counted.",
}


def gigabytes(value: float) -> str:
    """Return bytes as gigabytes without the unit, as an axis shows them."""
    return f"{value / 1e9:.4g}"


def short(value: float) -> str:
    """Return an axis number with few figures: 2.5, 1,500, 25k, 1.5e-4."""
    if value and abs(value) < 1e-3:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:,.4g}" if abs(value) < 1e4 else f"{value / 1e3:,.4g}k"


def clock(seconds: float) -> str:
    """Return a time since the start for an axis: 45 s, 12 min, 1 h 30."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" if whole % 60 == 0 else f"{whole // 60}:{whole % 60:02d}"
    return f"{whole // 3600} h" if whole % 3600 == 0 else f"{whole // 3600} h {whole % 3600 // 60:02d}"


class MonitorCharts:
    """Five chart cards that share one crosshair; `show` takes a history as it is now."""

    def __init__(self) -> None:
        self.group = ChartGroup()
        self.group.heading = self._heading
        self._history = RunHistory()
        self._axis = "step"
        self._base = 0
        self._waiting: list[ChartCard] = []
        train = SeriesSpec("loss", "train", "accent", "smooth")
        validation = SeriesSpec("validation", "validation", "series2", "dots")
        self.loss = self._card("Loss", "loss", [train, validation], short, loss, legend=True)
        self.jumps = ChartFlags(self.loss.chart)
        self.learning_rate = self._one("Learning rate", "learning_rate", "series5", short, small)
        self.grad_norm = self._one("Gradient norm", "grad_norm", "series2", short, lambda v: f"{v:.3g}")
        self.memory = self._one("Memory (GB)", "memory_bytes", "series4", gigabytes, size)
        speed = SeriesSpec("tokens_per_second", "tokens/s", "series3", "smooth")
        self.speed = self._card("Tokens/s", "tokens_per_second", [speed], short, number, from_zero=True)
        self.cards = (self.loss, self.learning_rate, self.grad_norm, self.memory, self.speed)
        self._in_turn = QTimer(self.loss, interval=0)  # ends with the charts
        self._in_turn.timeout.connect(self._draw_next)
        self._build_controls()

    def _one(
        self, title: str, name: str, token: str, wording: Callable[[float], str], told: Callable[[float], str]
    ) -> ChartCard:
        spec = SeriesSpec(name, title.split(" (")[0].lower(), token)
        return self._card(title, name, [spec], wording, told, from_zero=True)

    def _card(
        self,
        title: str,
        name: str,
        specs: list[SeriesSpec],
        wording: Callable[[float], str],
        told: Callable[[float], str],
        *,
        legend: bool = False,
        from_zero: bool = False,
    ) -> ChartCard:
        chart = Chart(title, specs, wording, self.group, told=told, from_zero=from_zero)
        return ChartCard(chart, HELP[name], legend=legend)

    def _build_controls(self) -> None:
        self.loss.add_control(smoothing_button(self.loss.chart))
        self.loss.add_control(scale_button(self.loss.chart))
        choices = [(words, lambda n=name: self.set_axis(n)) for name, words in AXES.items()]
        self.loss.add_control(choice_button("What runs along the bottom", choices))

    def set_axis(self, name: str) -> None:
        """Let steps, epochs or time run along the bottom."""
        self._axis = name
        self._place_axis()
        self._refresh()

    def _place_axis(self) -> None:
        series = self._history.series
        epoch, elapsed = series["epoch"], series["elapsed"]
        if self._axis == "epoch":
            self.group.set_axis("epoch", lambda v: f"{v:.3g}", epoch.steps, epoch.values)
        elif self._axis == "time":
            self.group.set_axis("time", clock, elapsed.steps, elapsed.values, TIME_STEPS)
        else:
            self.group.set_axis("step", lambda value: number(value))

    def show(self, history: RunHistory, generation: int, max_grad_norm: float | None) -> None:
        """Show a history; another `generation` says that it is another one than before."""
        self._history = history
        self._place_axis()
        self._base = generation * GENERATION
        loss_chart = self.loss.chart
        loss_chart.set_ticks([saved.step for saved in history.checkpoints])
        jumps = [(step, history.series["loss"].at(step)) for step in history.spikes]
        self.jumps.show([(step, value) for step, value in jumps if value is not None])
        loss_chart.set_star((history.best.step, history.best.loss) if history.best else None)
        loss_chart.set_summary(history.text_summary())
        self._show_levels(history, max_grad_norm)
        self._show_values(history)
        self._waiting += [card for card in self.cards if card not in self._waiting]
        self._in_turn.start()

    @property
    def busy(self) -> bool:
        """Say whether charts are still to be drawn."""
        return bool(self._waiting)

    def _draw_next(self) -> None:
        """Draw one card a turn of the event loop: five charts, each with its paint, would be felt."""
        if self._waiting:
            self._draw(self._waiting.pop(0))
        if not self._waiting:
            self._in_turn.stop()

    def _draw(self, card: ChartCard) -> None:
        for spec, _, _ in card.chart.series():
            series: Series = self._history.series[spec.name]
            card.chart.set_series(spec.name, series.steps, series.values, self._base + series.version)
        card.chart.refresh()

    def _refresh(self) -> None:
        for card in self.cards:
            card.chart.refresh()

    def _show_levels(self, history: RunHistory, max_grad_norm: float | None) -> None:
        gpu = history.capacity_bytes is not None
        title = "VRAM (GB)" if gpu else "Memory (GB)"
        if self.memory.title_label.text() != title:
            self.memory.set_title(title)
            self.memory.chart.title = title
        levels = []
        if history.capacity_bytes:
            words = f"capacity {size(history.capacity_bytes)}"
            levels.append(HorizontalLine(history.capacity_bytes, words, "dim", dash=False))
        if history.planned_memory_bytes:
            words = f"plan {size(history.planned_memory_bytes)}"
            levels.append(HorizontalLine(history.planned_memory_bytes, words, "ok"))
        self.memory.chart.set_levels(levels)
        norms = history.series["grad_norm"].finite(400)
        near = bool(norms) and max_grad_norm is not None and max(norms) > 0.4 * max_grad_norm
        clip = (
            [HorizontalLine(max_grad_norm, f"clip {max_grad_norm:g}", "dim")]
            if near and max_grad_norm
            else []
        )
        self.grad_norm.chart.set_levels(clip)

    def _show_values(self, history: RunHistory) -> None:
        series = history.series
        told = {
            self.learning_rate: small(series["learning_rate"].last),
            self.grad_norm: _three(series["grad_norm"].last),
            self.memory: size(series["memory_bytes"].last),
            self.speed: number(history.tokens_per_second),
        }
        for card, words in told.items():
            card.show_value(words if words != "–" else "")
            card.chart.set_summary(f"{card.chart.title}: {words} at step {history.step}")

    def _heading(self, step: float) -> str:
        series = self._history.series
        words = [f"step {number(step)}"]
        epoch, elapsed = series["epoch"].at(step), series["elapsed"].at(step)
        if epoch is not None:
            words.append(f"epoch {epoch:.2f}")
        if elapsed is not None and self._axis == "time":
            words.append(duration(elapsed))
        return " · ".join(words)


AXES = {"step": "steps", "epoch": "epochs", "time": "time"}


def _three(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.3g}"
