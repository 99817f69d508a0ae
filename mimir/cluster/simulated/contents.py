"""The bytes of a dialogue put into its TCP segments, for captures that keep payload."""

from __future__ import annotations

import numpy as np

from mimir.capture.batch import TCP
from mimir.cluster.simulated.tables import Ints, Rows
from mimir.exfiltration.channels.content import Pair


def fill(rows: Rows, pairs: list[Pair], ports: tuple[int, int], messages: list[bytes]) -> bool:
    """Put what `pairs` (request, response) say into the segments `rows`, in the order they were made in.

    `ports` are those of the server, as seen at either place. Segments seen twice or sent again have the same content.
    Where a connection was cut, so that bytes are missing, nothing is filled in and False comes back: the payload of
    these segments stays zeros.
    """
    carrying = np.flatnonzero((rows["payload"] > 0) & (rows["proto"] == TCP))
    to_server = np.isin(rows["dport"][carrying], ports)
    streams = (b"".join(asked for asked, _ in pairs), b"".join(told for _, told in pairs))
    found = []
    for stream, chosen in zip(streams, (carrying[to_server], carrying[~to_server]), strict=True):
        fresh = np.ones(len(chosen), dtype=np.bool_)
        fresh[1:] = np.diff(rows["seq"][chosen].astype(np.int64)) != 0
        sizes: Ints = rows["payload"][chosen[fresh]].astype(np.int64)
        if int(sizes.sum()) != len(stream):
            return False
        found.append((stream, chosen, fresh, np.cumsum(sizes)))
    for stream, chosen, fresh, ends in found:
        first = len(messages)
        begins = [0, *ends[:-1].tolist()] if len(ends) else []
        messages += [stream[begin:end] for begin, end in zip(begins, ends.tolist(), strict=True)]
        rows["message"][chosen] = first + np.cumsum(fresh) - 1
    return True
