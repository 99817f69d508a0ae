"""The application model: an application is a YAML file of services, endpoints, call trees, sizes and allowed edges."""

from mimir.apps.check import check_application
from mimir.apps.graph import allowed_edges, service_order

__all__ = ["allowed_edges", "check_application", "service_order"]
