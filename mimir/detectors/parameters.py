"""What all detectors share: named parameters, and a clear error when used before `fit`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ClassVar, Self, TypeVar, cast

from mimir.errors import MimirError, NotFittedError

F = TypeVar("F", bound=Callable[..., Any])
_MEMORY = "_remembered"


class Parametrised:
    """Parameters by name, in the manner of scikit-learn; each is an attribute of the same name."""

    name: ClassVar[str]
    parameters: ClassVar[tuple[str, ...]] = ()

    def get_params(self) -> dict[str, Any]:
        """Parameters as JSON values; `build(name, get_params())` makes an equal detector."""
        return {name: getattr(self, name) for name in self.parameters}

    def set_params(self, **params: Any) -> Self:
        """Change parameters; takes effect at the next `fit`. Unknown names raise MimirError."""
        for name, value in params.items():
            if name not in self.parameters:
                allowed = ", ".join(self.parameters) or "none"
                raise MimirError(
                    f"detector {self.name} has no parameter {name!r} (allowed: {allowed}); "
                    f"see conf/detector/{self.name}.yaml"
                )
            setattr(self, name, value)
        return self

    def require(self, fitted: bool) -> None:
        """NotFittedError unless `fitted`."""
        if not fitted:
            raise NotFittedError(
                f"detector {self.name} is not fitted; call fit(benign series) or load_detector(folder) first"
            )


@contextmanager
def remembering(detector: object) -> Iterator[None]:
    """Inside, methods marked `once_a_series` compute once per series: explaining many windows costs one pass.

    The detector must not be fitted or changed inside.
    """
    detector.__dict__[_MEMORY] = {}
    try:
        yield
    finally:
        del detector.__dict__[_MEMORY]


def once_a_series(method: F) -> F:
    """Keep the result of a method for its last arguments (the same objects) while the detector is `remembering`."""

    @wraps(method)
    def kept(self: object, *arguments: object) -> Any:
        memory = self.__dict__.get(_MEMORY)
        if memory is None:
            return method(self, *arguments)
        known = memory.get(method.__name__)
        if (
            known is None
            or len(known[0]) != len(arguments)
            or any(a is not b for a, b in zip(known[0], arguments, strict=True))
        ):
            known = memory[method.__name__] = (arguments, method(self, *arguments))
        return known[1]

    return cast(F, kept)
