"""What people see of a run and of a model."""

__all__: list[str] = []
