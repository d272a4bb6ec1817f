"""Curves as SVG: both axes logarithmic, legible on a light and on a dark page."""
import math
from html import escape

from .curves import count
from .table import figure

WIDTH, HEIGHT = 720, 440
LEFT, RIGHT, TOP, BOTTOM = 86, 160, 56, 62
STYLE = """
  svg { background: #ffffff; font: 13px system-ui, 'DejaVu Sans', sans-serif; }
  text { fill: #1f2937; } .muted { fill: #6b7280; } .title { font-size: 16px; font-weight: 600; }
  .grid { stroke: #e5e7eb; } .axis { stroke: #9ca3af; }
  .line { fill: none; stroke-width: 2; } .s0 { stroke: #6b7280; } .s1 { stroke: #2563eb; } .s2 { stroke: #c2410c; }
  .s3 { stroke: #15803d; }
  .dot { stroke-width: 2; fill: #ffffff; }
  @media (prefers-color-scheme: dark) {
    svg { background: #111827; } .dot { fill: #111827; }
    text { fill: #f3f4f6; } .muted { fill: #9ca3af; } .grid { stroke: #1f2937; } .axis { stroke: #6b7280; }
    .s0 { stroke: #9ca3af; } .s1 { stroke: #60a5fa; } .s2 { stroke: #fb923c; }
    .s3 { stroke: #4ade80; }
  }
"""


class Axis:
    """A logarithmic axis from pixel `start` to `end`."""

    def __init__(self, values, start, end, ticks):
        self.start, self.end = start, end
        self.ticks = ticks(min(values), max(values))
        self.low, self.high = math.log(self.ticks[0]), math.log(self.ticks[-1])

    def __call__(self, value):
        return self.start + (math.log(value) - self.low) / (self.high - self.low) * (self.end - self.start)


def decades(low, high):
    """Ticks around values: at powers of ten, and at 2 and 5 times these where there are few."""
    for steps in ((1, 2, 5), (1,)):
        all_ticks = [step * 10.0**e for e in range(-8, 14) for step in steps]
        first = max(i for i, tick in enumerate(all_ticks) if tick <= low)
        last = min(i for i, tick in enumerate(all_ticks) if tick >= high)
        ticks = all_ticks[first:max(last, first + 2) + 1]
        if len(ticks) <= 7:
            break
    return ticks


def at_points(points):
    """Ticks at the sizes that were measured, which need not be round."""
    return lambda low, high: points if len(points) > 1 else [low / 2, low, low * 2]


def svg(curve):
    xs = sorted({x for points in curve.series.values() for x, _ in points})
    ys = [y for points in curve.series.values() for _, y in points]
    across = Axis(xs, LEFT, WIDTH - RIGHT, at_points(xs))
    up = Axis(ys, HEIGHT - BOTTOM, TOP, decades)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
             f'height="{HEIGHT}" role="img"><title>{escape(curve.title)}, by {escape(curve.x)}</title><style>{STYLE}</style>',
             text(LEFT, 28, curve.title, "title")]
    parts += grid(across, up, curve)
    parts += [series for colour, _, points in ordered(curve) for series in line(colour, points, across, up)]
    parts += labels([(colour, name, up(points[-1][1])) for colour, name, points in ordered(curve)], across(xs[-1]) + 12)
    return "\n".join([*parts, "</svg>\n"])


def ordered(curve):
    """The series with their colours: grey is the baseline's."""
    first = 0 if "ext4" in next(iter(curve.series)) else 1
    return [(colour, name, points) for colour, (name, points) in enumerate(curve.series.items(), first)]


def grid(across, up, curve):
    for x in across.ticks:
        yield f'<line class="grid" x1="{across(x):.1f}" x2="{across(x):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        yield text(across(x), HEIGHT - BOTTOM + 20, count(x, curve.x_unit), "muted", "middle")
    for y in up.ticks:
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up(y):.1f}" y2="{up(y):.1f}"/>'
        yield text(LEFT - 10, up(y) + 4, figure(y, curve.unit), "muted", "end")
    corner = f"M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"
    yield f'<path class="axis" fill="none" d="{corner}"/>'
    yield text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 16, f"{curve.x} (both axes are logarithmic)", "", "middle")


def line(colour, points, across, up):
    places = [(across(x), up(y)) for x, y in points]
    yield f'<path class="line s{colour}" d="M{" L".join(f"{x:.1f} {y:.1f}" for x, y in places)}"/>'
    for x, y in places:
        yield f'<circle class="dot s{colour}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'


def labels(names, x):
    """Names of the series beside their ends, moved apart where they would overlap."""
    below = -math.inf
    for colour, name, y in sorted(names, key=lambda entry: entry[2]):
        below = y = max(y, below + 20)
        yield f'<line class="line s{colour}" x1="{x:.1f}" x2="{x + 18:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield text(x + 24, y + 4, name)


def text(x, y, words, kind="", anchor="start"):
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def draw_all(curves, directory):
    directory.mkdir(parents=True, exist_ok=True)
    for curve in curves:
        (directory / f"{curve.id.replace('.', '-')}.svg").write_text(svg(curve))
