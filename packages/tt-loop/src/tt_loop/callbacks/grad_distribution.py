"""Hand distributions of the gradients of chosen layers to whoever draws them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tt_loop.callbacks.grad_stats import LayerGradients, Layers

__all__ = ["GradDistributionPlot", "GradientHistogram", "GradientOutput"]

_log = logging.getLogger(__name__)

_BINS = 100


class GradientHistogram(NamedTuple):
    """How a gradient's elements are distributed, as `numpy.histogram` gives it."""

    counts: NDArray[np.int64]
    """Shape ``(bins,)``."""
    edges: NDArray[np.float64]
    """Shape ``(bins + 1,)``."""


@runtime_checkable
class GradientOutput(Protocol):
    """Writes distributions of gradients, as a plot for example."""

    def write(
        self,
        gradients: Mapping[str, GradientHistogram],
        directory: str,
        file_format: str,
        epoch: int,
        /,
    ) -> Sequence[str]:
        """Write the distribution of each layer after an epoch and tell the paths of the files."""
        ...


class GradDistributionPlot(LayerGradients):
    """Hand the distributions of layers' weight gradients, at each epoch's last update, to a plot.

    An epoch that is stopped before its last batch has none. Where nobody knows how many batches an
    epoch has, the gradients are copied at each update, on their device. Elements that are not
    finite are left out.

    Args:
        model_layers_extract_def: Takes the model and gives the layers to look at.
        grad_plots_dir_name: Name of the directory, handed to the output.
        file_format: Handed to the output.
        output: Draws the distributions; what it raises is logged and does not end training. The
            paths that it tells are left with `TrainLoop.message_service` under
            ``GradDistributionPlot_results_file_local_paths``.
    """

    def __init__(
        self,
        model_layers_extract_def: Layers,
        grad_plots_dir_name: str = "grad_distribution",
        file_format: str = "png",
        *,
        output: GradientOutput,
    ) -> None:
        super().__init__("Gradient distribution plot", model_layers_extract_def)
        self.grad_plots_dir_name = grad_plots_dir_name
        self.file_format = file_format
        self.output = output
        self._copies: dict[str, Tensor] = {}
        self._last_batch: int | None = None
        self._last_iteration: int | None = None

    def on_train_begin(self) -> None:
        """Find the layers, and out which update is an epoch's last."""
        super().on_train_begin()
        loop = self.train_loop_obj
        fit = loop.fit_under_way
        assert fit is not None  # noqa: S101  # this hook is called by one
        batches = fit.data.batches.sized
        self._last_batch = None if batches is None else batches - 1
        self._last_iteration = (
            loop.fit_began["total_iteration_idx"] + loop.num_iterations
            if loop.num_iterations
            else None
        )

    def on_epoch_begin(self) -> None:
        """Forget the last epoch."""
        self._copies = {}

    def on_after_gradient_update(self, optimizer_idx: int) -> None:
        """Copy the gradients, if no other update comes in this epoch."""
        loop = self.train_loop_obj
        if (
            self._last_batch is None
            or loop.iteration == self._last_batch
            or loop.total_iteration_idx == self._last_iteration
        ):
            for name, gradient in self.gradients(optimizer_idx).items():
                self._copies[name] = gradient.detach().clone()

    def on_epoch_end(self) -> None:
        """Hand the distributions over."""
        loop = self.train_loop_obj
        histograms = {name: _histogram(gradient) for name, gradient in self._copies.items()}
        self._copies = {}
        if not histograms:
            _log.info("no gradients were seen at the end of epoch %d", loop.epoch)
            return
        try:
            paths = list(
                self.output.write(
                    histograms, self.grad_plots_dir_name, self.file_format, loop.epoch
                )
            )
        except Exception:  # a picture is not worth a run
            _log.exception(
                "the gradients' distributions were not written after epoch %d", loop.epoch
            )
            return
        loop.message_service.write_message(f"{type(self).__name__}_results_file_local_paths", paths)


def _histogram(gradient: Tensor) -> GradientHistogram:
    values = gradient.cpu().numpy()
    counts, edges = np.histogram(values[np.isfinite(values)], bins=_BINS)
    return GradientHistogram(counts, edges.astype(np.float64))
