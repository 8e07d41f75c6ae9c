"""Lightning's Trainer: fit starts the processes."""

from importlib import import_module
from typing import Any

from torch.utils.data import DataLoader

from parallel_runs.commands.work import data, parts

lightning: Any = import_module("lightning")


class Module(lightning.LightningModule):  # type: ignore[misc]  # a peer need not be installed
    def __init__(self) -> None:
        super().__init__()
        self.model, self.optimizer, self.criterion = parts()

    def training_step(self, batch: Any) -> Any:
        inputs, target = batch
        return self.criterion(self.model(inputs), target)

    def configure_optimizers(self) -> Any:
        return self.optimizer


if __name__ == "__main__":
    trainer = lightning.Trainer(
        accelerator="cpu", devices=2, strategy="ddp", max_epochs=1, barebones=True
    )
    trainer.fit(Module(), DataLoader(data(), 32))
