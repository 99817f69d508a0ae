"""Each byte once: a flow to a service address and the one to the pod behind it are the same bytes."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from mimir.flows.addresses import address_text
from mimir.flows.foreign.table import (
    END,
    FIRST_COUNTER,
    MEDIATED,
    ORIG,
    ORIG_PORT,
    PROTO,
    REQUEST,
    RESP,
    RESPONSE,
    START,
    FlowTable,
)  # fmt: skip
from mimir.flows.identity import Identity
from mimir.units import NS_PER_S

RULE = "service_address"
#: both legs of one flow begin within this time, as for packets (mimir.flows.legs)
LEG_NS = NS_PER_S


def count_once(table: FlowTable, identity: Identity) -> None:
    """Take the service-address leg out where the pod leg is there too, in place; mark what went through it.

    With ports, legs share the client's endpoint and begin within a second. Without (a table of conversations), the rows of one
    client to a service and to its backends are compared: as many bytes as both have are counted once, under the pods.
    A leg whose other half is missing stays, under the service's name. `mediated_bytes` are those that a service address saw.
    """
    served = np.array(
        ["service" in identity.endpoints.get((address, 0), set()) for address in table.addresses], np.bool_
    )
    if not served.any():
        return
    to_service = served[table.data[:, RESP]]
    sizes = table.data[:, REQUEST] + table.data[:, RESPONSE]
    table.data[to_service, MEDIATED] = sizes[to_service]
    with_ports = table.data[:, ORIG_PORT] > 0
    gone = _by_endpoint(table, to_service & with_ports, ~to_service & with_ports)
    gone |= _by_sums(table, identity, to_service & ~with_ports, ~to_service & ~with_ports)
    table.remove(gone, RULE)


def _by_endpoint(table: FlowTable, service: NDArray[np.bool_], pod: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Service legs that have a pod leg; the pod legs get their bytes marked."""
    gone = np.zeros(len(table.data), np.bool_)
    if not service.any():
        return gone
    legs: defaultdict[tuple[int, ...], list[tuple[int, int]]] = defaultdict(list)
    wanted = np.unique(table.data[service, ORIG])
    columns = [START, ORIG, ORIG_PORT, PROTO]
    for row in np.flatnonzero(pod & np.isin(table.data[:, ORIG], wanted)).tolist():
        start, *endpoint = table.data[row, columns].tolist()
        legs[tuple(endpoint)].append((start, row))
    for row in np.flatnonzero(service).tolist():
        start, *endpoint = table.data[row, columns].tolist()
        near = [(abs(start - s), leg) for s, leg in legs.get(tuple(endpoint), []) if abs(start - s) <= LEG_NS]
        if near:
            gone[row] = True
            leg = min(near)[1]
            table.data[leg, MEDIATED] = table.data[leg, REQUEST] + table.data[leg, RESPONSE]
    return gone


def _by_sums(
    table: FlowTable, identity: Identity, service: NDArray[np.bool_], pod: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """The same for rows without ports: bytes of a client to a service against its bytes to the pods behind it."""
    gone = np.zeros(len(table.data), np.bool_)
    if not service.any():
        return gone
    behind = _backends(table, identity)
    by_client: defaultdict[int, list[int]] = defaultdict(list)
    for row in np.flatnonzero(pod).tolist():
        by_client[int(table.data[row, ORIG])].append(row)
    for row in np.flatnonzero(service).tolist():
        backends = behind.get(int(table.data[row, RESP]), set())
        legs = [leg for leg in by_client[int(table.data[row, ORIG])] if int(table.data[leg, RESP]) in backends]
        gone[row] = bool(legs) and _take_out(table, row, legs)
    return gone


def _take_out(table: FlowTable, row: int, legs: list[int]) -> bool:
    """Take what the legs have out of a service row, if not all of it; True when that is everything there was."""
    data, columns = table.data, [FIRST_COUNTER + i for i in range(6)]  # bytes, payload, packets, both directions
    seen = np.minimum(data[row, columns], data[np.ix_(legs, columns)].sum(axis=0))
    left = size = int(seen[:2].sum())
    for leg in legs:
        data[leg, MEDIATED] = min(left, int(data[leg, [REQUEST, RESPONSE]].sum()))
        left -= int(data[leg, MEDIATED])
    if (data[row, [REQUEST, RESPONSE]] == seen[:2]).all():
        return True
    data[row, columns] -= seen
    data[row, MEDIATED] = data[row, [REQUEST, RESPONSE]].sum()
    before = table.copies.get(RULE, (0, 0))
    table.copies[RULE] = before[0], before[1] + size
    return False


def _backends(table: FlowTable, identity: Identity) -> dict[int, set[int]]:
    """Service address → addresses of pods whose workload has the service's name, at the end of the table."""
    when_s = float(table.data[:, END].max()) / NS_PER_S
    service_of = [identity.name(address_text(address), when_s).service for address in table.addresses]
    by_service: defaultdict[str, set[int]] = defaultdict(set)
    for number, name in enumerate(service_of):
        by_service[name].add(number)
    return {number: by_service[name] - {number} for number, name in enumerate(service_of)}
