"""The testbed: one process that makes the namespaces, runs the application in them, and takes everything with it when it ends.

Started by `mimir.cluster.netns.cluster` with a job on standard input; says on standard output, one JSON document a line,
how far it is and at last what it recorded or why it failed. Namespaces come before anything that starts a thread is imported.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from mimir.cluster.netns.kernel import become_root_of_own_world, die_with_parent


def say(**what: Any) -> None:
    """One line for the parent."""
    print(json.dumps(what), flush=True)


def main() -> int:
    """Run the job on standard input."""
    job = json.loads(sys.stdin.readline())
    parent = os.getppid()
    become_root_of_own_world()
    die_with_parent(parent)
    from mimir.cluster.netns.session import run_job  # numpy and what else starts threads
    from mimir.errors import MimirError

    try:
        say(done=run_job(job, lambda seconds, packets: say(progress=[seconds, packets])))
    except MimirError as error:
        say(error=str(error))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
