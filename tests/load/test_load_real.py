"""Requests to real applications: what is not in the model's action."""

from __future__ import annotations

import base64
import json
import zlib
from random import Random

import pytest

from mimir.load.locust.plan import locust_plan
from mimir.load.real import PASSWORD, REAL, author, png, real_request
from tests.support.specs import spec


@pytest.mark.parametrize("app", sorted(REAL))
def test_every_request_of_the_entry_service_is_known(app: str) -> None:
    plan = locust_plan(spec([f"app={app}"]), "test", 1)
    asked = {endpoint["name"]: endpoint for endpoint in plan["endpoints"] if endpoint["method"]}
    assert set(asked) == set(REAL[app])
    for name, endpoint in asked.items():
        assert endpoint["real"] == REAL[app][name]
        assert bool(endpoint["real"]["body"]) == (endpoint["method"] == "POST")
    synthetic = locust_plan(spec([f"app={app}"]), "test", 1, synthetic=True)
    assert not any(endpoint["real"] for endpoint in synthetic["endpoints"])


@pytest.mark.parametrize("size", [700, 5000, 160_000])
def test_bodies_fill_the_size_of_the_model(size: int) -> None:
    noise = Random(1).randbytes
    for name in ("post_create", "profile_update", *(["media_upload"] if size > 10_000 else [])):
        headers, body = real_request(REAL["wordpress"][name], 23, size, noise)
        head = sum(len(key) + len(value) + 4 for key, value in headers.items()) + 90
        assert head + len(body) == pytest.approx(size, rel=0.05)
        assert base64.b64decode(headers["Authorization"].split()[1]).decode() == f"{author(3)}:{PASSWORD}"
    assert json.loads(real_request(REAL["wordpress"]["post_create"], 1, size, noise)[1])["status"] == "publish"


def test_a_picture_can_be_decoded() -> None:
    data = png(30_000, Random(1).randbytes)
    width = int.from_bytes(data[16:20])
    at = data.index(b"IDAT")
    rows = zlib.decompress(data[at + 4 : at + 4 + int.from_bytes(data[at - 4 : at])])
    assert len(rows) == width * (3 * width + 1)
    assert data.endswith(b"IEND" + zlib.crc32(b"IEND").to_bytes(4))
