"""Where conf/ is, what Hydra knows about the job at hand, and what to say when composing fails."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf

from mimir.errors import MimirError, Problem, SpecError
from mimir.spec.build import from_config
from mimir.spec.schema import Spec


def config_folder() -> Path:
    """conf/ of the checkout, or the copy inside an installed package."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package.parent / "conf", package / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise SpecError([Problem("conf/", "was not found beside or inside the mimir package", next="reinstall mimir")])


@dataclass(frozen=True)
class JobContext:
    """What a job needs to know about how it was started."""

    overrides: tuple[str, ...]
    sweep_folder: Path | None = None  #: None outside a sweep
    job_folder: Path | None = None

    @property
    def command(self) -> str:
        """The command that repeats this job alone."""
        return " ".join(["python run.py", *(_quoted(o) for o in self.overrides)])


def job_context() -> JobContext:
    """Context of the running Hydra job. Call it inside the task function only."""
    config = HydraConfig.get()
    overrides = tuple(o for o in config.overrides.task)
    if config.mode != RunMode.MULTIRUN:
        return JobContext(overrides)
    return JobContext(overrides, Path(config.sweep.dir).absolute(), Path(config.runtime.output_dir).absolute())


def composed(overrides: Sequence[str]) -> Spec:
    """The spec that `python run.py OVERRIDES` would run, outside a Hydra job. SpecError or MimirError when it is wrong."""
    try:
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            return from_config(compose("config", list(overrides)))
    except HydraException as error:
        raise MimirError(explain_failure(str(error))) from None


def explain_failure(message: str) -> str:
    """Hydra's own words on a spec it could not compose, plus the closest allowed name."""
    message = message.split("Config search path:")[0]
    noise = ("HYDRA_FULL_ERROR", "To append to your config", "full_key:", "object_type=")
    lines = [line for line in message.strip().splitlines() if line.strip() and not any(n in line for n in noise)]
    hint = _hint(message)
    return "\n".join(
        ["the spec could not be composed:", *(f"  {line}" for line in lines), *([f"  {hint}"] if hint else [])]
    )


def _hint(message: str) -> str:
    option = re.search(r"Could not find '([\w-]+)/([^']+)'", message)
    if option:
        group, wrong = option.groups()
        known = [f.stem for f in (config_folder() / group).glob("*.yaml")]
        return _suggest(wrong, known, f"{group}=")
    key = re.search(r"Could not override '([^']+)'", message)
    if key:
        *parent, wrong = key.group(1).split(".")
        prefix = "".join(f"{p}." for p in parent)
        return _suggest(wrong, _keys(parent), prefix)
    group_name = re.search(r"match for '([\w-]+)'|Could not override '([\w-]+)'\.\s*No match", message)
    if group_name:
        groups = [f.name for f in config_folder().iterdir() if f.is_dir()]
        return _suggest(next(filter(None, group_name.groups())), groups, "")
    return ""


def _keys(parent: Sequence[str]) -> list[str]:
    """Keys seen in any YAML file of a group (or of the primary config)."""
    folder = config_folder()
    files = sorted((folder / parent[0]).glob("*.yaml")) if parent else [folder / "config.yaml"]
    keys: set[str] = set() if parent else {f.name for f in folder.iterdir() if f.is_dir()}
    for file in files:
        node = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
        for part in parent[1:]:
            node = node.get(part, {}) if isinstance(node, dict) else {}
        keys.update(str(k) for k in node or ())
    return sorted(keys)


def _suggest(wrong: str, known: Sequence[str], prefix: str) -> str:
    close = get_close_matches(wrong, known, n=1)
    return f"did you mean {prefix}{close[0]}?" if close else f"allowed: {', '.join(sorted(known))}"


def _quoted(override: str) -> str:
    return f"'{override}'" if re.search(r"[\s(){}\[\]*$&|;<>]", override) else override
