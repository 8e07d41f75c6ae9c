"""The Trainer of Hugging Face's transformers."""

from importlib import import_module
from typing import Any

import torch

from loops.job import BATCH, Contestant, Job, parts

hf: Any = import_module("transformers")


class JobTrainer(hf.Trainer):  # type: ignore[misc]  # a peer need not be installed
    """Takes the job's own loaders and pairs."""

    def __init__(self, job: Job, model: Any, criterion: Any, **settings: Any) -> None:
        super().__init__(model, train_dataset=job.loader.dataset, **settings)
        self.job, self.criterion = job, criterion
        self.loss_is_scaled_for_ga = False  # have it divided by the number of batches
        self.remove_callback(hf.PrinterCallback)

    def get_train_dataloader(self) -> Any:
        return self.job.loader

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:  # noqa: ARG002  # Trainer's
        return self.job.validation

    def compute_loss(self, model: Any, inputs: Any, **_: Any) -> Any:
        return self.criterion(model(inputs[0]), inputs[1])

    @torch.no_grad()
    def prediction_step(self, model: Any, inputs: Any, *_: Any, **__: Any) -> Any:
        return None, model(inputs[0]).argmax(1), inputs[1]


def transformers(job: Job) -> Contestant:
    model, optimizer, criterion = parts()
    found: list[float] = []

    def accuracy(predicted: Any) -> dict[str, float]:
        found.append(float((predicted.predictions == predicted.label_ids).mean()))
        return {"accuracy": found[-1]}

    settings = hf.TrainingArguments(
        output_dir="transformers",  # nothing is saved
        use_cpu=True,
        num_train_epochs=job.epochs,
        per_device_train_batch_size=BATCH,
        gradient_accumulation_steps=job.accumulation,
        max_grad_norm=job.max_norm or 0.0,
        lr_scheduler_type="constant",
        eval_strategy="no" if job.validation is None else "epoch",
        save_strategy="no",
        logging_strategy="no",
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    trainer = JobTrainer(
        job,
        model,
        criterion,
        args=settings,
        optimizers=(optimizer, None),
        eval_dataset=job.validation and job.validation.dataset,
        compute_metrics=accuracy,
    )

    def run() -> float | None:
        # one for the whole process: Accelerate's contestant has set it to its own
        trainer.accelerator.gradient_accumulation_steps = 1
        trainer.train()
        return found[-1] if found else None

    return model, run
