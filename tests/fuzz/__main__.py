"""`python -m tests.fuzz [SECONDS [reader|connections]]`: a coverage-guided run (atheris); 0 when it finds nothing.

`reader` (the default) takes bytes as a capture, `connections` as packets that are followed, joined and settled.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent


def main() -> None:
    """Fuzz for some seconds (default 60). New inputs stay in a folder of their own; findings in the current folder."""
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    target = sys.argv[2] if len(sys.argv) > 2 else "reader"
    if target not in ("reader", "connections"):
        sys.exit(f"unknown target {target!r}; allowed: reader, connections")
    os.environ["NUMBA_DISABLE_JIT"] = "1"
    try:
        import atheris
    except ImportError:
        sys.exit("atheris is missing; install it: .venv/bin/pip install -e '.[fuzz]'")
    with atheris.instrument_imports(include=["mimir.capture" if target == "reader" else "mimir.flows"]):
        if target == "reader":
            from tests.fuzz import harness

            path, corpus, check = harness.scratch(), FOLDER / "corpus", harness.check
        else:
            from tests.fuzz import connections

            path, corpus, check = Path(), FOLDER / "corpus-connections", lambda data, _: connections.check(data)
    with tempfile.TemporaryDirectory(prefix="mimir-fuzz-") as grown:
        limits = [
            f"-max_total_time={seconds}",
            "-max_len=4096" if target == "reader" else "-max_len=1024",
            "-timeout=10" if target == "reader" else "-timeout=60",
            "-rss_limit_mb=2048",
            "-print_final_stats=1",
        ]
        atheris.Setup([sys.argv[0], *limits, grown, str(corpus)], lambda data: check(data, path) and None)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
