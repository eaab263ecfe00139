"""A line chart as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 920, 480, 50, 300, 40, 50
LINE = 15
HIGH = 15.0
COLOURS = ("#1b6ca8", "#d1495b", "#3a7d44", "#e08e0b", "#6a4c93", "#00798c", "#8c564b", "#b5179e", "#7f8c00", "#333333")
GREY = "#888888"


@dataclass(frozen=True)
class Axes:
    """Places 1 to `count` across, values from `low` up to `high`. What is lower is drawn at the lower edge."""

    count: int
    low: float
    high: float

    def x(self, place: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (place - 1) / max(self.count - 1, 1)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (max(value, self.low) - self.low) / (self.high - self.low)


def chart(title: str, curves: Mapping[str, Sequence[float | None]], levels: Mapping[str, float], across: str) -> str:
    """Curves over 1, 2, ... and levels, with their names beside their ends. The axis reaches `HIGH` points
    down from the best; levels below it are left out."""
    ends = {
        name: next((value for value in reversed(curve) if value is not None), None) for name, curve in curves.items()
    }
    known = {name: end for name, end in ends.items() if end is not None}
    every = [*known.values(), *levels.values()]
    low = max(min(every), max(every) - HIGH)
    shown = {name: level for name, level in levels.items() if level >= low}
    count = max(len(curve) for curve in curves.values())
    ticks = _ticks(low, max(every))
    axes = Axes(count, ticks[0], ticks[-1])
    right = WIDTH - RIGHT
    drawn = [_text(LEFT, 22, title, size=15), _text((LEFT + right) / 2, HEIGHT - 10, across, anchor="middle")]
    for tick in ticks:
        drawn.append(_line(LEFT, axes.y(tick), right, axes.y(tick), "#dddddd"))
        drawn.append(_text(LEFT - 8, axes.y(tick) + 4, f"{tick:g}", anchor="end"))
    for place in sorted({1, *range(10, count + 1, 10), count}):
        drawn.append(_text(axes.x(place), HEIGHT - BOTTOM + 20, str(place), anchor="middle"))
    for level in shown.values():
        drawn.append(_line(LEFT, axes.y(level), right, axes.y(level), GREY, ' stroke-dasharray="5 4"'))
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(known)}
    drawn += [_curve(axes, curves[name], colour) for name, colour in colours.items()]
    drawn += _names({name: axes.y(end) for name, end in [*shown.items(), *known.items()]}, colours)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n' + "\n".join(drawn) + "\n</svg>\n"
    )


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from below the lowest to above the highest, some six of them."""
    rough = max(high - low, 1e-6) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [number * step for number in range(math.floor(low / step), math.ceil(high / step + 1e-9) + 1)]


def _curve(axes: Axes, values: Sequence[float | None], colour: str) -> str:
    """As steps: the best so far holds until a better one is found."""
    known = [(place, value) for place, value in enumerate(values, start=1) if value is not None]
    moves = []
    for place, value in known:
        moves.append(f"{'H' if moves else 'M'}{axes.x(place):.1f}" + ("V" if moves else " ") + f"{axes.y(value):.1f}")
    return f'<path d="{"".join(moves)}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _names(heights: Mapping[str, float], colours: Mapping[str, str]) -> list[str]:
    """Each beside its end, or as near below it as there is room, joined to it by a line."""
    drawn = []
    free = TOP - 2.0
    left = HEIGHT - BOTTOM - LINE * len(heights)
    for number, (name, height) in enumerate(sorted(heights.items(), key=lambda item: item[1])):
        free = max(min(height, left + LINE * number), free) if left > TOP else free
        colour = colours.get(name, GREY)
        drawn.append(_line(WIDTH - RIGHT, height, WIDTH - RIGHT + 14, free, colour))
        drawn.append(_text(WIDTH - RIGHT + 18, free + 4, name, colour))
        free += LINE
    return drawn


def _line(x: float, y: float, to_x: float, to_y: float, colour: str, more: str = "") -> str:
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="{colour}"{more}/>'


def _text(x: float, y: float, text: str, colour: str = "#222222", *, anchor: str = "start", size: int = 12) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" font-size="{size}" text-anchor="{anchor}">{escape(text)}</text>'
    )
