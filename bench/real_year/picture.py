"""The picture of a run; one rule: plain SVG, written here, that any browser shows."""

from collections.abc import Mapping, Sequence
from html import escape

from bench.real_year.figures import Figures
from bench.real_year.replay import DaySpeed

WIDTH, HEIGHT = 960, 720
LEFT, RIGHT, PANEL = 70, 20, 220
FIRST, SECOND = 110, 430
"""Where the two panels begin."""
BARS_MOST = 120
FONT = "system-ui, DejaVu Sans, sans-serif"
INK, PALE, BLUE, RED, GREEN = "#1f2933", "#d9e2ec", "#3e7cb1", "#d1495b", "#2a9d8f"


def draw(title: str, note: str, months: Mapping[str, Figures], days: Sequence[DaySpeed]) -> str:
    """Revenue per month above, purchases per second over the replay below."""
    inside = [
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, 36, title, size=20, weight="bold"),
        _text(LEFT, 60, note, size=13),
        *_revenue(months),
        *_throughput(days),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" font-family="{FONT}" fill="{INK}">\n'
        + "\n".join(inside)
        + "\n</svg>\n"
    )


def _revenue(months: Mapping[str, Figures]) -> list[str]:
    most = max((one.revenue_minor for one in months.values()), default=1) or 1
    top, step = _round_up(most / 100_000), (WIDTH - LEFT - RIGHT) / max(len(months), 1)
    drawn = [
        _text(LEFT, FIRST - 14, "Revenue per month, thousand pounds", size=14, weight="bold"),
        _key(LEFT + 330, FIRST - 14, BLUE, "sold"),
        _key(LEFT + 400, FIRST - 14, RED, "cancelled and refunded in that month"),
        *_grid(FIRST, top),
    ]
    base = FIRST + PANEL
    for place, (month, one) in enumerate(sorted(months.items())):
        x, width = LEFT + place * step + step * 0.15, min(step * 0.7, 90)
        sold = one.revenue_minor / 100_000 / top * PANEL
        back = (one.cancelled_minor + one.refunded_minor) / 100_000 / top * PANEL
        middle = x + width / 2
        drawn += [
            _bar(x, base - sold, width, sold, BLUE),
            _bar(x, base - back, width, back, RED),
            _text(middle, base - sold - 6, f"{one.revenue_minor / 100_000:,.0f}", anchor="middle"),
            _text(middle, base + 18, month, anchor="middle"),
        ]
    return drawn


def _throughput(days: Sequence[DaySpeed]) -> list[str]:
    """A bar for each day, or for some days together where they are many."""
    together = -(-len(days) // BARS_MOST)
    groups = [days[start : start + together] for start in range(0, len(days), together)]
    seconds = [sum(one.seconds for one in group) or 1.0 for group in groups]
    orders = [_rate([one.purchases for one in group], seconds[n]) for n, group in enumerate(groups)]
    lines = [_rate([one.lines for one in group], seconds[n]) for n, group in enumerate(groups)]
    top, base = _round_up(max(orders)), SECOND + PANEL
    width, scale = (WIDTH - LEFT - RIGHT) / len(groups), PANEL / (max(lines) or 1)
    label = f"order lines per second, highest {max(lines):,.0f}"
    drawn = [
        _text(LEFT, SECOND - 14, "Purchases per second while open", size=14, weight="bold"),
        _key(LEFT + 330, SECOND - 14, BLUE, "purchases"),
        _key(LEFT + 430, SECOND - 14, GREEN, label),
        *_grid(SECOND, top),
    ]
    for place, rate in enumerate(orders):
        height = rate / top * PANEL
        drawn.append(_bar(LEFT + place * width, base - height, width * 0.9, height, BLUE))
    points = " ".join(
        f"{LEFT + (place + 0.5) * width:.1f},{base - rate * scale:.1f}"
        for place, rate in enumerate(lines)
    )
    drawn.append(f'<polyline points="{points}" fill="none" stroke="{GREEN}" stroke-width="1.5"/>')
    for quarter, anchor in enumerate(("start", "middle", "middle", "middle", "end")):
        x = LEFT + (WIDTH - LEFT - RIGHT) * quarter / 4
        date = days[(len(days) - 1) * quarter // 4].date
        drawn.append(_text(x, base + 18, date, anchor=anchor))
    return drawn


def _rate(counts: Sequence[int], seconds: float) -> float:
    return sum(counts) / seconds


def _grid(top_y: float, most: float) -> list[str]:
    drawn: list[str] = []
    for quarter in range(5):
        y = top_y + PANEL * (1 - quarter / 4)
        drawn += [
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{PALE}"/>',
            _text(LEFT - 8, y + 4, f"{most * quarter / 4:,.4g}", anchor="end"),
        ]
    return drawn


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 5, 8, 10 times a power of ten."""
    power = 1e-3
    while power * 10 < value:
        power *= 10
    return next(power * one for one in (1, 2, 4, 5, 8, 10) if power * one >= value or one == 10)


def _bar(x: float, y: float, width: float, height: float, colour: str) -> str:
    size = f'width="{width:.1f}" height="{height:.1f}"'
    return f'<rect x="{x:.1f}" y="{y:.1f}" {size} fill="{colour}"/>'


def _key(x: float, y: float, colour: str, label: str) -> str:
    return _bar(x, y - 10, 12, 12, colour) + _text(x + 18, y, label)


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: int = 12,
    weight: str = "normal",
    anchor: str = "start",
) -> str:
    style = f'font-size="{size}" font-weight="{weight}" text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'
