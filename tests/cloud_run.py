"""A training with a store, as a function and as a program: ``python -m tests.cloud_run``.

Takes the folder of all projects, the URL of the store, and ``auto`` or ``new``; with a further path
it makes that file after the second epoch, and waits until somebody has removed it.
"""

import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tt_cloud import RetryPolicy, open_store
from tt_experiment import outbox
from tt_experiment.api import TrainLoopCheckpoint
from tt_experiment.ports import BlobStore
from tt_loop.api import Callback

EPOCHS = 4


def make(root: Path, store: BlobStore | None) -> TrainLoopCheckpoint:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.Linear(8, 1))
    data = TensorDataset(torch.randn(24, 4), torch.randn(24, 1))
    loader = DataLoader(data, batch_size=4, shuffle=True)
    return TrainLoopCheckpoint(
        model,
        loader,
        loader,
        None,
        torch.optim.AdamW(model.parameters(), lr=0.01),
        nn.MSELoss(),
        project_name="project",
        experiment_name="run",
        local_model_result_folder_path=root,
        hyperparams={"lr": 0.01},
        store=store,
        progress=False,
    )


class Meet(Callback):
    def on_epoch_end(self) -> None:
        if len(sys.argv) > 4 and self.train_loop_obj.epoch == 1:
            sign = Path(sys.argv[4])
            sign.touch()
            while sign.exists():
                time.sleep(0.01)


def main() -> None:
    root, url, resume = sys.argv[1:4]
    outbox.Patience.__new__.__defaults__ = (0.05, 0.2, 1.0, 1.0)  # nobody else waits for this store
    quick = RetryPolicy(attempts=2, base=0.05, cap=0.1, deadline=1.0, connect_timeout=1.0)
    loop = make(Path(root), open_store(url, retry=quick))
    what = None if resume == "new" else resume
    loop.fit(num_epochs=EPOCHS, resume=what, callbacks=[Meet("meet")])
    sums = [float(weight.detach().double().sum()) for weight in loop.model.parameters()]
    sys.stdout.write(" ".join(map(str, sums)))


if __name__ == "__main__":
    main()
