"""Hydra's hooks around a sweep: prepare the tracker before workers start, compare the runs when all have ended."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from mimir.errors import EXIT_DONE, EXIT_FAILED
from mimir.pipeline.sweep import begin, end, exit_code

last_exit_code = EXIT_DONE  #: of the sweep that ended in this process; read by mimir.pipeline.entry


class SweepCallback(Callback):
    """Thin: the work is in mimir.pipeline.sweep, which knows nothing of Hydra."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Before the first job."""
        if config.dry_run:
            return
        begin(_folder(config), _tracking(config), _jobs(config))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """After the last job. Hydra turns an exception here into a warning, so it is shown and counted by ourselves."""
        global last_exit_code
        if config.dry_run:
            last_exit_code = exit_code(_folder(config))
            return
        try:
            last_exit_code = end(_folder(config), _tracking(config))
        except Exception:
            traceback.print_exc()
            last_exit_code = EXIT_FAILED


def _folder(config: DictConfig) -> Path:
    return Path(config.hydra.sweep.dir).absolute()


def _jobs(config: DictConfig) -> int:
    """How many jobs the swept overrides give; 0 where another sweeper than Hydra's own decides that as it goes."""
    if "BasicSweeper" not in str(config.hydra.sweeper.get("_target_")):
        return 0
    params = config.hydra.sweeper.get("params")
    plain = OmegaConf.to_container(params, resolve=True) if params else {}
    texts = [f"{key!s}={value}" for key, value in plain.items()] if isinstance(plain, dict) else []
    texts += [str(override) for override in config.hydra.overrides.task]
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    overrides = parser.parse_overrides(texts)
    return sum(len(batch) for batch in BasicSweeper.split_arguments(overrides, max_batch_size=None))


def _tracking(config: DictConfig) -> dict[str, Any]:
    plain = OmegaConf.to_container(config.tracking, resolve=True)
    return {str(k): v for k, v in plain.items()} if isinstance(plain, dict) else {}
