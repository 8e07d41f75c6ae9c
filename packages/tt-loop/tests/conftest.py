import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tt_loop.api import TrainLoop


@pytest.fixture
def make_loop():
    """A small classification job: 40 samples in batches of 8."""

    def make(
        validation: bool = True, test: bool = False, samples: int = 40, **options
    ) -> TrainLoop:
        torch.manual_seed(0)
        features = torch.randn(samples, 4)
        loader = DataLoader(
            TensorDataset(features, (features.sum(1) > 0).long()), batch_size=8, shuffle=True
        )
        model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.ReLU(), nn.Linear(8, 2))
        return TrainLoop(
            model,
            loader,
            loader if validation else None,
            loader if test else None,
            options.pop("optimizer", torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)),
            nn.CrossEntropyLoss(),
            **{"progress": False, **options},
        )

    return make
