"""Log the fitted detectors of a run as one loadable MLflow model, without pickle."""

from __future__ import annotations

import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimir.tracking.content import RunContent

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

MODEL_NAME = "detector"
#: what mimir.detectors and mimir.flows need; named here because MLflow would take 8 s to find out
REQUIREMENTS = ("mlflow", "numpy", "pandas", "pyarrow", "scipy", "networkx", "numba", "pydantic")
NOT_INPUT = ("recording",)
EXAMPLE_ROWS = 3
ARROW_TYPES = {"int64": "long", "int32": "integer", "int16": "integer", "double": "double", "bool": "boolean"}


def has_model(run: RunContent) -> bool:
    """True when the run directory holds fitted detectors and what is needed to use them."""
    fitted = list((run.folder / "detector").glob("w*/threshold.json"))
    return bool(fitted) and all((run.folder / name).exists() for name in ("entities.jsonl", "edges.parquet"))


def log_model(client: MlflowClient, run: RunContent, experiment: str, run_id: str) -> str:
    """Log the model as an output of the run; returns its URI (`models:/…`)."""
    import mlflow
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    package = Path(__file__).resolve().parent.parent
    model = client.create_logged_model(
        experiment, name=MODEL_NAME, source_run_id=run_id, model_type="detector",
        params={"name": str(run.spec["detector"]["name"])}, tags={"mimir.run": run.name},
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "model"
        mlflow.pyfunc.save_model(
            str(target),
            mlflow_model=Model(
                artifact_path=model.artifact_location, run_id=run_id, model_uuid=model.model_id, model_id=model.model_id
            ),
            python_model=str(package / "tracking" / "model_code.py"),
            artifacts={
                "detector": (run.folder / "detector").as_uri(), "entities": (run.folder / "entities.jsonl").as_uri()
            },
            code_paths=[str(package)],
            model_config={"sensitive": list(run.spec["app"].get("sensitive") or [])},
            signature=_signature(run.folder / "edges.parquet"),
            input_example=_example(run.folder / "edges.parquet"),
            pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
        )  # fmt: skip
        client.log_model_artifacts(model.model_id, str(target))
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    return f"models:/{model.model_id}"


def _signature(edges: Path) -> ModelSignature:
    import pyarrow.parquet as pq
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, Schema, TensorSpec

    found = [field for field in pq.read_schema(edges) if field.name not in NOT_INPUT]
    inputs: list[ColSpec | TensorSpec] = [
        ColSpec(ARROW_TYPES.get(str(field.type), "string"), field.name) for field in found
    ]
    outputs = [
        ("long", "window_s"),
        ("long", "window_start"),
        ("double", "score"),
        ("double", "threshold"),
        ("boolean", "alert"),
    ]
    return ModelSignature(Schema(inputs), Schema([*(ColSpec(kind, name) for kind, name in outputs)]))


def _example(edges: Path) -> Any:
    """A few rows of the file itself."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(edges) as file:
        batch = next(file.iter_batches(batch_size=EXAMPLE_ROWS))
    return batch.to_pandas().drop(columns=list(NOT_INPUT))
