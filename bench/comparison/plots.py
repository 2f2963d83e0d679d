"""Line plots as SVG, written by hand: axes, ticks, labels, a legend, logarithmic where asked. No library needed."""

import math
from html import escape

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 78, 150, 52, 62
FONT = "font-family=\"'DejaVu Sans',Verdana,Helvetica,Arial,sans-serif\""
# Colours that stay apart for the colour-blind (Okabe and Ito), and a shape each for print.
LOOKS = {
    "Sallyport": ("#0072B2", "circle"), "HAProxy": ("#D55E00", "square"), "nginx": ("#009E73", "triangle"),
    "hitch": ("#CC79A7", "diamond"), "Mosquitto": ("#8C6D1F", "cross"), "no proxy, no TLS": ("#7F7F7F", "circle"),
    "known devices": ("#0072B2", "circle"), "first connections": ("#D55E00", "square"),
    "registrations": ("#D55E00", "square"), "both at once": ("#009E73", "triangle"),
}


def number(value):
    """A tick as people write it."""
    if value >= 1e6:
        return f"{value / 1e6:g} M"
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:g}"


def linear_ticks(top):
    """From zero to just above `top`, in four to eight round steps."""
    rough = top / 5
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * each for each in (1, 2, 2.5, 5, 10) if power * each >= rough)
    return [step * i for i in range(math.ceil(top / step) + 1)]


def log_ticks(low, high):
    """Powers of ten around the data; and steps between them, more where they are few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    last = max(last, first + 1)
    steps = (1, 2, 5) if last - first <= 3 else (1, 3) if last - first <= 5 else (1,)
    places = [step * 10.0 ** power for power in range(first, last + 1) for step in steps]
    return [each for i, each in enumerate(places) if i + 1 == len(places) or places[i + 1] > low]


class Axis:
    """Maps values to pixels and knows its ticks; `ticks` given: these, with their labels."""

    def __init__(self, values, start, end, log=False, ticks=None):
        self.log = log
        self._start, self._end = start, end
        if ticks:
            self.ticks = ticks
            self._low, self._high = self._at(ticks[0][0]), self._at(ticks[-1][0])
        else:
            places = log_ticks(min(values), max(values)) if log else linear_ticks(max(values) * 1.05)
            self.ticks = [(each, number(each)) for each in places]
            self._low, self._high = self._at(places[0]), self._at(places[-1])
            if log:
                self._high = max(self._at(max(values)), self._low + 1e-9)

    def _at(self, value):
        return math.log10(value) if self.log else value

    def pixel(self, value):
        share = (self._at(value) - self._low) / (self._high - self._low)
        return self._start + share * (self._end - self._start)

    def shown(self):
        return [(value, label) for value, label in self.ticks if self._at(value) <= self._high + 1e-9]


def marker(shape, x, y, colour):
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
    if shape == "cross":
        return (f'<path d="M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8" stroke="{colour}" stroke-width="2.2" '
                'fill="none"/>')
    path = {"square": f"M{x - 4:.1f} {y - 4:.1f}h8v8h-8z", "triangle": f"M{x:.1f} {y - 5:.1f}l5 9h-10z",
            "diamond": f"M{x:.1f} {y - 5.5:.1f}l5.5 5.5l-5.5 5.5l-5.5 -5.5z"}[shape]
    return f'<path d="{path}" fill="{colour}"/>'


def text(x, y, words, size=12, anchor="middle", colour="#333", more=""):
    return (f'<text x="{x:.1f}" y="{y:.1f}" {FONT} font-size="{size}" text-anchor="{anchor}" fill="{colour}" {more}>'
            f"{escape(words)}</text>")


def line_plot(title, x_label, y_label, series, *, log_x=True, log_y=False, x_ticks=None):
    """`series`: {name: [(x, y), ...]}. Returns the SVG, or None where there is nothing to show."""
    series = {name: [point for point in points if point[1] is not None] for name, points in series.items()}
    series = {name: points for name, points in series.items() if points}
    if not series:
        return None
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    every_y = [y for points in series.values() for _, y in points]
    x_axis = Axis([x for points in series.values() for x, _ in points], LEFT + 14, right - 10, log_x, x_ticks)
    y_axis = Axis(every_y, bottom, TOP, log_y)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
           f'height="{HEIGHT}" role="img">',
           f"<title>{escape(title)}</title>", f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
           text(LEFT, 28, title, 15, "start", "#111", 'font-weight="bold"')]
    for value, label in y_axis.shown():
        y = y_axis.pixel(value)
        out.append(f'<path d="M{LEFT} {y:.1f}H{right}" stroke="#e3e3e3"/>')
        out.append(text(LEFT - 8, y + 4, label, anchor="end"))
    for value, label in x_axis.shown():
        x = x_axis.pixel(value)
        out.append(f'<path d="M{x:.1f} {bottom}v6" stroke="#555"/>')
        out.append(text(x, bottom + 21, label))
    out.append(f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="#555"/>')
    out.append(text((LEFT + right) / 2, HEIGHT - 16, x_label, 13))
    middle = (TOP + bottom) / 2
    out.append(text(20, middle, y_label, 13, more=f'transform="rotate(-90 20 {middle:.0f})"'))
    for row, (name, points) in enumerate(series.items()):
        colour, shape = LOOKS.get(name, ("#444", "circle"))
        places = [(x_axis.pixel(x), y_axis.pixel(y)) for x, y in sorted(points)]
        wide = 3 if name == "Sallyport" else 1.8
        out.append(f'<path d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in places)}" fill="none" stroke="{colour}" '
                   f'stroke-width="{wide}" stroke-linejoin="round"/>')
        out += [marker(shape, x, y, colour) for x, y in places]
        legend_y = TOP + 14 + 22 * row
        out.append(f'<path d="M{right + 16} {legend_y}h26" stroke="{colour}" stroke-width="{wide}"/>')
        out.append(marker(shape, right + 29, legend_y, colour))
        out.append(text(right + 48, legend_y + 4, name, anchor="start"))
    out.append("</svg>")
    return "\n".join(out) + "\n"


def percentile_plot(title, y_label, latencies):
    """`latencies`: {name: load's "latency_us"}; the axis gives each further nine the same room."""
    wanted = (("p50", 0.5, "50 %"), ("p90", 0.9, "90 %"), ("p99", 0.99, "99 %"), ("p999", 0.999, "99.9 %"))
    ticks = [(1 / (1 - share), label) for _, share, label in wanted]
    series = {name: [(1 / (1 - share), found.get(key)) for key, share, _ in wanted]
              for name, found in latencies.items()}
    return line_plot(title, "percentile of the round trips, from when each was due", y_label, series, log_y=True,
                     x_ticks=ticks)
