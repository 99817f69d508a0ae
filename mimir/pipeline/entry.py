"""The command line's outer shell: one Session per process turns jobs into exit codes."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from typing import Any

from mimir.errors import EXIT_DONE, EXIT_FAILED, EXIT_SPEC
from mimir.spec.compose import config_folder, explain_failure, job_context


class Session:
    """Exit codes: 0 done, 1 failed (or any job of a sweep), 2 the spec is wrong, 3 an expectation was missed."""

    def __init__(self, arguments: Sequence[str]):
        self.arguments = tuple(arguments)
        self.config_folder = str(config_folder())
        self.entered = False
        self.exit_code = EXIT_DONE

    def job(self, config: Any) -> float:
        """Run one job; returns the headline number (NaN when it failed). Never raises: sweeps must go on."""
        self.entered = True
        from mimir.pipeline.job import run_job

        context = job_context()
        outcome = run_job(config, context)
        if (
            context.sweep_folder is None
        ):  # the exit code of a sweep comes from all of its jobs, see mimir.pipeline.sweep
            self.exit_code = outcome.exit_code
        return outcome.objective

    def exit(self, main: Callable[[], Any]) -> None:
        """Call Hydra's main and leave the process with the right exit code."""
        composing = io.StringIO()
        code: int | str | None = EXIT_DONE
        try:
            with redirect_stderr(_UntilEntered(composing, self)):
                main()
        except SystemExit as leaving:
            code = leaving.code
        except Exception as error:
            if self.entered:
                raise
            code = EXIT_SPEC
            composing.write(str(error))
        if code and not self.entered and not _sweep_failures():
            print(explain_failure(composing.getvalue()), file=sys.stderr)
            sys.exit(EXIT_SPEC)
        sys.exit(max(self.exit_code, _sweep_failures()) or (EXIT_FAILED if code else EXIT_DONE))


def _sweep_failures() -> int:
    """Exit code of the sweep that just ended in this process (0 when there was none, or all jobs succeeded)."""
    callbacks = sys.modules.get("mimir.pipeline.callbacks")
    return int(callbacks.last_exit_code) if callbacks else EXIT_DONE


class _UntilEntered(io.TextIOBase):
    """Standard error that is held back while Hydra composes and goes through once a job has begun."""

    def __init__(self, held: io.StringIO, session: Session):
        self.held, self.session, self.real = held, session, sys.stderr

    def write(self, text: str) -> int:
        return (self.real if self.session.entered else self.held).write(text)

    def flush(self) -> None:
        self.real.flush()

    def isatty(self) -> bool:
        return self.real.isatty()

    def fileno(self) -> int:
        return self.real.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.real.encoding
