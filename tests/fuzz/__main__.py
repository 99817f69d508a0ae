"""`python -m tests.fuzz [SECONDS]`: a coverage-guided run (atheris) over reader and decoder; 0 when it finds nothing."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"


def main() -> None:
    """Fuzz for some seconds (default 60). New inputs stay in a folder of their own; findings in the current folder."""
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    os.environ["NUMBA_DISABLE_JIT"] = "1"
    try:
        import atheris
    except ImportError:
        sys.exit("atheris is missing; install it: .venv/bin/pip install -e '.[fuzz]'")
    with atheris.instrument_imports(include=["mimir.capture"]):
        from tests.fuzz import harness
    path = harness.scratch()
    with tempfile.TemporaryDirectory(prefix="mimir-fuzz-") as grown:
        limits = [
            f"-max_total_time={seconds}",
            "-max_len=4096",
            "-timeout=10",
            "-rss_limit_mb=2048",
            "-print_final_stats=1",
        ]
        atheris.Setup([sys.argv[0], *limits, grown, str(CORPUS)], lambda data: harness.check(data, path) and None)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
