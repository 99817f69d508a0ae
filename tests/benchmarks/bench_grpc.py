"""`python -m tests.benchmarks.bench_grpc`: calls a second on one connection, HTTP/2 against the plain framing of services."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time

from mimir.cluster.netns.http2_client import speak_grpc
from mimir.cluster.netns.lines import Lines, speak_plainly
from mimir.cluster.netns.serving import serve_connection
from mimir.cluster.netns.tasks import BROKEN
from mimir.cluster.netns.wire import Asked, Call
from mimir.spec.app import EdgeSpec

KINDS = {"framing": ("redis", speak_plainly), "HTTP/2": ("grpc", speak_grpc)}
EDGE = EdgeSpec(client="a", server="b", connection="shared", keep=1, idle_s=0)


async def measure(kind: str, work_ms: float, callers: int, calls: int) -> tuple[float, float]:
    """(calls a second, CPU of both ends a call in s) of `callers` that share one connection."""
    protocol, speak = KINDS[kind]

    async def answer(asked: Asked) -> int:
        if work_ms:
            await asyncio.sleep(work_ms / 1000)
        return 200

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(*BROKEN, asyncio.CancelledError):
            await serve_connection(reader, writer, protocol, answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    lines = Lines(EDGE, lambda: asyncio.open_connection(*server.sockets[0].getsockname()), speak)
    numbers = iter(range(calls))

    async def caller() -> None:
        for _ in numbers:
            async with lines.use() as line:
                await line.ask(Call(protocol, "Convert", "currency", 1, 130))

    began_s, cpu_s = time.perf_counter(), time.process_time()
    await asyncio.gather(*(caller() for _ in range(callers)))
    took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    lines.close()
    server.close()
    return calls / took_s, cpu_s / calls


def main() -> None:
    """Print the table; the better of three runs each."""
    sys.stdout.write("| service time | callers | protocol | calls/s | CPU a call |\n|---|---|---|---|---|\n")
    for work_ms in (0, 1):
        for callers in (1, 50):
            for kind in KINDS:
                asyncio.run(measure(kind, work_ms, callers, 50))
                runs = [asyncio.run(measure(kind, work_ms, callers, 1000)) for _ in range(3)]
                rate, cpu_s = max(run[0] for run in runs), min(run[1] for run in runs)
                row = f"{work_ms} ms", callers, kind, f"{rate:.0f}", f"{cpu_s * 1e6:.0f} µs"
                sys.stdout.write("| " + " | ".join(map(str, row)) + " |\n")


if __name__ == "__main__":
    main()
