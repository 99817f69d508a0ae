"""The part of the CiliumNetworkPolicy format that an export may use, as a JSON schema; nothing else is allowed.

After the Cilium documentation ("Layer 3 Policies", "Layer 4 Policies", "DNS Policies") and the comments of the API's types
(cilium.io/v2; IngressRule, EgressRule, PortRule, EntitySelector, FQDNSelector).
"""

from __future__ import annotations

from typing import Any

ENTITIES = [
    "all",
    "world",
    "cluster",
    "host",
    "init",
    "ingress",
    "unmanaged",
    "remote-node",
    "health",
    "none",
    "kube-apiserver",
]


def _object(required: list[str] | None = None, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties, "required": required or []}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "items": items}


NAME = {"type": "string", "pattern": r"^([-a-zA-Z0-9_]+[.]?)+$"}
CIDR = {"type": "string", "pattern": r"^[0-9a-f.:]+/[0-9]{1,3}$"}
LABELS = {"type": "object", "minProperties": 1, "additionalProperties": {"type": "string", "maxLength": 63}}
SELECTOR = _object(["matchLabels"], matchLabels=LABELS)
PORT = _object(
    ["port", "protocol"],
    port={"type": "string", "pattern": r"^(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5]?[0-9]{1,4})$"},
    protocol={"enum": ["TCP", "UDP", "SCTP", "ANY"]},
)
DNS = _object(["dns"], dns=_list(_object(["matchPattern"], matchPattern={"type": "string"})))
TO_PORTS = _list(_object(["ports"], ports={**_list(PORT), "maxItems": 40}, rules=DNS))
ENTITY_LIST = _list({"enum": ENTITIES})


def _one_of(*keys: str) -> dict[str, Any]:
    """Members of a rule that select peers cannot be combined."""
    return {"oneOf": [{"required": [key]} for key in keys]}


INGRESS = _object(fromEndpoints=_list(SELECTOR), fromEntities=ENTITY_LIST, fromCIDR=_list(CIDR), toPorts=TO_PORTS)
EGRESS = _object(
    toEndpoints=_list(SELECTOR), toEntities=ENTITY_LIST, toCIDR=_list(CIDR),
    toFQDNs=_list(_object(["matchName"], matchName=NAME)), toPorts=TO_PORTS,
)  # fmt: skip
SCHEMA = _object(
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "cilium.io/v2"},
    kind={"const": "CiliumNetworkPolicy"},
    metadata=_object(
        ["name", "namespace"],
        name={"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"},
        namespace={"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"},
        labels=LABELS,
    ),
    spec=_object(
        ["endpointSelector", "ingress", "egress"],
        endpointSelector=SELECTOR,
        ingress=_list(INGRESS | _one_of("fromEndpoints", "fromEntities", "fromCIDR")),
        egress=_list(EGRESS | _one_of("toEndpoints", "toEntities", "toCIDR", "toFQDNs")),
    ),
)
