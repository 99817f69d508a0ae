"""The run spec: types, validation, signature."""

from mimir.spec.schema import Spec

__all__ = ["Spec"]
