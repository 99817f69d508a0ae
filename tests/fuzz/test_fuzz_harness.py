"""The fuzz harness does what it says: seeds are current and small, each reaches the decoder, and broken promises show."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.fuzz.seeds import CONNECTIONS, CORPUS, connection_seeds, seeds

ROOT = Path(__file__).resolve().parents[2]
RUN = """
import sys
from pathlib import Path
from tests.fuzz import harness
path = harness.scratch()
for seed in sorted(Path(sys.argv[1]).iterdir()):
    data = seed.read_bytes()
    whole = harness.check(data, path)
    for cut in range(0, len(data), 7):
        harness.check(data[:cut], path)
        harness.check(data[:cut] + bytes([data[cut] ^ 0x41]) + data[cut + 1 :], path)
    print(seed.name, whole)
path.unlink()
"""


CONNECTION_RUN = """
import hashlib, json, sys
from pathlib import Path
from tests.fuzz import connections
for seed in sorted(Path(sys.argv[1]).iterdir()):
    data = seed.read_bytes()
    rows, _ = connections.edges(data, 7, 8)
    print(seed.name, connections.check(data), hashlib.sha256(json.dumps(rows).encode()).hexdigest())
"""


def test_the_seed_corpus_is_the_one_the_script_makes_and_small() -> None:
    assert {path.name: path.read_bytes() for path in CORPUS.iterdir()} == dict(seeds())
    assert {path.name: path.read_bytes() for path in CONNECTIONS.iterdir()} == dict(connection_seeds())
    assert sum(len(content) for _, content in (*seeds(), *connection_seeds())) < 200_000


def test_every_seed_cut_or_damaged_anywhere_keeps_the_promises() -> None:
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", RUN, str(CORPUS)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    packets = {name: int(count) for name, count in map(str.split, done.stdout.splitlines())}
    assert set(packets) == {name for name, _ in seeds()}
    assert min(packets.values()) >= 1


def test_machine_code_follows_connections_as_plain_python_does() -> None:
    said = []
    for without in ("1", "0"):
        environment = {**os.environ, "NUMBA_DISABLE_JIT": without, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", CONNECTION_RUN, str(CONNECTIONS)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        said.append(done.stdout.splitlines())
    assert said[0] == said[1]
    assert len(said[0]) == len(dict(connection_seeds()))
    assert min(int(line.split()[1]) for line in said[0]) >= 6
