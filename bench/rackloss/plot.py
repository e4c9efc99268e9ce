"""The chunks with one, and with two, live copies over time, as an SVG of its own."""

from __future__ import annotations

from collections.abc import Sequence

from bench.rackloss.model import Samples

WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 80, 20, 40, 50
POINTS = 300


def plot(found: Samples, chunks: int) -> str:
    """The document."""
    last = max(found.at[-1], 1.0)
    most = max(found.short[0], 1)
    step = max(1, len(found.at) // POINTS)
    rows = list(zip(found.at, found.single, found.short, strict=True))[::step] + [(last, 0, found.short[-1])]
    short = _line([(at, short) for at, _, short in rows], last, most)
    single = _line([(at, single) for at, single, _ in rows], last, most)
    title = f"A rack of 25 among 1,000 chunk servers dies: {chunks:,} chunks, {most:,} short of a copy"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif"'
            ' font-size="12">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
            f'<text x="{LEFT}" y="22" font-size="14">{title}</text>',
            *_axes(last, most),
            f'<polyline points="{short}" fill="none" stroke="#3366aa" stroke-width="2"/>',
            f'<polyline points="{single}" fill="none" stroke="#cc3333" stroke-width="2"/>',
            f'<text x="{WIDTH - 250}" y="{TOP + 20}" fill="#3366aa">short of copies</text>',
            f'<text x="{WIDTH - 250}" y="{TOP + 38}" fill="#cc3333">of these, with one live copy:'
            f" safe after {found.single_safe:.0f} s</text>",
            "</svg>",
            "",
        ]
    )


def _place(at: float, value: float, last: float, most: float) -> tuple[float, float]:
    across, down = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    return LEFT + across * at / last, TOP + down * (1 - value / most)


def _line(rows: Sequence[tuple[float, float]], last: float, most: float) -> str:
    return " ".join("{:.1f},{:.1f}".format(*_place(at, value, last, most)) for at, value in rows)


def _axes(last: float, most: float) -> list[str]:
    parts = []
    for part in range(5):
        x, bottom = _place(last * part / 4, 0, last, most)
        parts.append(f'<text x="{x:.0f}" y="{bottom + 18:.0f}" text-anchor="middle">{last * part / 4:.0f} s</text>')
        left, y = _place(0, most * part / 4, last, most)
        parts.append(f'<text x="{left - 6:.0f}" y="{y + 4:.0f}" text-anchor="end">{most * part / 4:,.0f}</text>')
        parts.append(f'<path d="M{left:.0f} {y:.0f}H{WIDTH - RIGHT}" stroke="#dddddd"/>')
    label = "since the rack was declared dead"
    parts.append(f'<text x="{WIDTH // 2}" y="{HEIGHT - 8}" text-anchor="middle">{label}</text>')
    return parts
