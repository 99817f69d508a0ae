"""Many detectors × many recordings from cached edges: `python -m mimir.pipeline.benchmark`."""
