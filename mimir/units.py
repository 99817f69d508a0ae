"""Units used across Mimir: times are UTC epoch seconds (or ns where named `_ns`), rates are decimal (kB = 1000 B)."""

from __future__ import annotations

from datetime import UTC, datetime

NS_PER_S = 1_000_000_000
DAY_S = 86_400
HOUR_S = 3_600


def format_bytes(count: float) -> str:
    """Decimal units, three significant digits.

    >>> format_bytes(999), format_bytes(100_000), format_bytes(1_234_567)
    ('999 B', '100 kB', '1.23 MB')
    """
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if abs(count) >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count:.0f} B"


def format_duration(seconds: float) -> str:
    """Two largest units.

    >>> format_duration(59), format_duration(90), format_duration(9000)
    ('59 s', '1 min 30 s', '2 h 30 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.2g} s" if seconds < 10 and seconds != whole else f"{whole} s"
    if whole < HOUR_S:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, rest = divmod(whole, HOUR_S)
    return f"{hours} h {rest // 60} min" if rest >= 60 else f"{hours} h"


def utc(epoch_s: float) -> str:
    """ISO 8601 in UTC, whole seconds.

    >>> utc(0)
    '1970-01-01T00:00:00Z'
    """
    return datetime.fromtimestamp(int(epoch_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
