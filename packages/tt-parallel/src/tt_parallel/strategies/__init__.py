"""How one optimizer step is executed on several devices."""

__all__: list[str] = []
