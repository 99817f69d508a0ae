"""Figures as PNG files: the project's style, one resolution, a palette instead of millions of colours, no time stamps."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimir.report.figures import STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DPI = 144
COLOURS = 128  #: drawings have few; a third of the bytes


@contextmanager
def png_figure(path: Path, shape: tuple[int, int], size: tuple[float, float], **share: Any) -> Iterator[list[Axes]]:
    """Axes, row by row, of a figure of `shape` rows × columns and `size` inches, written to `path` at the end."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained", dpi=DPI)
        FigureCanvasAgg(figure)
        yield list(figure.subplots(*shape, squeeze=False, **share).ravel())
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", metadata={"Software": None})
    path.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(drawn) as image:
        image.convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
            path, format="PNG", optimize=True
        )
