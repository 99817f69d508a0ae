"""One job: composed config → Spec → run, with every failure turned into an Outcome."""

from __future__ import annotations

import json
import math
import sys
import traceback
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mimir.errors import EXIT_DONE, EXIT_FAILED, MimirError
from mimir.files import write_json

if TYPE_CHECKING:
    from mimir.spec.compose import JobContext


@dataclass(frozen=True)
class Outcome:
    """How a job ended. `objective` is event recall at the alert budget: what a Hydra sweeper may optimise."""

    exit_code: int = EXIT_DONE
    run_directory: str | None = None
    error: str | None = None
    objective: float = math.nan


def run_job(config: Any, context: JobContext) -> Outcome:
    """Run one job and record its outcome (in a sweep also as `job.json`). Never raises."""
    from mimir.pipeline.lifecycle import interruptible
    from mimir.pipeline.run import run
    from mimir.pipeline.sweep import announce
    from mimir.spec.build import from_plain, to_dict, to_plain
    from mimir.spec.load import with_series_digest

    outcome = Outcome(EXIT_FAILED)
    try:
        with interruptible():
            plain = with_series_digest(to_plain(config))
            if context.sweep_folder is not None and context.job_folder is not None:
                announce(context.sweep_folder, context.job_folder, plain)
            spec = from_plain(plain, check=False)  # `run` reports broken rules with those of cluster and leak
            outcome = run(spec, to_dict(spec), context)
    except MimirError as error:
        print(f"error: {error}", file=sys.stderr)
        outcome = Outcome(error.exit_code, getattr(error, "run_directory", None), str(error))
    except KeyboardInterrupt as error:
        print("interrupted", file=sys.stderr)
        outcome = Outcome(EXIT_FAILED, getattr(error, "run_directory", None), "interrupted")
    except Exception as error:
        trace = traceback.format_exc()
        print(trace, file=sys.stderr)
        outcome = Outcome(EXIT_FAILED, getattr(error, "run_directory", None), trace)
    if outcome.exit_code == EXIT_FAILED and outcome.run_directory:
        print(f"to resume (finished stages are kept): {context.command}", file=sys.stderr)
    if context.job_folder is not None:
        record = asdict(outcome) | {"overrides": list(context.overrides), "objective": _json_number(outcome.objective)}
        write_json(context.job_folder / "job.json", json.loads(json.dumps(record)))
    return outcome


def _json_number(value: float) -> float | None:
    return None if math.isnan(value) else value
