"""A plot as SVG: small charts one below the other, that share their time axis. Readable on light and dark pages."""

from collections.abc import Iterator
from typing import NamedTuple
from xml.sax.saxutils import escape

_WIDTH, _LEFT, _RIGHT, _TOP = 760, 90, 20, 70
_PANEL, _GAP, _BOTTOM = 130, 45, 40
_TICKS = 4
_STYLE = """
text { font: 12px sans-serif; fill: #333 }
.title { font-size: 15px; font-weight: bold }
.axis { stroke: #888; fill: none }
.grid { stroke: #888; stroke-opacity: 0.25; fill: none }
.line { stroke: #06c; stroke-width: 1.5; fill: none }
@media (prefers-color-scheme: dark) { text { fill: #ddd } .line { stroke: #6bf } }
"""


class Panel(NamedTuple):
    """One chart: its title with the unit, and a value for each second."""

    title: str
    values: list[float]


def draw(title: str, subtitle: str, seconds: list[float], panels: list[Panel]) -> str:
    """Return the plot. Shape: every panel has as many values as there are `seconds`; its axis begins at 0."""
    height = _TOP + len(panels) * (_PANEL + _GAP) + _BOTTOM - _GAP
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="{_LEFT}" y="22">{escape(title)}</text>',
        f'<text x="{_LEFT}" y="40">{escape(subtitle)}</text>',
    ]
    last = max(seconds)
    for number, panel in enumerate(panels):
        lines += _panel(panel, seconds, last, _TOP + number * (_PANEL + _GAP))
    bottom = height - _BOTTOM
    lines += _time_axis(last, bottom)
    return "\n".join([*lines, "</svg>", ""])


def _panel(panel: Panel, seconds: list[float], last: float, top: int) -> Iterator[str]:
    most = _nice(max(panel.values))
    bottom = top + _PANEL
    yield f'<text x="{_LEFT}" y="{top - 8}">{escape(panel.title)}</text>'
    for tick in range(_TICKS + 1):
        y = bottom - _PANEL * tick / _TICKS
        yield f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>'
        yield f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{most * tick / _TICKS:,.10g}</text>'
    yield f'<path class="axis" d="M{_LEFT} {top}V{bottom}H{_WIDTH - _RIGHT}"/>'
    points = " ".join(
        f"{_x(second, last):.1f},{bottom - _PANEL * value / most:.1f}"
        for second, value in zip(seconds, panel.values, strict=True)
    )
    yield f'<polyline class="line" points="{points}"/>'


def _time_axis(last: float, bottom: int) -> Iterator[str]:
    for tick in range(_TICKS + 1):
        second = last * tick / _TICKS
        yield f'<text x="{_x(second, last):.1f}" y="{bottom + 18}" text-anchor="middle">{second:,.0f} s</text>'


def _x(second: float, last: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * second / last


def _nice(most: float) -> float:
    """Return the least round number that is not below: four ticks of it are round, too."""
    step = 1.0
    while True:
        for factor in (4, 8, 12, 20, 32):
            if step * factor >= most:
                return step * factor
        step *= 10
