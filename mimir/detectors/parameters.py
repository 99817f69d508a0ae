"""What all detectors share: named parameters, and a clear error when used before `fit`."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from mimir.errors import MimirError, NotFittedError


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
