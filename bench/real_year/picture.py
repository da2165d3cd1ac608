"""The picture of a run; one rule: plain SVG, written here, that any browser shows."""

from collections.abc import Mapping, Sequence
from html import escape

from bench.real_year.figures import Figures
from bench.real_year.trading import Purchase

WIDTH, HEIGHT = 960, 720
LEFT, RIGHT, PANEL = 70, 20, 220
FIRST, SECOND = 110, 430
"""Where the two panels begin."""
BUCKETS = 120
INK, PALE, BLUE, RED, GREEN = "#1f2933", "#d9e2ec", "#3e7cb1", "#d1495b", "#2a9d8f"


def draw(
    title: str,
    months: Mapping[str, Figures],
    purchases: Sequence[Purchase],
    began: float,
    note: str,
) -> str:
    """Revenue per month above, purchases per second over the replay below."""
    inside = [
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, 36, title, size=20, weight="bold"),
        _text(LEFT, 60, note, size=13),
        *_revenue(months),
        *_throughput(purchases, began),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" font-family="system-ui, sans-serif" fill="{INK}">\n'
        + "\n".join(inside)
        + "\n</svg>\n"
    )


def _revenue(months: Mapping[str, Figures]) -> list[str]:
    most = max((one.revenue_minor for one in months.values()), default=1) or 1
    top, step = _round_up(most / 100_000), (WIDTH - LEFT - RIGHT) / max(len(months), 1)
    drawn = [
        _text(LEFT, FIRST - 14, "Revenue per month, thousand pounds", size=14, weight="bold"),
        _key(LEFT + 330, FIRST - 14, BLUE, "sold"),
        _key(LEFT + 400, FIRST - 14, RED, "of it cancelled and refunded in that month"),
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


def _throughput(purchases: Sequence[Purchase], began: float) -> list[str]:
    last = max((one.at for one in purchases), default=began)
    bucket = max((last - began) / BUCKETS, 1e-9)
    orders, lines = [0] * (BUCKETS + 1), [0] * (BUCKETS + 1)
    for one in purchases:
        place = int((one.at - began) / bucket)
        orders[place] += 1
        lines[place] += one.lines
    most = max(orders) / bucket
    top, base = _round_up(most), SECOND + PANEL
    width = (WIDTH - LEFT - RIGHT) / (BUCKETS + 1)
    many = max(lines) / bucket
    drawn = [
        _text(LEFT, SECOND - 14, "Purchases per second over the replay", size=14, weight="bold"),
        _key(LEFT + 330, SECOND - 14, BLUE, "purchases"),
        _key(LEFT + 430, SECOND - 14, GREEN, f"order lines (highest: {many:,.0f} per second)"),
        *_grid(SECOND, top),
    ]
    for place, count in enumerate(orders):
        height = count / bucket / top * PANEL
        drawn.append(_bar(LEFT + place * width, base - height, width * 0.9, height, BLUE))
    scale = PANEL / (max(lines) or 1)
    points = " ".join(
        f"{LEFT + (place + 0.5) * width:.1f},{base - count * scale:.1f}"
        for place, count in enumerate(lines)
    )
    drawn.append(f'<polyline points="{points}" fill="none" stroke="{GREEN}" stroke-width="1.5"/>')
    minutes = (last - began) / 60
    for quarter in range(5):
        x = LEFT + (WIDTH - LEFT - RIGHT) * quarter / 4
        anchor = ("start", "middle", "middle", "middle", "end")[quarter]
        drawn.append(_text(x, base + 18, f"{minutes * quarter / 4:.1f} min", anchor=anchor))
    return drawn


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
