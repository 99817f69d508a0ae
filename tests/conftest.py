"""How tests are spread over processes (pytest-xdist)."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A file stays in one process, so that what its tests share is made once; testbeds in real time share one process."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        real_time = item.get_closest_marker("netns") is not None
        item.add_marker(pytest.mark.xdist_group("testbeds" if real_time else str(item.path)))
