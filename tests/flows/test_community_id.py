"""Community ID against published values.

Vectors: corelight/community-id-spec, baseline/README.md (both seeds), and the unit tests of corelight/pycommunityid.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir.flows.addresses import parse_address
from mimir.flows.community_id import community_id, community_ids

SIX = ("fe80:0001:0203:0405:0607:0809:0A0B:0C0D", "fe80:1011:1213:1415:1617:1819:1A1B:1C1D")
FOUR = ("1.2.3.4", "5.6.7.8")
#: source, target, protocol, ports, seed 0, seed 1
BASELINE = [
    (*FOUR, 6, 1122, 3344, "1:wCb3OG7yAFWelaUydu0D+125CLM=", "1:HhA1B+6CoLbiKPEs5nhNYN4XWfk="),
    (*FOUR[::-1], 6, 3344, 1122, "1:wCb3OG7yAFWelaUydu0D+125CLM=", "1:HhA1B+6CoLbiKPEs5nhNYN4XWfk="),
    (*FOUR, 17, 1122, 3344, "1:0Mu9InQx6z4ZiCZM/7HXi2WMhOg=", "1:OShq+iKDAMVouh/4bMxB9Sz4amw="),
    (*FOUR[::-1], 17, 3344, 1122, "1:0Mu9InQx6z4ZiCZM/7HXi2WMhOg=", "1:OShq+iKDAMVouh/4bMxB9Sz4amw="),
    (*FOUR, 132, 1122, 3344, "1:EKt4MsxuyaE6mL+hmrEkQ9csDD8=", "1:uitchpn5MMGAQKBJh7bIr/bAr7s="),
    (*FOUR[::-1], 132, 3344, 1122, "1:EKt4MsxuyaE6mL+hmrEkQ9csDD8=", "1:uitchpn5MMGAQKBJh7bIr/bAr7s="),
    (*FOUR, 1, 8, 0, "1:crodRHL2FEsHjbv3UkRrfbs4bZ0=", "1:9pr4ZGTICiuZoIh90RRYE2RyXpU="),
    (*FOUR[::-1], 1, 0, 0, "1:crodRHL2FEsHjbv3UkRrfbs4bZ0=", "1:9pr4ZGTICiuZoIh90RRYE2RyXpU="),
    (*FOUR, 1, 11, 0, "1:f/YiSyWqczrTgfUCZlBUnvHRcPk=", "1:1DD7cWGC/Yg91YGsQeni8du3pIA="),
    (*SIX, 58, 128, 0, "1:0bf7hyMJUwt3fMED7z8LIfRpBeo=", "1:IO27GQzPuCtNnwFvjWALMHu5tJE="),
    (*SIX[::-1], 58, 129, 0, "1:0bf7hyMJUwt3fMED7z8LIfRpBeo=", "1:IO27GQzPuCtNnwFvjWALMHu5tJE="),
    (*SIX, 58, 146, 0, "1:fYC8+pz24E+EhANP1EZhpX0Dw10=", "1:Cv4IKJe56BNkF0MBW2YxQ3Nwc3s="),
    (*FOUR, 46, 0, 0, "1:ikv3kmf89luf73WPz1jOs49S768=", "1:/buhqeOmaRCopOZFy9HnoJd5XW8="),
    (*FOUR[::-1], 46, 0, 0, "1:ikv3kmf89luf73WPz1jOs49S768=", "1:/buhqeOmaRCopOZFy9HnoJd5XW8="),
    (*SIX, 46, 0, 0, "1:wQ/2mwrnXP4lmJcHdGL5ePjR+e0=", "1:j6EyyfBzL4vWKHFXgUqb5Az3OxM="),
    (*SIX[::-1], 46, 0, 0, "1:wQ/2mwrnXP4lmJcHdGL5ePjR+e0=", "1:j6EyyfBzL4vWKHFXgUqb5Az3OxM="),
    ("192.168.0.89", "192.168.0.1", 1, 8, 0, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=", "1:03g6IloqVBdcZlPyX8r0hgoE7kA="),
    ("192.168.0.1", "192.168.0.89", 1, 0, 8, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=", "1:03g6IloqVBdcZlPyX8r0hgoE7kA="),
    ("192.168.0.89", "192.168.0.1", 1, 20, 0, "1:3o2RFccXzUgjl7zDpqmY7yJi8rI=", "1:lCXHHxavE1Vq3oX9NH5ladQg02o="),
    ("192.168.0.89", "192.168.0.1", 1, 20, 1, "1:tz/fHIDUHs19NkixVVoOZywde+I=", "1:Ie3wmFyxiEyikbsbcO03d2nh+PM="),
    ("66.35.250.204", "128.232.110.120", 6, 80, 34855, "1:LQU9qZlK+B5F3KDmev6m5PMibrg=", "1:3V71V58M3Ksw/yuFALMcW0LAHvc="),
    ("10.0.0.1", "10.0.0.2", 6, 10, 11569, "1:SXBGMX1lBOwhhoDrZynfROxnhnM=", "1:HmBRGR+fUyXF4t8WEtal7Y0gEAo="),
    ("fe80::200:86ff:fe05:80da", "fe80::260:97ff:fe07:69ea", 58, 135, 0, "1:dGHyGvjMfljg6Bppwm3bg0LO8TY=",
     "1:kHa1FhMYIT6Ym2Vm2AOtoOARDzY="),
]  # fmt: skip
#: published with seed 0 only
OTHERS = [
    ("2001:470:e5bf:dead:4957:2174:e82c:4887", "2607:f8b0:400c:c03::1a", 6, 63943, 25, "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4="),
    ("192.168.170.8", "192.168.170.56", 132, 7, 7, "1:MP2EtRCAUIZvTw6MxJHLV7N7JDs="),
    ("fe80::260:97ff:fe07:69ea", "ff02::1", 58, 134, 0, "1:pkvHqCL88/tg1k4cPigmZXUtL00="),
    ("3ffe:507:0:1:200:86ff:fe05:80da", "3ffe:507:0:1:260:97ff:fe07:69ea", 58, 3, 0, "1:/OGBt9BN1ofenrmSPWYicpij2Vc="),
]  # fmt: skip
ADDRESSES = st.ip_addresses(v=4).map(str)


@pytest.mark.parametrize(("source", "target", "proto", "sport", "dport", "plain", "seeded"), BASELINE)
def test_published_values(
    source: str, target: str, proto: int, sport: int, dport: int, plain: str, seeded: str
) -> None:
    assert community_id(source, target, proto, sport, dport) == plain
    assert community_id(source, target, proto, sport, dport, seed=1) == seeded


@pytest.mark.parametrize(("source", "target", "proto", "sport", "dport", "expected"), OTHERS)
def test_more_published_values(source: str, target: str, proto: int, sport: int, dport: int, expected: str) -> None:
    assert community_id(source, target, proto, sport, dport) == expected


def test_many_at_once_are_the_same_as_one_by_one() -> None:
    rows = [row[:6] for row in BASELINE] + OTHERS
    ends = [np.array([parse_address(str(row[side])) for row in rows], np.uint64) for side in (0, 1)]
    proto, sport, dport = (np.array([row[i] for row in rows]) for i in (2, 3, 4))
    assert community_ids(ends[0], ends[1], proto, sport, dport) == [row[5] for row in rows]
    assert dport.tolist() == [row[4] for row in rows]
    empty = np.zeros((0, 2), np.uint64)
    assert community_ids(empty, empty, [], [], []) == []


@given(a=ADDRESSES, b=ADDRESSES, p=st.integers(0, 65535), q=st.integers(0, 65535), proto=st.sampled_from([6, 17, 132]))
def test_both_directions_have_one_id(a: str, b: str, p: int, q: int, proto: int) -> None:
    assert community_id(a, b, proto, p, q) == community_id(b, a, proto, q, p)


def test_a_seed_beyond_16_bits_is_refused() -> None:
    with pytest.raises(ValueError, match="0 to 65535"):
        community_id("1.2.3.4", "5.6.7.8", 6, seed=1 << 16)
