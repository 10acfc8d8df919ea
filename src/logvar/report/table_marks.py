"""Small drawings of a report's tables, as inline SVG and HTML: histograms, bars and matrices.

Data are blue areas, samples are orange lines, everywhere.
"""

import html
from collections.abc import Callable, Sequence

import numpy as np

from logvar.report.figures import BLUE, MUTED, ORANGE

_WIDTH, _HEIGHT, _BASE = 280, 104, 84


def legend() -> str:
    """Return the key to data and samples."""
    return (
        "<p class=key><svg width=14 height=12><rect y=2 width=14 height=10 "
        f"fill='{BLUE}' fill-opacity=.45 /></svg> data <svg width=14 height=12><path d='M0 7H14' "
        f"stroke='{ORANGE}' stroke-width=2 /></svg> samples</p>"
    )


def panel(name: str, note: str, body: str) -> str:
    """Return one panel of a grid: the name, a note, and a drawing."""
    name = html.escape(name, quote=True)
    return f"<div class=panel><h3 title='{name}'>{name}</h3><p>{html.escape(note)}</p>{body}</div>"


def panels(bodies: Sequence[str]) -> str:
    return f"<div class=panels>{''.join(bodies)}</div>"


def histogram(data: np.ndarray, samples: np.ndarray, ticks: Sequence[tuple[float, str]]) -> str:
    """Draw two histograms over the same bins.

    Args:
        data: the share of the rows in each bin.
        samples: the same of the samples.
        ticks: (place between 0 and 1, text), on the axis below.
    """
    highest = max(float(data.max()), float(samples.max()), 1e-9)
    x = np.linspace(1, _WIDTH - 1, len(data) + 1)
    left, right = x[:-1], x[1:]

    def steps(shares: np.ndarray) -> str:
        y = _BASE - (_BASE - 4) * shares / highest
        return "".join(
            f"L{a:.1f} {h:.1f}L{b:.1f} {h:.1f}" for a, b, h in zip(left, right, y, strict=True)
        )

    ends = f"M{x[0]:.1f} {_BASE}{{}}L{x[-1]:.1f} {_BASE}"
    parts = [
        f"<path d='{ends.format(steps(data))}Z' fill='{BLUE}' fill-opacity=.45 />",
        f"<path d='{ends.format(steps(samples))}' fill=none stroke='{ORANGE}' stroke-width=1.6 />",
        f"<path d='M0 {_BASE}H{_WIDTH}' stroke='{MUTED}' />",
    ]
    for place, text in ticks:
        at = 1 + place * (_WIDTH - 2)
        anchor = "start" if place < 0.12 else "end" if place > 0.88 else "middle"
        parts.append(
            f"<path d='M{at:.1f} {_BASE}v4' stroke='{MUTED}' />"
            f"<text x={at:.1f} y={_BASE + 16} text-anchor={anchor}>{html.escape(text)}</text>"
        )
    return f"<svg class=mark viewBox='0 0 {_WIDTH} {_HEIGHT}' role=img>{''.join(parts)}</svg>"


def bars(levels: Sequence[tuple[str, float, float]], longest: float | None = None) -> str:
    """Draw a bar for each (name, share in the data, share in the samples).

    Args:
        levels: from top to bottom; a share of NaN is left out.
        longest: the share whose bar takes all of the width; by default the largest.
    """
    shares = [share for _, *both in levels for share in both if not np.isnan(share)]
    whole = longest or max([*shares, 1e-9])
    lines = []
    for name, data, samples in levels:
        mark = "" if np.isnan(samples) else f"<i style='left:{100 * samples / whole:.1f}%'></i>"
        bar = "" if np.isnan(data) else f"<b style='width:{100 * data / whole:.1f}%'></b>"
        text = html.escape(name, quote=True)
        lines.append(
            f"<tr><th title='{text}'><span>{text}</span></th><td class=bar><div>{bar}{mark}</div>"
            f"</td><td>{_percent(data)}</td><td class=samples>{_percent(samples)}</td></tr>"
        )
    return f"<table class=bars>{''.join(lines)}</table>"


def matrix(
    values: np.ndarray, names: Sequence[str], colour: Callable[[float], str], title: str,
    key: Sequence[tuple[float, str]],
) -> str:  # fmt: skip
    """Draw the lower triangle of a symmetric matrix, with names at the left and below.

    Args:
        values: (n, n); NaN is drawn as a dot.
        names: n names, cut to fit.
        colour: the colour of a value.
        title: what is shown.
        key: (value, text) of the colours, from top to bottom.
    """
    n = len(names)
    left, below, size = 112, 104, 330
    pitch = min(30.0, size / max(n - 1, 1))
    font = min(11.0, max(8.5, pitch - 0.6))
    edge = pitch * (n - 1)
    rows, below_names = (
        distinct(names, int(width / (0.6 * font))) for width in (left - 6, below - 4)
    )
    parts = []
    for i in range(1, n):
        y = (i - 1) * pitch
        for j in range(i):
            value, x = values[i, j], left + j * pitch
            if np.isnan(value):
                parts.append(
                    f"<circle cx={x + pitch / 2:.1f} cy={y + pitch / 2:.1f} r=1.2 fill='{MUTED}' />"
                )
                continue
            parts.append(
                f"<rect x={x:.1f} y={y:.1f} width={pitch - 1:.1f} height={pitch - 1:.1f} "
                f"fill='{colour(value)}'><title>{html.escape(names[i])} × {html.escape(names[j])}: "
                f"{signed(value)}</title></rect>"
            )
        parts.append(
            f"<text x={left - 5} y={y + pitch / 2 + font / 3:.1f} text-anchor=end "
            f"style='font-size:{font:.1f}px'>{html.escape(rows[i])}</text>"
        )
    for j in range(n - 1):
        x, y = left + (j + 0.5) * pitch + font / 3, edge + 5
        parts.append(
            f"<text transform='translate({x:.1f} {y:.1f}) rotate(-90)' text-anchor=end "
            f"style='font-size:{font:.1f}px'>{html.escape(below_names[j])}</text>"
        )
    parts.append(_key(key, colour, left + edge))
    return (
        f"<figure><figcaption>{html.escape(title)}</figcaption><svg class=mark viewBox='0 0 "
        f"{left + edge + 6:.0f} {edge + below:.0f}' role=img>{''.join(parts)}</svg></figure>"
    )


def _key(key: Sequence[tuple[float, str]], colour: Callable[[float], str], right: float) -> str:
    lines = []
    for i, (value, text) in enumerate(key):
        y = i * 13
        lines.append(
            f"<rect x={right - 16:.0f} y={y} width=12 height=12 fill='{colour(value)}' />"
            f"<text x={right - 21:.0f} y={y + 10} text-anchor=end>{text}</text>"
        )
    return "".join(lines)


def diverging(limit: float) -> Callable[[float], str]:
    """Return colours from orange at −limit through white to blue at +limit."""
    low, middle, high = (_rgb(code) for code in (ORANGE, "#f6f6f4", BLUE))

    def colour(value: float) -> str:
        share = float(np.clip(value / limit, -1, 1))
        end = high if share > 0 else low
        mixed = middle + abs(share) * (end - middle)
        return "#" + "".join(f"{round(c):02x}" for c in mixed)

    return colour


def signed(value: float) -> str:
    """Format an association or a difference of two."""
    if np.isnan(value):
        return "–"
    return f"{value:+.2f}".replace("-", "−") if abs(value) >= 0.005 else "0.00"


def words(head: Sequence[str], lines: Sequence[Sequence[str]], right: int = 99) -> str:
    """Return a table of texts; columns from number `right` on are numbers."""

    def cells(values: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=right' if i >= right else ''}>{html.escape(v)}</{tag}>"
            for i, v in enumerate(values)
        )

    body = "".join(f"<tr>{cells(line, 'td')}</tr>" for line in lines)
    return f"<div class=wide><table class=words><tr>{cells(head, 'th')}</tr>{body}</table></div>"


def _percent(share: float) -> str:
    if np.isnan(share):
        return ""
    return f"{100 * share:.0f}%" if share >= 0.0995 or not share else f"{100 * share:.1f}%"


def cut(text: str, at_most: int) -> str:
    """Shorten a text; long names often differ at their ends, so the middle goes."""
    if len(text) <= at_most:
        return text
    tail = (at_most - 1) // 3
    return f"{text[: at_most - 1 - tail].rstrip()}…{text[len(text) - tail :].lstrip()}"


def distinct(names: Sequence[str], at_most: int) -> list[str]:
    """Shorten texts so that those which begin and end alike keep what tells them apart.

    Example:
        >>> distinct(["income of person 1 in 2020", "income of person 2 in 2020", "age"], 12)
        ['income…1…', 'income…2…', 'age']
    """
    found = [cut(name, at_most) for name in names]
    groups: dict[str, set[str]] = {}
    for name, short in zip(names, found, strict=True):
        groups.setdefault(short, set()).add(name)
    for i, name in enumerate(names):
        alike = groups[found[i]]
        if len(alike) == 1:
            continue
        start = _alike(list(alike))
        ends = _alike([other[start:][::-1] for other in alike])
        own = name[start : len(name) - ends][: max(1, at_most - 3)]
        head = name[: max(0, min(start, at_most // 2, at_most - 2 - len(own)))].rstrip()
        found[i] = f"{head}…{own}{'…' if ends else ''}"
    return found


def _alike(texts: Sequence[str]) -> int:
    """How many characters all texts begin with."""
    first, last = min(texts), max(texts)
    pairs = enumerate(zip(first, last, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(first), len(last)))


def _rgb(code: str) -> np.ndarray:
    return np.array([int(code[i : i + 2], 16) for i in (1, 3, 5)], float)
