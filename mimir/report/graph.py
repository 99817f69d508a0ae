"""The service graph as SVG: who talks to whom, how much, and where the leak went."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from xml.sax.saxutils import escape

from mimir.report.graph_content import OUTSIDE, Edge, GraphContent
from mimir.report.layout import Layout, layered
from mimir.report.theme import FONTS, LIGHT
from mimir.units import format_bytes

NODE_HEIGHT, ROW, MARGIN, CHAR_WIDTH, ARROW = 30.0, 46.0, 16.0, 7.0, 5.0
LOOP = 19.0  #: reach of the arc of a node that talks to itself; three quarters of it are used
NATURAL_WIDTH, GAPS = 1000.0, (64.0, 130.0)  #: columns are spread over this width, within these distances
MAX_LABEL = 22


@dataclass(frozen=True)
class Drawing:
    """The SVG document, its natural width, and what it shows."""

    svg: str
    width: int
    content: GraphContent


@dataclass(frozen=True)
class _Box:
    x: float
    y: float
    width: float

    @property
    def right(self) -> float:
        return self.x + self.width


def draw_graph(content: GraphContent) -> Drawing:
    """Draw the graph, the hops of the leak in red. The same content gives the same bytes."""
    edges, leak, kinds = content.edges, content.leak, content.kinds
    plan = layered(kinds, [*edges, *leak])
    boxes = _boxes(plan)
    width = max((box.right for box in boxes.values()), default=MARGIN) + MARGIN
    places = _all_places(plan) or [0.0]
    height = (max(places) - min(places)) * ROW + NODE_HEIGHT + 2 * MARGIN
    parts = [
        *_edge_parts(edges, leak, plan, boxes),
        *_loop_parts(content, boxes),
        *(_node_part(n, kinds[n], boxes[n]) for n in sorted(boxes)),
    ]
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}">'
        f"<defs>{_arrow('arrow', LIGHT['edge'])}{_arrow('arrowleak', LIGHT['leak'])}</defs>"
        f'<g style="font: 12px {FONTS}">\n' + "\n".join(parts) + "\n</g></svg>\n"
    )
    return Drawing(svg, round(width), content)


def _boxes(plan: Layout) -> dict[str, _Box]:
    widths: dict[int, float] = defaultdict(float)
    for name, layer in plan.layer.items():
        widths[layer] = max(widths[layer], len(_label(name)) * CHAR_WIDTH + 26)
    spare = (NATURAL_WIDTH - 2 * MARGIN - sum(widths.values())) / max(len(widths) - 1, 1)
    left, x = {}, MARGIN
    for layer in sorted(widths):
        left[layer] = x
        x += widths[layer] + min(max(spare, GAPS[0]), GAPS[1])
    top = min(_all_places(plan), default=0.0)
    return {
        name: _Box(left[layer], MARGIN + (plan.place[name] - top) * ROW, widths[layer])
        for name, layer in plan.layer.items()
    }


def _all_places(plan: Layout) -> list[float]:
    return [*plan.place.values(), *(place for points in plan.bends.values() for _, place in points)]


def _edge_parts(
    edges: Mapping[Edge, float], leak: Mapping[Edge, Edge], plan: Layout, boxes: Mapping[str, _Box]
) -> list[str]:
    anchors = _anchors([*edges, *(edge for edge in leak if edge not in edges)], plan, boxes)
    sizes = [size for size in edges.values() if size > 0]
    low, high = (math.log10(min(sizes)), math.log10(max(sizes))) if sizes else (0.0, 1.0)
    parts = []
    for edge in sorted([*edges, *(e for e in leak if e not in edges)], key=lambda e: (e in leak, e)):
        size = edges.get(edge, 0.0)
        width = 0.8 + 3.7 * (math.log10(size) - low) / max(high - low, 1e-9) if size > 0 else 0.8
        title = f"{edge[0]} → {edge[1]}: {format_bytes(size)}" if size > 0 else f"{edge[0]} → {edge[1]}: never seen"
        style = _line_style(edge, leak, max(width, 2.4) if edge in leak else width, edge in edges)
        line = _curve(edge, plan, boxes, anchors, leak.get(edge, edge) == edge)
        parts.append(f'<path d="{line}" {style}><title>{escape(title)}</title></path>')
    return parts


def _loop_parts(content: GraphContent, boxes: Mapping[str, _Box]) -> list[str]:
    """A small arc above each node whose pods talk to each other, in the room between two rows."""
    parts = []
    for name, size in sorted(content.loops.items()):
        box = boxes[name]
        x, to_x, y = box.x + 0.55 * box.width, box.x + 0.8 * box.width, box.y + (2 if _is_store(content, name) else 0)
        line = f"M{x:.1f},{y:.1f}C{x - 2:.1f},{y - LOOP:.1f} {to_x + 2:.1f},{y - LOOP:.1f} {to_x:.1f},{y - ARROW:.1f}"
        title = escape(f"{name} → {name}, between its pods: {format_bytes(size)}")
        style = _line_style((name, name), {}, 1.4, True)
        parts.append(f'<path d="{line}" {style}><title>{title}</title></path>')
    return parts


def _is_store(content: GraphContent, name: str) -> bool:
    return content.kinds[name] in ("store", "sensitive")


def _line_style(edge: Edge, leak: Mapping[Edge, Edge], width: float, seen: bool) -> str:
    """Grey with an arrow at the server; red with an arrow where the data went."""
    colour = LIGHT["leak"] if edge in leak else LIGHT["edge"]
    dashes = "" if seen else "; stroke-dasharray: 5 4"
    marker = 'marker-end="url(#arrow)"'
    if edge in leak:
        marker = 'marker-end="url(#arrowleak)"' if leak[edge] == edge else 'marker-start="url(#arrowleak)"'
    return f'style="fill: none; stroke: {colour}; stroke-width: {width:.1f}{dashes}" {marker}'


def _anchors(
    edges: Iterable[Edge], plan: Layout, boxes: Mapping[str, _Box]
) -> dict[tuple[Edge, str], tuple[float, float]]:
    """Where each edge touches its two nodes: spread over the side, in the order of where the edge goes next."""
    sides: dict[tuple[str, str], list[tuple[float, Edge]]] = defaultdict(list)
    for edge in edges:
        client, server = edge
        out, into = _sides(plan.layer[client], plan.layer[server])
        bends = plan.bends.get(edge, ())
        sides[client, out].append((bends[0][1] if bends else plan.place[server], edge))
        sides[server, into].append((bends[-1][1] if bends else plan.place[client], edge))
    found = {}
    for (name, side), touching in sides.items():
        box, room = boxes[name], NODE_HEIGHT - 10
        for i, (_, edge) in enumerate(sorted(touching)):
            y = box.y + NODE_HEIGHT / 2 + (i - (len(touching) - 1) / 2) * min(6.0, room / max(len(touching) - 1, 1))
            found[edge, name] = (box.right if side == "right" else box.x, y)
    return found


def _sides(client: int, server: int) -> tuple[str, str]:
    if server > client:
        return "right", "left"
    return ("left", "right") if server < client else ("right", "right")


def _curve(
    edge: Edge,
    plan: Layout,
    boxes: Mapping[str, _Box],
    anchors: Mapping[tuple[Edge, str], tuple[float, float]],
    arrow_last: bool,
) -> str:
    """Path data from client to server; room is left for the arrow at the end that has one."""
    top = min(_all_places(plan))
    columns = {layer: boxes[name] for name, layer in plan.layer.items()}
    start, end = anchors[edge, edge[0]], anchors[edge, edge[1]]
    forward = 1 if plan.layer[edge[1]] >= plan.layer[edge[0]] else -1
    first, final = (0.0, ARROW) if arrow_last else (ARROW, 0.0)
    if plan.layer[edge[0]] == plan.layer[edge[1]]:
        reach, x = start[0] + GAPS[0] * 0.6, start[0] + first
        bend = f"C{reach:.1f},{start[1]:.1f} {reach:.1f},{end[1]:.1f} {end[0] + final:.1f},{end[1]:.1f}"
        return f"M{x:.1f},{start[1]:.1f}{bend}"
    x, y = start[0] + first * forward, start[1]
    path = f"M{x:.1f},{y:.1f}"
    stops = []
    for layer, place in plan.bends.get(edge, ()):
        level = MARGIN + (place - top) * ROW + NODE_HEIGHT / 2
        near, far = columns[layer].x, columns[layer].right
        stops += [(near if forward > 0 else far, level), (far if forward > 0 else near, level)]
    for i, (to_x, to_y) in enumerate([*stops, (end[0] - final * forward, end[1])]):
        half = (to_x - x) / 2
        bend = f"C{x + half:.1f},{y:.1f} {to_x - half:.1f},{to_y:.1f} {to_x:.1f},{to_y:.1f}"
        path += f"H{to_x:.1f}" if i % 2 else bend
        x, y = to_x, to_y
    return path


def _arrow(name: str, colour: str) -> str:
    return (
        f'<marker id="{name}" viewBox="0 0 8 8" refX="3" refY="4" markerWidth="9" markerHeight="9" '
        f'markerUnits="userSpaceOnUse" orient="auto-start-reverse">'
        f'<path d="M0,0L8,4L0,8z" style="fill: {colour}"/></marker>'
    )


def _label(name: str) -> str:
    text = name.removeprefix(OUTSIDE)
    return text if len(text) <= MAX_LABEL else f"{text[:12]}…{text[-9:]}"


def _node_part(name: str, kind: str, box: _Box) -> str:
    fill, stroke, extra = {
        "service": (LIGHT["card"], LIGHT["muted"], ""),
        "store": (LIGHT["soft"], LIGHT["muted"], ""),
        "sensitive": (LIGHT["warnsoft"], LIGHT["warn"], "; stroke-width: 2"),
        "outside": (LIGHT["page"], LIGHT["muted"], "; stroke-dasharray: 4 3"),
    }[kind]
    shape = f'style="fill: {fill}; stroke: {stroke}{extra}"'
    middle = box.y + NODE_HEIGHT / 2
    if kind in ("store", "sensitive"):
        body = _cylinder(box, shape)
        middle += 2.5
    else:
        radius = NODE_HEIGHT / 2 if kind == "outside" else 6
        place = f'x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{NODE_HEIGHT:.0f}"'
        body = f'<rect {place} rx="{radius:.0f}" {shape}/>'
    weight = "; font-weight: 600" if kind == "sensitive" else ""
    text = (
        f'<text x="{box.x + box.width / 2:.1f}" y="{middle + 4:.1f}" '
        f'style="text-anchor: middle; fill: {LIGHT["ink"]}{weight}">{escape(_label(name))}</text>'
    )
    return f"<g><title>{escape(name)} ({kind})</title>{body}{text}</g>"


def _cylinder(box: _Box, shape: str) -> str:
    """The usual sign of a store."""
    x, y, right, low, ry = box.x, box.y + 3, box.right, box.y + NODE_HEIGHT - 3, 4
    rx = box.width / 2
    wall = f"M{x:.1f},{y:.1f}V{low:.1f}A{rx:.1f},{ry} 0 0 0 {right:.1f},{low:.1f}V{y:.1f}"
    lid = f"A{rx:.1f},{ry} 0 0 0 {x:.1f},{y:.1f}A{rx:.1f},{ry} 0 0 0 {right:.1f},{y:.1f}"
    return f'<path d="{wall}{lid}" {shape}/>'
