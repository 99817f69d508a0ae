"""Graphs as GraphML files: same edges, same bytes."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import networkx as nx

from mimir.files import write_text
from mimir.flows import read_workloads
from mimir.graphs.build import graph_of, read_rows

VIEWS = ("pod", "service")


def graphml(graph: nx.DiGraph) -> str:
    """GraphML text, nodes and arrows in the order of the graph."""
    return "\n".join(nx.generate_graphml(graph, named_key_ids=True)) + "\n"


def write_graphs(
    edges_parquet: Path, entities: Path, recording: str, window_s: int, sensitive: Collection[str], out: Path
) -> list[str]:
    """Write `pod.graphml` and `service.graphml` of one recording into folder `out`.

    Any `window_s` in the file gives the same graphs, since windows add up; a long one is read faster. Returns the
    names of the files with their folder's (`graphs/pod.graphml`). Raises ValueError for entities that cannot be read.
    """
    workloads = read_workloads(entities)
    for view in VIEWS:
        graph = graph_of(read_rows(edges_parquet, recording, window_s, view), view, workloads, sensitive)
        write_text(out / f"{view}.graphml", graphml(graph))
    return [f"{out.name}/{view}.graphml" for view in VIEWS]
