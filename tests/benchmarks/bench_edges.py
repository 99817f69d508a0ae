"""How fast does a capture become edges? Prints a table; asserts nothing.

    python tests/benchmarks/bench_edges.py [millions of packets] [any|ethernet|pcapng] [file to keep]

The traffic is synthetic and Kubernetes-like: short TCP connections of 10 packets from pods to pods, with headers only
(70 or so bytes a packet). `any` holds every packet twice, before and after the service address is translated; `pcapng`
is the same in the newer format. `tshark` reads the first 50,000 packets only.
"""

from __future__ import annotations

import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

PODS, SERVICES, CHUNK = 60, 14, 1 << 16
TCP_PART = [
    ("version", "u1"), ("tos", "u1"), ("total", ">u2"), ("id", ">u2"), ("place", ">u2"), ("ttl", "u1"), ("proto", "u1"),
    ("sum", ">u2"), ("src", ">u4"), ("dst", ">u4"), ("sport", ">u2"), ("dport", ">u2"), ("seq", ">u4"), ("ack", ">u4"),
    ("offset", "u1"), ("flags", "u1"), ("window", ">u2"), ("check", ">u2"), ("urgent", ">u2"),
]  # fmt: skip
RECORD = [("sec", "<u4"), ("nsec", "<u4"), ("captured", "<u4"), ("original", "<u4")]
BLOCK = [("kind", "<u4"), ("size", "<u4"), ("interface", "<u4"), ("high", "<u4"), ("low", "<u4"), *RECORD[2:]]
TRAILER = [("end", "<u4")]
SLL2 = [("type", ">u2"), ("zero", ">u2"), ("ifindex", ">u4"), ("hardware", ">u2"), ("direction", "u1"), ("length", "u1"),
        ("address", "S8")]  # fmt: skip
ETHERNET = [("to", "S6"), ("from", "S6"), ("type", ">u2")]
#: flags and payload of the packets of a connection, from the client where the first number is 1
SHAPE = [
    (1, 2, 0),
    (0, 18, 0),
    (1, 16, 0),
    (1, 24, 300),
    (0, 24, 1448),
    (0, 24, 900),
    (1, 16, 0),
    (1, 17, 0),
    (0, 17, 0),
    (1, 16, 0),
]


def packets(count: int, any_interface: bool, pcapng: bool) -> Iterator[bytes]:
    """Records of a capture in time order, a chunk at a time; connections overlap."""
    rng = np.random.Generator(np.random.PCG64(7))
    link = SLL2 if any_interface else ETHERNET
    dtype = np.dtype([*BLOCK, *link, *TCP_PART, *TRAILER] if pcapng else RECORD + link + TCP_PART)
    link_bytes = np.dtype(link).itemsize
    copies, done, number = 2 if any_interface else 1, 0, 0
    while done < count:
        n = CHUNK // (len(SHAPE) * copies)
        rows = np.zeros((n, len(SHAPE), copies), dtype)
        client, server, service = (rng.integers(0, k, n)[:, None, None] for k in (PODS, PODS, SERVICES))
        isn = rng.integers(0, 2**32, (2, n, 1, 1), dtype=np.uint64)
        forward, flags, payload = (np.array(column)[None, :, None] for column in zip(*SHAPE, strict=True))
        begin = (number + np.arange(n, dtype=np.int64))[:, None, None] * 200_000
        ts = 1_700_000_000_000_000_000 + begin + np.arange(len(SHAPE))[None, :, None] * 150_000
        ts = ts + np.arange(copies)[None, None, :] * 5_000
        if pcapng:
            rows["kind"], rows["size"], rows["end"] = 6, dtype.itemsize, dtype.itemsize
            rows["high"], rows["low"] = ts >> 32, ts & 0xFFFFFFFF
        else:
            rows["sec"], rows["nsec"] = ts // 10**9, ts % 10**9
        rows["captured"], rows["original"] = link_bytes + 40, link_bytes + 40 + payload
        rows["type"], rows["version"], rows["total"], rows["proto"], rows["ttl"] = 0x0800, 0x45, 40 + payload, 6, 64
        pod = 0x0AF40000
        target = np.concatenate([0x0A600000 + service, pod + 256 + server], axis=2)[:, :, 2 - copies :] + 0 * forward
        port = np.where(np.arange(2) == 0, 80, 8080)[2 - copies :][None, None, :] + 0 * forward
        source, sport = pod + client + 0 * target, 32768 + (number + np.arange(n))[:, None, None] % 28000 + 0 * target
        toward = np.broadcast_to(forward == 1, target.shape)
        rows["src"], rows["dst"] = np.where(toward, source, target), np.where(toward, target, source)
        rows["sport"], rows["dport"] = np.where(toward, sport, port), np.where(toward, port, sport)
        sent = [np.cumsum(np.where(forward == side, payload + ((flags & 3) > 0), 0), axis=1) for side in (1, 0)]
        before = [
            total - np.where(forward == side, payload + ((flags & 3) > 0), 0)
            for side, total in zip((1, 0), sent, strict=True)
        ]
        seq = np.where(forward == 1, isn[0] + before[0].astype(np.uint64), isn[1] + before[1].astype(np.uint64))
        ack = np.where(forward == 1, isn[1] + sent[1].astype(np.uint64), isn[0] + sent[0].astype(np.uint64))
        rows["seq"], rows["ack"] = (seq & 0xFFFFFFFF), (ack & 0xFFFFFFFF)
        rows["offset"], rows["flags"] = 0x50, flags
        if any_interface:
            place = np.concatenate([10 + client, 100 + server], axis=2) + 0 * forward
            rows["ifindex"], rows["hardware"], rows["length"] = place, 1, 6
            rows["direction"] = np.where(toward == (np.arange(2) == 0), 0, 4)
        flat = rows.reshape(-1)
        flat = flat[np.argsort(ts.reshape(-1), kind="stable")][: count - done]
        yield flat.tobytes()
        done, number = done + len(flat), number + n + len(SHAPE)


def write(path: Path, count: int, kind: str) -> None:
    """A capture of `count` packets with nanoseconds."""
    linktype = 1 if kind == "ethernet" else 276
    with path.open("wb") as out:
        if kind == "pcapng":
            out.write(struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28))
            out.write(struct.pack("<IIHHIHHBxxxII", 1, 32, linktype, 0, 96, 9, 1, 9, 0, 32))
        else:
            out.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 96, linktype))
        for chunk in packets(count, kind != "ethernet", kind == "pcapng"):
            out.write(chunk)


def read_only(path: Path) -> int:
    """Decode every packet, do nothing with it."""
    from mimir.capture import open_capture

    return sum(len(batch) for batch in open_capture(path))


def connections(path: Path) -> int:
    """Decode and follow connections, no file written."""
    from mimir.capture import open_capture
    from mimir.flows.connections import ConnectionTracker
    from mimir.flows.identity import Identity

    tracker = ConnectionTracker(Identity(), 1, 300)
    for batch in open_capture(path):
        tracker.add(batch)
    return len(tracker.finish().window)


def one_window(path: Path) -> int:
    """The whole stage with one window length."""
    return stage(path, [60])


def stage(path: Path, windows_s: list[int] | None = None) -> int:
    """The whole stage: windows of 1, 10 and 60 s, both views, written to Parquet."""
    from mimir.flows import build_edges

    with tempfile.TemporaryDirectory() as folder:
        report = build_edges([path], None, windows_s or [1, 10, 60], "bench", 300, Path(folder) / "edges.parquet")
    return report.rows


def tshark(path: Path) -> float:
    """Packets per second of `tshark -T fields`, by the clock."""
    fields = ["frame.time_epoch", "ip.src", "ip.dst", "tcp.srcport", "tcp.dstport", "ip.len", "tcp.flags"]
    command = ["tshark", "-n", "-r", str(path), "-c", "50000", "-T", "fields", *(x for f in fields for x in ("-e", f))]
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return 50_000 / (time.perf_counter() - began)


def measure(work: Any, path: Path, results: Any) -> None:
    """Run `work` twice in this process (the second time without start-up); processor seconds and peak memory."""
    times = []
    for _ in range(2):
        began = time.process_time()
        value = work(path)
        times.append(time.process_time() - began)
    results.put((times, value, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3))


def main() -> None:
    """Write the capture, measure each step in a process of its own, print packets per processor second."""
    millions = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    kind = sys.argv[2] if len(sys.argv) > 2 else "any"
    count = int(millions * 1e6)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(sys.argv[3]) if len(sys.argv) > 3 else Path(folder) / "bench.pcap"
        if not path.exists():
            write(path, count, kind)
        print(f"{count:,} packets, {path.stat().st_size / 1e6:,.0f} MB, {kind}")
        context = get_context("spawn")
        for work in (read_only, connections, one_window, stage):
            results = context.Queue()
            process = context.Process(target=measure, args=(work, path, results))
            process.start()
            (first, second), value, peak = results.get()
            process.join()
            print(f"{work.__name__:<12} {count / second / 1e6:6.2f} M/s  ({first:5.2f} s, then {second:5.2f} s)  "
                  f"peak {peak:5.0f} MB  result {value:,}")  # fmt: skip
        if shutil.which("tshark"):
            print(f"tshark       {tshark(path) / 1e6:6.3f} M/s  (-T fields)")


if __name__ == "__main__":
    main()
