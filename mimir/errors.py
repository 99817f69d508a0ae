"""Errors that a user can act on. Each says what is wrong, where, what is allowed, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

EXIT_DONE, EXIT_FAILED, EXIT_SPEC, EXIT_EXPECTATION = 0, 1, 2, 3


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a spec: dotted `where`, `what` is wrong, what is `allowed`, the `next` step."""

    where: str
    what: str
    allowed: str = ""
    next: str = ""

    def __str__(self) -> str:
        text = f"{self.where} {self.what}"
        if self.allowed:
            text += f" (allowed: {self.allowed})"
        if self.next:
            text += f"; {self.next}"
        return text


class MimirError(Exception):
    """Base of every error Mimir raises on purpose; the message is meant for the user."""

    exit_code = EXIT_FAILED


class SpecError(MimirError):
    """The spec is wrong; nothing was created. Carries all problems found, not only the first."""

    exit_code = EXIT_SPEC

    def __init__(self, problems: Sequence[Problem]):
        self.problems = tuple(problems)
        count = len(self.problems)
        head = f"the spec has {count} problem{'s' if count != 1 else ''}:"
        super().__init__("\n".join([head, *(f"  {i}. {p}" for i, p in enumerate(self.problems, 1))]))

    def __reduce__(self) -> tuple[type[SpecError], tuple[Sequence[Problem]]]:
        return type(self), (self.problems,)


class ExpectationError(MimirError):
    """A threshold declared in `evaluation.expect` was missed."""

    exit_code = EXIT_EXPECTATION


class RequirementError(MimirError):
    """Something this machine must have (a tool, a right, a file) is missing."""


class CaptureError(MimirError):
    """A capture cannot be read. `offset` is the byte in the file where reading stopped."""

    def __init__(self, path: Path | str, reason: str, offset: int = 0):
        self.path, self.reason, self.offset = Path(path), reason, offset
        super().__init__(f"{path}: {reason}{f' (at byte {offset})' if offset else ''}")

    def __reduce__(self) -> tuple[type[CaptureError], tuple[Path, str, int]]:
        return type(self), (self.path, self.reason, self.offset)


class NotFittedError(MimirError):
    """A detector was asked to score before it was fitted."""
