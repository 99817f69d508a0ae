"""Names of pods that come while a recording runs."""

from __future__ import annotations

import hashlib

_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # of generated names (k8s.io/apimachinery, util/rand)


def pod_name(service: str, kind: str, number: int, template: int) -> str:
    """Name of a pod that comes later: an ordinal for stores, else template hash and suffix as Deployments give them.

    >>> pod_name("user", "app", 4, 1).startswith("user-"), pod_name("pxc", "store", 1, 1)
    (True, 'pxc-1')
    """
    if kind == "store":
        return f"{service}-{number}"
    return f"{service}-{_word(f'{service}/{template}', 9)}-{_word(f'{service}/{template}/{number}', 5)}"


def _word(seed: str, letters: int) -> str:
    data = hashlib.sha256(seed.encode()).digest()
    return "".join(_LETTERS[byte % len(_LETTERS)] for byte in data[:letters])
