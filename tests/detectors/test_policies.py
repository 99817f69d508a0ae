"""Exported policies validate against the schemas and allow exactly what the allow-list allows."""

from __future__ import annotations

from itertools import product
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from mimir.detectors.columns import ANYONE
from mimir.detectors.inventory import Inventory
from mimir.detectors.policies import Export, cilium_policies, network_policies
from mimir.flows.edges import EdgeKey
from tests.support.cilium_schema import SCHEMA

EDGES = [
    EdgeKey(ANYONE, "front-end", 8079, "tcp"),
    EdgeKey("node:node-0", "front-end", 8079, "tcp"),
    EdgeKey("front-end", "user", 80, "tcp"),
    EdgeKey("front-end", "user", 9090, "tcp"),
    EdgeKey("front-end", "kube-dns", 53, "udp"),
    EdgeKey("user", "user-db", 27017, "tcp"),
    EdgeKey("user", "kube-dns", 53, "udp"),
    EdgeKey("user", "outside:api.example.com", 443, "tcp"),
    EdgeKey("user", "outside:198.51.100.7", 443, "tcp"),
    EdgeKey("user", "outside:partner", 22, "tcp"),
    EdgeKey("kube-dns", "outside:resolver", 53, "udp"),
]
SERVICES = {"front-end": "shop", "user": "shop", "user-db": "shop", "idle": "shop", "kube-dns": "kube-system"}


def events() -> list[dict[str, Any]]:
    rows = [
        {"event": "added", "kind": "pod", "name": f"{service}-{i}", "workload": service, "namespace": namespace, "ip": "10.0.0.1",
         "labels": {"app": service, "pod-template-hash": f"h{i}", "zone": f"z{i}"}}
        for service, namespace in SERVICES.items() for i in range(2)
    ]  # fmt: skip
    rows.append({"event": "added", "kind": "node", "name": "node-0", "ip": "192.0.2.1"})
    rows.append({"event": "added", "kind": "external", "name": "partner", "ip": "203.0.113.0/24,203.0.114.9"})
    rows.append({"event": "added", "kind": "external", "name": "api.example.com", "ip": "198.51.100.99"})
    return rows


INVENTORY = Inventory.of(events())


def test_labels_that_change_from_pod_to_pod_select_nothing() -> None:
    assert INVENTORY.workloads["user"].labels == {"app": "user"}


@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_network_policies_validate(version: str) -> None:
    made = network_policies(EDGES, INVENTORY)
    assert [p["metadata"]["name"] for p in made.policies] == [
        "mimir-front-end",
        "mimir-idle",
        "mimir-user",
        "mimir-user-db",
    ]
    for policy in yaml.safe_load_all(yaml.safe_dump_all(made.policies)):
        kubernetes_validate.validate(policy, version, strict=True)


def test_the_validator_can_refuse() -> None:
    policy = network_policies(EDGES, INVENTORY).policies[0]
    policy["spec"]["ingress"][0]["port"] = 80
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(policy, "1.37", strict=True)


def test_cilium_policies_validate() -> None:
    for policy in yaml.safe_load_all(yaml.safe_dump_all(cilium_policies(EDGES, INVENTORY).policies)):
        jsonschema.validate(policy, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(policy | {"spec": {**policy["spec"], "ingress": [{"fromEntities": ["nobody"]}]}}, SCHEMA)


def allows(export: Export, source: str, target: str, port: int, proto: str) -> bool:
    """Would these policies let `source` open a connection to `target`? Judged by the text of the API, not by our code."""

    def matches(peer: dict[str, Any], name: str, at_home: str) -> bool:
        if "ipBlock" in peer:
            if name == "node:node-0":
                return peer["ipBlock"]["cidr"] in ("192.0.2.1/32", "0.0.0.0/0")
            block = {"outside:198.51.100.7": "198.51.100.7/32", "outside:partner": "203.0.113.0/24",
                     "outside:api.example.com": "198.51.100.99/32"}.get(name)  # fmt: skip
            return peer["ipBlock"]["cidr"] == block or (
                name.startswith("outside:") and peer["ipBlock"]["cidr"] == "0.0.0.0/0"
            )
        namespace = peer.get("namespaceSelector", {"matchLabels": {"kubernetes.io/metadata.name": at_home}})
        return SERVICES.get(name) == namespace["matchLabels"]["kubernetes.io/metadata.name"] and peer["podSelector"][
            "matchLabels"
        ] == {"app": name}

    def one_way(selected: str, other: str, way: str, word: str) -> bool:
        mine = [p for p in export.policies if p["spec"]["podSelector"]["matchLabels"] == {"app": selected}]
        if not mine:
            return True  # selected by no policy: open
        return any(
            any(matches(peer, other, SERVICES[selected]) for peer in rule[word])
            and {"port": port, "protocol": proto.upper()} in rule["ports"]
            for policy in mine
            for rule in policy["spec"][way]
        )

    return one_way(source, target, "egress", "to") and one_way(target, source, "ingress", "from")


def test_network_policies_allow_exactly_the_edges() -> None:
    export = network_policies(EDGES, INVENTORY)
    ours = ["front-end", "user", "user-db", "idle"]
    outside = ["outside:api.example.com", "outside:198.51.100.7", "outside:partner", "outside:someone"]
    listed = {(e.client, e.server, e.server_port, e.proto) for e in EDGES}
    listed |= {(o, *e[1:]) for o in outside for e in listed if e[0] == ANYONE}
    everyone = [*ours, "kube-dns", "node:node-0", *outside]
    ports = [
        (8079, "tcp"),
        (80, "tcp"),
        (9090, "tcp"),
        (53, "udp"),
        (53, "tcp"),
        (27017, "tcp"),
        (443, "tcp"),
        (22, "tcp"),
    ]
    for (source, target), (port, proto) in product(product(everyone, everyone), ports):
        if source != target and {source, target} & set(ours):
            told = allows(export, source, target, port, proto)
            assert told == ((source, target, port, proto) in listed), (source, target, port, proto)


def test_cilium_keeps_names_and_directions() -> None:
    made = {p["metadata"]["name"]: p["spec"] for p in cilium_policies(EDGES, INVENTORY).policies}
    user = made["mimir-user"]
    assert {
        "toFQDNs": [{"matchName": "api.example.com"}],
        "toPorts": [{"ports": [{"port": "443", "protocol": "TCP"}]}],
    } in user["egress"]
    dns = next(rule for rule in user["egress"] if rule["toPorts"][0]["ports"][0]["port"] == "53")
    assert dns["toPorts"][0]["rules"] == {"dns": [{"matchPattern": "*"}]}
    assert dns["toEndpoints"] == [
        {"matchLabels": {"app": "kube-dns", "k8s:io.kubernetes.pod.namespace": "kube-system"}}
    ]
    assert made["mimir-idle"]["ingress"] == [{"fromEntities": ["none"]}]
    assert made["mimir-idle"]["egress"] == [{"toEntities": ["none"]}]
    assert {"fromEntities": ["world"], "toPorts": [{"ports": [{"port": "8079", "protocol": "TCP"}]}]} in made[
        "mimir-front-end"
    ]["ingress"]
    assert made["mimir-user-db"]["egress"] == [{"toEntities": ["none"]}], "a store opens nothing"
    assert "rules" not in str(made["mimir-front-end"]["egress"])


def test_what_cannot_be_expressed_is_said() -> None:
    odd = [
        EdgeKey("user", "user-db", 0, "icmp"),
        EdgeKey("user", "outside:unknown", 1, "tcp"),
        EdgeKey("ghost", "user", 1, "tcp"),
    ]
    left = network_policies([*EDGES, *odd], INVENTORY).left_out
    assert len([x for x in left if "icmp" in x]) == 1
    assert any("outside:unknown" in x for x in left)
    assert any("ghost" in x for x in left)
    assert not network_policies(EDGES[:4], INVENTORY).left_out
