"""Small drawings for the page, as SVG and HTML: what is seen, the time curve, keys, notes, costs.

Whatever a visitor wrote is escaped here, not by the callers.
"""

from collections.abc import Sequence
from html import escape

from ..job.plan import Estimate, duration
from .editing import Design
from .preview import HOLE_COLOR, STRETCHED_COLOR, FrameShares

SEEN_COLOR = (88, 172, 104)
_WIDTH = 400


def _css(color: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def shares_bar(shares: FrameShares | None, frame: int, height: int = 34) -> str:
    """Per frame how much is seen, stretched and a hole, and a mark at the frame on show."""
    if shares is None:
        return f'<div style="height:{height + 22}px"></div>'
    seen, holes = shares.seen.tolist(), shares.holes.tolist()
    step = _WIDTH / len(seen)
    # Holes are on top, so that their lower edge reads as a curve.
    areas = [
        _area([1.0] * len(seen), step, height, HOLE_COLOR),
        _area([1 - share for share in holes], step, height, STRETCHED_COLOR),
        _area(seen, step, height, SEEN_COLOR),
    ]
    mark = (frame + 0.5) * step
    legend = "".join(
        f'<span style="color:{_css(color)}">&#9632;</span> {word} {float(part.mean()):.0%} &nbsp; '
        for word, part, color in (
            ("seen", shares.seen, SEEN_COLOR),
            ("stretched", shares.stretched, STRETCHED_COLOR),
            ("holes", shares.holes, HOLE_COLOR),
        )
    )
    return (
        f'<div class="shares" style="padding:2px 12px"><svg viewBox="0 0 {_WIDTH} {height}" '
        f'preserveAspectRatio="none" style="width:100%;height:{height}px;display:block;'
        f'border-radius:4px">{"".join(areas)}<rect x="{mark - 1:.1f}" y="0" width="2" '
        f'height="{height}" fill="#fff" stroke="#000" stroke-width="0.4"/></svg>'
        f'<div style="font-size:12px;padding-top:3px">{legend}</div></div>'
    )


def _area(shares: Sequence[float], step: float, height: int, color: tuple[int, int, int]) -> str:
    """Everything below a curve of steps."""
    points = []
    for i, share in enumerate(shares):
        y = (1 - share) * height
        points += [f"{i * step:.1f},{y:.1f}", f"{(i + 1) * step:.1f},{y:.1f}"]
    ends = f"0,{height}", f"{len(shares) * step:.1f},{height}"
    return f'<polygon points="{ends[0]} {" ".join(points)} {ends[1]}" fill="{_css(color)}"/>'


def time_curve(
    shown: Sequence[int], last: int, points: Sequence[tuple[int, int]], frame: int
) -> str:
    """Which source frame (up) each output frame (right) shows."""
    width, height, edge = _WIDTH, 130, 8
    frames = len(shown)

    def place(i: float, value: float) -> str:
        x = edge + (width - 2 * edge) * i / max(frames - 1, 1)
        y = height - edge - (height - 2 * edge) * value / max(last, 1)
        return f"{x:.1f},{y:.1f}"

    line = " ".join(place(i, value) for i, value in enumerate(shown))
    plain = f"{place(0, 0)} {place(frames - 1, last)}"
    dots = "".join(
        '<circle cx="{}" cy="{}" r="5" fill="#4696ff"/>'.format(*place(*point).split(","))
        for point in points
    )
    x, y = place(frame, shown[frame]).split(",")
    return (
        f'<div style="padding:2px 12px"><svg viewBox="0 0 {width} {height}" class="time" style='
        '"width:100%;display:block;background:rgba(128,128,128,.15);border-radius:4px">'
        f'<polyline points="{plain}" fill="none" stroke="gray" stroke-dasharray="4 4"/>'
        f'<polyline points="{line}" fill="none" stroke="#ff9628" stroke-width="2.5"/>{dots}'
        f'<circle cx="{x}" cy="{y}" r="4" fill="#fff" stroke="#000"/></svg>'
        '<div style="font-size:12px">right: output frame, up: source frame; dashed: as filmed'
        "</div></div>"
    )


def key_table(design: Design, selected: int | None) -> str:
    """One row per key."""
    if design.kind != "keys" or not design.keys:
        return (
            '<div style="padding:2px 12px;font-size:13px;opacity:.8">No keys yet: move the view, '
            "choose a frame on the timeline, and capture.</div>"
        )
    rows = []
    for key in design.keys:
        style = "background:rgba(90,220,120,.25)" if key.frame == selected else ""
        moment = "" if key.source_frame is None else str(key.source_frame)
        cells = (
            key.frame,
            f"{round(key.azimuth_deg)}°",
            f"{round(key.elevation_deg)}°",
            f"{round(key.roll_deg)}°",
            f"{round(key.dolly, 2) + 0.0:+.2f}",
            f"{key.zoom:.2f}",
            moment if design.time.kind == "keys" else "",
        )
        row = "".join(f'<td style="padding:1px 6px">{cell}</td>' for cell in cells)
        rows.append(f'<tr style="{style}">{row}</tr>')
    names = ("frame", "azim.", "elev.", "roll", "dolly", "zoom", "shows")
    head = "".join(f'<th style="padding:1px 6px;font-weight:500">{n}</th>' for n in names)
    return (
        '<div style="padding:2px 8px"><table class="keys" style="font-size:12px;width:100%;'
        f'text-align:right;border-collapse:collapse"><tr style="opacity:.7">{head}</tr>'
        f"{''.join(rows)}</table></div>"
    )


def notes(warnings: Sequence[str]) -> str:
    """One line per warning, or that there are none."""
    if not warnings:
        lines = '<div style="opacity:.75">Within the range the model was trained for.</div>'
    else:
        lines = "".join(f"<div>&#9888;&#65039; {escape(line)}</div>" for line in warnings)
    return f'<div class="notes" style="padding:2px 12px;font-size:13px">{lines}</div>'


def plan_table(steps: Sequence[Estimate]) -> str:
    """Seconds and memory of a full run on this machine."""
    rows = "".join(
        f"<tr><td>{escape(s.stage)}</td><td>{duration(s.seconds)}</td><td>{s.gigabytes:.1f} GB</td>"
        "</tr>"
        for s in steps
    )
    total = duration(sum(s.seconds for s in steps))
    peak = max((s.gigabytes for s in steps), default=0.0)
    return (
        '<div style="padding:2px 12px"><table class="plan" style="width:100%;font-size:13px">'
        f"{rows}<tr style='font-weight:600'><td>about</td><td>{total}</td><td>{peak:.1f} GB</td>"
        "</tr></table></div>"
    )


def said(text: str) -> str:
    """A line of small print."""
    return f'<div style="padding:2px 12px;font-size:13px;opacity:.85">{escape(text)}</div>'
