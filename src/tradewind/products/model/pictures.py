"""Pictures of the demo catalogue, drawn; one rule: the same name is the same picture for ever.

A name is `motif-number`. The number chooses colours and small differences; nothing else goes in, so
nothing that anybody typed can come out.
"""

import hashlib
import re
from collections.abc import Callable

_NAME = re.compile(r"([a-z]{3,12})-(\d{1,4})\.svg", re.ASCII)
_PALETTES = (
    ("#f6efe4", "#e8d5b7", "#b5533c", "#e9a178", "#4a3328"),
    ("#e7f0ee", "#bcd8d2", "#2f6f73", "#8cc5b8", "#1d3b40"),
    ("#f4ecf7", "#d9c6e4", "#6b4a8e", "#c39bd3", "#36234a"),
    ("#fdf3e1", "#f8d9a0", "#c97b12", "#f2b84b", "#5b3a0a"),
    ("#eaf0fa", "#c3d3ee", "#35558f", "#9db8e3", "#1c2c4d"),
    ("#eef4e6", "#cfe0b5", "#55783a", "#a9c77f", "#2c3f1d"),
    ("#faeaea", "#f0c3c3", "#a63a50", "#e39aa8", "#4f1a27"),
    ("#f0f0ee", "#d5d5cf", "#4d4d4d", "#a8a49a", "#262626"),
)


class _Dice:
    """Numbers that follow from a name."""

    def __init__(self, name: str) -> None:
        self._bytes = iter(hashlib.blake2b(name.encode(), digest_size=64).digest())

    def upto(self, most: int) -> int:
        """From 0 to `most`."""
        return next(self._bytes) % (most + 1)


def _mug(dice: _Dice) -> str:
    width = 190 + dice.upto(40)
    left = 290 - width // 2
    return (
        f'<path d="M{left + width - 12} 250q110 -10 100 75t-112 85" class="s" stroke-width="26"/>'
        f'<rect x="{left}" y="200" width="{width}" height="250" rx="26" class="m"/>'
        f'<rect x="{left}" y="{270 + dice.upto(60)}" width="{width}" height="46" class="a"/>'
        f'<ellipse cx="290" cy="206" rx="{width // 2}" ry="24" class="d"/>'
        '<path d="M250 160q-18 -28 0 -54t0 -50M320 160q-18 -28 0 -54t0 -50" class="l"/>'
    )


def _kettle(dice: _Dice) -> str:
    return (
        f'<path d="M180 450q-20 -{190 + dice.upto(40)} 120 -200t120 200z" class="m"/>'
        '<path d="M196 330q-70 -10 -86 -80q60 -6 104 40z" class="m"/>'
        '<path d="M220 262q80 -150 160 0" class="l" stroke-width="22"/>'
        '<rect x="272" y="232" width="56" height="24" rx="10" class="d"/>'
        f'<rect x="180" y="{400 + dice.upto(20)}" width="240" height="18" class="a"/>'
    )


def _teapot(dice: _Dice) -> str:
    return (
        '<path d="M400 300q110 -20 90 70t-100 50" class="l" stroke-width="24"/>'
        '<path d="M190 330q-60 -20 -80 -90q50 0 110 60z" class="m"/>'
        f'<ellipse cx="300" cy="350" rx="{130 + dice.upto(20)}" ry="105" class="m"/>'
        '<ellipse cx="300" cy="262" rx="70" ry="20" class="a"/>'
        '<circle cx="300" cy="238" r="18" class="d"/>'
    )


def _lamp(dice: _Dice) -> str:
    top = 60 + dice.upto(40)
    return (
        f'<circle cx="300" cy="300" r="190" class="a" opacity=".35"/>'
        f'<path d="M{300 - top} 150h{2 * top}l70 150h-{2 * top + 140}z" class="m"/>'
        '<rect x="290" y="300" width="20" height="160" class="d"/>'
        '<ellipse cx="300" cy="462" rx="80" ry="18" class="d"/>'
    )


def _candle(dice: _Dice) -> str:
    height = 150 + dice.upto(80)
    return (
        f'<circle cx="300" cy="{410 - height}" r="120" class="a" opacity=".4"/>'
        f'<rect x="245" y="{450 - height}" width="110" height="{height}" rx="14" class="m"/>'
        f'<path d="M300 {450 - height}v-26" class="l"/>'
        f'<path d="M300 {360 - height}q34 44 0 66q-34 -22 0 -66z" class="a"/>'
        '<ellipse cx="300" cy="458" rx="110" ry="18" class="d"/>'
    )


def _plant(dice: _Dice) -> str:
    leaves = "".join(
        f'<ellipse cx="300" cy="210" rx="34" ry="{96 + dice.upto(30)}" class="{shade}" '
        f'transform="rotate({angle} 300 320)"/>'
        for angle, shade in ((-58, "a"), (52, "a"), (-28, "m"), (26, "m"), (0, "a"))
    )
    return leaves + '<path d="M220 330h160l-22 130h-116z" class="d"/>'


def _book(dice: _Dice) -> str:
    lean = dice.upto(10) - 5
    return (
        f'<g transform="rotate({lean} 300 320)"><rect x="200" y="160" width="210" height="300" '
        'rx="10" class="m"/><rect x="200" y="160" width="34" height="300" class="d"/>'
        '<rect x="262" y="210" width="120" height="60" rx="6" class="a"/>'
        '<path d="M262 310h120M262 336h80" class="l" stroke-width="8"/></g>'
    )


def _clock(dice: _Dice) -> str:
    return (
        '<circle cx="300" cy="310" r="150" class="m"/><circle cx="300" cy="310" r="122" class="b"/>'
        f'<path d="M300 310v-88" class="l" transform="rotate({dice.upto(11) * 30} 300 310)"/>'
        f'<path d="M300 310v-58" class="l" transform="rotate({dice.upto(59) * 6} 300 310)"/>'
        '<circle cx="300" cy="310" r="12" class="a"/>'
    )


def _bag(dice: _Dice) -> str:
    return (
        '<path d="M230 250q0 -110 70 -110t70 110" class="l" stroke-width="20"/>'
        '<path d="M180 240h240l26 220h-292z" class="m"/>'
        f'<rect x="{220 + dice.upto(20)}" y="320" width="{130 + dice.upto(20)}" height="80" '
        'rx="12" class="a"/>'
    )


def _blanket(dice: _Dice) -> str:
    stripes = "".join(
        f'<rect x="170" y="{220 + 46 * place}" width="260" height="{12 + dice.upto(16)}" '
        'class="a"/>'
        for place in range(5)
    )
    return f'<rect x="170" y="190" width="260" height="270" rx="34" class="m"/>{stripes}'


def _chair(dice: _Dice) -> str:
    return (
        f'<rect x="210" y="140" width="180" height="{150 + dice.upto(20)}" rx="30" class="a"/>'
        '<rect x="196" y="300" width="208" height="44" rx="18" class="m"/>'
        '<path d="M220 344l-16 116M380 344l16 116" class="l" stroke-width="16"/>'
    )


def _knife(dice: _Dice) -> str:
    return (
        f'<g transform="rotate({30 + dice.upto(20)} 300 300)">'
        '<path d="M276 90q60 70 50 220h-50z" class="a"/>'
        '<rect x="272" y="310" width="56" height="160" rx="20" class="m"/>'
        '<circle cx="300" cy="350" r="7" class="b"/><circle cx="300" cy="420" r="7" class="b"/></g>'
    )


def _soap(dice: _Dice) -> str:
    bubbles = "".join(
        f'<circle cx="{210 + 60 * place}" cy="{180 + dice.upto(60)}" r="{14 + dice.upto(22)}" '
        'class="b" opacity=".8"/>'
        for place in range(4)
    )
    return (
        f'<rect x="170" y="290" width="260" height="140" rx="{50 + dice.upto(20)}" class="m"/>'
        f'<rect x="215" y="330" width="170" height="60" rx="30" class="a"/>{bubbles}'
    )


def _puzzle(dice: _Dice) -> str:
    return "".join(
        f'<rect x="{190 + 76 * (place % 3)}" y="{210 + 76 * (place // 3)}" width="68" height="68" '
        f'rx="12" class="{"mad"[dice.upto(2)]}"/>'
        for place in range(9)
    )


_MOTIFS: dict[str, Callable[[_Dice], str]] = {
    "bag": _bag,
    "blanket": _blanket,
    "book": _book,
    "candle": _candle,
    "chair": _chair,
    "clock": _clock,
    "kettle": _kettle,
    "knife": _knife,
    "lamp": _lamp,
    "mug": _mug,
    "plant": _plant,
    "puzzle": _puzzle,
    "soap": _soap,
    "teapot": _teapot,
}


def drawn(name: str) -> str | None:
    """The SVG of a name such as `mug-7.svg`; None where there is no such picture."""
    matched = _NAME.fullmatch(name)
    if matched is None or matched[1] not in _MOTIFS:
        return None
    dice = _Dice(name)
    light, ground, main, accent, dark = _PALETTES[int(matched[2]) % len(_PALETTES)]
    sun = f'<circle cx="{120 + dice.upto(120)}" cy="{110 + dice.upto(50)}" r="70" class="b"/>'
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 600 600" role="img">'
        "<style>svg{stroke-width:12;stroke-linecap:round}.b{fill:#fff}.l,.s{fill:none}"
        f".m{{fill:{main}}}.a{{fill:{accent}}}.d{{fill:{dark}}}"
        f".l{{stroke:{dark}}}.s{{stroke:{main}}}</style>"
        f'<rect width="600" height="600" fill="{light}"/>{sun}'
        f'<path d="M0 430q150 -{20 + dice.upto(40)} 300 0t300 0v170h-600z" fill="{ground}"/>'
        f'<ellipse cx="300" cy="474" rx="170" ry="22" fill="{dark}" opacity=".18"/>'
        f"{_MOTIFS[matched[1]](dice)}</svg>"
    )
