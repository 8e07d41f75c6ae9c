"""How precisely a step computes."""

__all__: list[str] = []
