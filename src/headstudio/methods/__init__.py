"""One folder a paper. Nothing outside a folder knows it; `pyproject.toml` registers it by name."""
