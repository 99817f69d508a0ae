"""Several listings in one file: pods and services as kubectl prints them together, or one after the other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mimir.flows import entity_events, load_identity

CORPUS = Path(os.environ.get("MIMIR_CORPUS", Path(__file__).resolve().parents[2].parent / "shared" / "data"))
BOTH = """NAMESPACE   NAME              READY   STATUS    RESTARTS   AGE   IP           NODE
shop        pod/db-0          1/1     Running   0          1h    10.244.0.5   n1

NAMESPACE   NAME              TYPE        CLUSTER-IP    EXTERNAL-IP   PORT(S)    AGE
shop        service/db        ClusterIP   10.96.0.7     <none>        3306/TCP   1h
"""


def test_pods_and_services_in_one_listing(tmp_path: Path) -> None:
    path = tmp_path / "addresses.txt"
    path.write_text(BOTH)
    assert [(e["kind"], e["name"], e["ip"]) for e in entity_events(path)] == [
        ("pod", "db-0", "10.244.0.5"),
        ("service", "db", "10.96.0.7"),
    ]
    assert load_identity(path).name("10.96.0.7", 0).service == load_identity(path).name("10.244.0.5", 0).service == "db"


def test_a_row_with_the_words_of_a_header_is_no_header(tmp_path: Path) -> None:
    path = tmp_path / "addresses.csv"
    path.write_text("address,name,kind\n10.0.0.1,ip,service\nfd00::1,address,service\n")
    assert [e["name"] for e in entity_events(path)] == ["ip", "address"]


def test_errors_name_the_line_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "addresses.csv"
    path.write_text("# mine\n\naddress,name\n10.0.0.1,a\n\nip,pod,node\n10.0.0.2\n")
    with pytest.raises(ValueError, match="line 7: 1 columns, the header has 3"):
        entity_events(path)


@pytest.mark.corpus
@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is absent (set MIMIR_CORPUS)")
def test_the_prototypes_listings_one_after_the_other(tmp_path: Path) -> None:
    folder = CORPUS / "prototype"
    parts = [folder / f"wordpress_thirteen_t1_{kind}_config_0.txt" for kind in ("pod", "svc")]
    path = tmp_path / "addresses.txt"
    path.write_text("\n".join(part.read_text() for part in parts))
    events = entity_events(path)
    assert len([e for e in events if e["kind"] == "pod"]) == 38
    assert {e["name"] for e in events if e["kind"] == "service"} == {
        "kubernetes", "my-release-pxc", "wwwppp-wordpress", "kube-dns", "kubernetes-dashboard", "tiller-deploy",
    }  # fmt: skip
    identity = load_identity(path)
    assert identity.name("172.17.0.5", 0).service == identity.name("10.98.63.191", 0).service == "my-release-pxc"
    assert identity.name("172.17.0.16", 0).service == "wwwppp-wordpress"
