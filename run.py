"""Run one experiment, or a sweep of them: `python run.py --help`."""

from __future__ import annotations

import sys

try:
    import hydra
    from omegaconf import DictConfig
except ModuleNotFoundError as missing:
    sys.exit(
        f"{missing.name} is not installed for {sys.executable}: run `make setup`, then .venv/bin/python run.py ..."
    )

from mimir.pipeline.entry import Session

session = Session(sys.argv[1:])


@hydra.main(version_base="1.3", config_path=session.config_folder, config_name="config")
def main(config: DictConfig) -> float | None:
    """One job: compose → Spec → pipeline."""
    return session.job(config)


if __name__ == "__main__":
    session.exit(main)
