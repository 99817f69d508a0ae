"""Hubble flows as JSON lines (`hubble observe -o jsonpb`, or the exporter's file): who talked to whom, without sizes.

Format: Cilium's flow.proto (api/v1/flow), message Flow, wrapped as `{"flow": …, "node_name", "time"}` by
observer.GetFlowsResponse. A flow is an event about one packet at one point of observation, or one request or reply seen by the
proxy (`l7`), and holds no byte counts. What can be counted is counted: connections (distinct tuples, a SYN after more than a
second on a known one), exchanges (L7 requests, else turns of PSH segments as in packets), DNS queries with their names.
The flow names the pods itself: they become entity events.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mimir.flows.foreign.lines import Lines
from mimir.flows.foreign.seen_pods import SeenPods
from mimir.flows.foreign.table import ICMP, ICMP6, TCP, UDP, FlowTable, Rows

FORMAT = "Hubble flows"
#: Cilium's names of layer-4 messages
PROTOCOLS = {"TCP": TCP, "UDP": UDP, "ICMPv4": ICMP, "ICMPv6": ICMP6, "SCTP": 132}
#: verdicts under which the packet did not arrive
LOST = ("DROPPED", "ERROR")
#: the same SYN is observed at several points within this time
REPEAT_S = 1.0
EPHEMERAL = 32_768


@dataclass
class _Talk:
    """What is known of one tuple, client first."""

    opened_s: float
    proxied: bool = False
    payload_from_server: bool = True  #: whose payload was seen last; at first nobody's, which counts as the server's


def read(path: Path) -> FlowTable:
    """Flow events and the pods they name. Raises MimirError when no line can be used."""
    lines, rows = Lines(path), Rows()
    talks: dict[tuple[int, ...], _Talk] = {}
    pods = SeenPods()
    for number, line in lines:
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            if "\\u" in line:
                json.dumps(record, ensure_ascii=False).encode()  # half a surrogate pair is no text
            flow = record.get("flow", record) if isinstance(record, dict) else None
            if not isinstance(flow, dict) or not _has_ends(flow.get("IP")):
                rows.bad.add(number, "not a flow between addresses", _lacks(flow))
            elif flow.get("verdict") in LOST:
                rows.bad.add(number, f"verdict {flow['verdict']}")
            else:
                _add(rows, flow, talks, pods)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            rows.bad.add(number, "unusable record", f"{type(error).__name__}: {error}"[:200])
    table = rows.table(path, FORMAT, True, "none", lines)
    table.entities = pods.events()
    return table


def _has_ends(addresses: Any) -> bool:
    return isinstance(addresses, dict) and all(isinstance(addresses.get(s), str) for s in ("source", "destination"))


def _lacks(flow: Any) -> str:
    """What a record has in place of both addresses."""
    if not isinstance(flow, dict) or "flow" in flow:
        return "it holds no flow"
    if "IP" not in flow:
        return "it has no IP" + (", only ip in lower case" if "ip" in flow else "")
    return "its IP has no source and destination"


def _add(rows: Rows, flow: dict[str, Any], talks: dict[tuple[int, ...], _Talk], pods: SeenPods) -> None:
    when = datetime.fromisoformat(flow["time"])
    now = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    layer4 = flow.get("l4") or {}
    name = next((known for known in PROTOCOLS if known in layer4), None)
    if name is None:
        raise ValueError(f"no layer 4 of a known kind, only {', '.join(map(str, layer4)) or 'none'}")
    message, proto = layer4[name], PROTOCOLS[name]
    sides = [rows.address(flow["IP"]["source"]), rows.address(flow["IP"]["destination"])]
    ports = [int(message.get("source_port", 0)), int(message.get("destination_port", 0))]
    flags = message.get("flags") or {}
    reply = _is_reply(flow, flags, ports, (*reversed(sides), *reversed(ports), proto) in talks)
    if reply:
        sides.reverse()
        ports.reverse()
    key = (*sides, *ports, proto)
    connections, exchanges = _count(talks, key, flow.get("l7") or {}, flags, reply, now)
    queries, name_bytes = _queries(flow.get("l7") or {})
    counts = (0, 0, 0, 0, 0, 0, connections, exchanges, 0, queries, name_bytes)
    rows.add(now, 0.0, (sides[0], sides[1], ports[0], ports[1]), proto, counts)
    for side, address in (("source", flow["IP"]["source"]), ("destination", flow["IP"]["destination"])):
        pods.see(flow.get(side) or {}, address, now, str(flow.get("node_name") or ""))


def _is_reply(flow: dict[str, Any], flags: dict[str, Any], ports: list[int], reverse_known: bool) -> bool:
    """Did the server send this? Hubble leaves the field out where false, and older versions know only `reply`."""
    if flow.get("is_reply") or flow.get("reply"):
        return True
    if flow.get("is_reply") is False or ("traffic_direction" in flow and "trace_observation_point" in flow):
        return False
    if flags.get("SYN"):
        return bool(flags.get("ACK"))
    return reverse_known or (ports[0] < EPHEMERAL <= ports[1])


def _count(
    talks: dict[tuple[int, ...], _Talk], key: tuple[int, ...], layer7: dict[str, Any], flags: dict[str, Any],
    reply: bool, now: float,
) -> tuple[int, int]:  # fmt: skip
    """(connections, exchanges) that begin with this event."""
    talk = talks.get(key)
    syn = bool(flags.get("SYN")) and not reply
    opened = talk is None or (syn and now - talk.opened_s > REPEAT_S)
    if talk is None or opened:
        talk = talks[key] = _Talk(now)
    if layer7:
        talk.proxied = True
        return int(opened), int(layer7.get("type") == "REQUEST")
    turn = False
    if flags.get("PSH"):
        turn = not reply and talk.payload_from_server and not talk.proxied
        talk.payload_from_server = reply
    return int(opened), int(turn)


def _queries(layer7: dict[str, Any]) -> tuple[int, int]:
    """(DNS queries, bytes of their names without the last dot)."""
    dns = layer7.get("dns")
    if not dns or layer7.get("type") != "REQUEST":
        return 0, 0
    return 1, len(str(dns.get("query", "")).rstrip(".").encode())
