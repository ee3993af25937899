"""The equity curve as a picture: SVG in a page of its own, without a script or a file beside it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from html import escape

from torghut_core.rfc3339 import format_ns
from torghut_core.trading.money.statement import Point

_WIDTH, _HEIGHT, _MARGIN = 960, 420, 70
_STEPS = 4


def curve_html(curve: Sequence[Point], *, title: str) -> str:
    """Return an HTML page with the curve; without a point it says so."""
    body = _svg(curve) if curve else "<p>no trade in these days</p>"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>body{{font:14px sans-serif;margin:2em}}svg{{max-width:100%}}</style>"
        f"</head><body><h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def _svg(curve: Sequence[Point]) -> str:
    low, high = min(point.equity for point in curve), max(point.equity for point in curve)
    span = float(high - low) or 1.0
    first, last = curve[0].at_ns, curve[-1].at_ns
    seconds = (last - first) or 1

    def x(at_ns: int) -> float:
        return _MARGIN + (at_ns - first) / seconds * (_WIDTH - 2 * _MARGIN)

    def y(equity: Decimal) -> float:
        return _HEIGHT - _MARGIN / 2 - float(equity - low) / span * (_HEIGHT - _MARGIN)

    points = " ".join(f"{x(point.at_ns):.1f},{y(point.equity):.1f}" for point in curve)
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="equity, dollars">']
    for step in range(_STEPS + 1):
        value = low + (high - low) * step / _STEPS
        at = y(value)
        parts.append(f'<line x1="{_MARGIN}" x2="{_WIDTH - _MARGIN}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{_MARGIN - 8}" y="{at + 4:.1f}" text-anchor="end">{value:.2f}</text>')
    parts.append(f'<polyline points="{points}" fill="none" stroke="#1565c0" stroke-width="2"/>')
    parts.append(f'<text x="{_MARGIN}" y="{_HEIGHT - 6}">{format_ns(first)}</text>')
    parts.append(f'<text x="{_WIDTH - _MARGIN}" y="{_HEIGHT - 6}" text-anchor="end">{format_ns(last)}</text></svg>')
    return "\n".join(parts)
