"""Train a small network on handwritten digits, with everything kept.

    python examples/demo.py
    python examples/demo.py --gpu-mode ddp
    python examples/demo.py --amp
    python examples/demo.py --store s3://my-bucket/runs

The digits are the 1,797 real ones that scikit-learn ships (8x8 pixels). A network of 30,000
parameters reads 98 % of the test digits right after some seconds of CPU. Each run makes a folder
of its own below ``experiments/``; its ``report.html`` opens from disk.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

from aitoolbox.experiment.result_package.basic_packages import ClassificationResultPackage
from aitoolbox.torchtrain.callbacks import (
    EarlyStopping,
    ModelPerformanceEvaluation,
    ModelPerformancePrintReport,
    ModelTrainHistoryPlot,
)
from aitoolbox.torchtrain.model import TTModel
from aitoolbox.torchtrain.train_loop import TrainLoopCheckpointEndSave

EPOCHS = 15  # the validation accuracy has stopped rising by then
BATCH = 64  # of all processes together
LEARNING_RATE = 2e-3  # Adam's usual 1e-3 gets there too, in twice the epochs


class DigitClassifier(TTModel):
    """Two convolutions and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout(0.3),
            nn.Flatten(),
            nn.Linear(64 * 4 * 4, 10),
        )

    def forward(self, images: torch.Tensor) -> Any:
        return self.layers(images)

    def get_loss(self, batch_data: Any, criterion: Any, device: torch.device) -> Any:
        images, labels = batch_data
        return criterion(self(images.to(device)), labels.to(device))

    def get_predictions(self, batch_data: Any, device: torch.device) -> tuple[Any, Any, Any]:
        images, labels = batch_data
        return self(images.to(device)).argmax(dim=1).cpu(), labels, {}


def digits(batch_size: int) -> list[DataLoader[Any]]:
    """Training, validation and test digits: 60, 20 and 20 % of them, drawn at random."""
    images, labels = load_digits(return_X_y=True)
    pixels = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    classes = torch.tensor(labels, dtype=torch.long)
    data, size = TensorDataset(pixels, classes), len(labels) // 5
    train, validation, test = random_split(data, [len(labels) - 2 * size, size, size])
    return [
        DataLoader(train, batch_size=batch_size, shuffle=True),
        DataLoader(validation, batch_size=256),
        DataLoader(test, batch_size=256),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Train on handwritten digits with full tracking.")
    parser.add_argument("--gpu-mode", choices=["single", "dp", "ddp"], default="single")
    parser.add_argument("--amp", action="store_true", help="mixed precision")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--root", type=Path, default=Path("experiments"), help="folder of all runs")
    parser.add_argument("--store", help="where to copy the run: s3://..., gs://... or a folder")
    options = parser.parse_args()

    torch.manual_seed(0)
    processes = (torch.cuda.device_count() or 2) if options.gpu_mode == "ddp" else 1
    train_loader, validation_loader, test_loader = digits(BATCH // processes)
    model = DigitClassifier()
    train_loop = TrainLoopCheckpointEndSave(
        model,
        train_loader,
        validation_loader,
        test_loader,
        torch.optim.Adam(model.parameters(), lr=LEARNING_RATE),
        nn.CrossEntropyLoss(),
        project_name="digits",
        experiment_name=f"cnn_{options.gpu_mode}",
        local_model_result_folder_path=options.root,
        hyperparams={"learning_rate": LEARNING_RATE, "batch_size": BATCH, **vars(options)},
        val_result_package=ClassificationResultPackage(),
        test_result_package=ClassificationResultPackage(),
        rm_subopt_local_models="val_Accuracy",
        gpu_mode=options.gpu_mode,
        use_amp=options.amp,
        store=options.store,
    )
    callbacks = [
        ModelPerformanceEvaluation(ClassificationResultPackage()),
        ModelPerformancePrintReport(["loss", "val_loss", "val_Accuracy"]),
        ModelTrainHistoryPlot(),
        EarlyStopping("val_loss", patience=4),
    ]
    launch: dict[str, Any] = {"num_gpus": processes} if options.gpu_mode == "ddp" else {}
    train_loop.fit(num_epochs=options.epochs, callbacks=callbacks, **launch)

    experiment = train_loop.experiment
    accuracy = experiment.results()["ClassificationResult_TEST"]["Accuracy"]
    print(f"test accuracy    {accuracy:.2%}")
    print(f"experiment       {experiment.folder.path}")
    if best := experiment.best("val_Accuracy", "max"):
        print(f"best checkpoint  {best.location}")
    print(f"report           {experiment.folder.report_file}")


if __name__ == "__main__":
    main()
