"""The processes of a run: starting, joining, watching and ending them."""

__all__: list[str] = []
