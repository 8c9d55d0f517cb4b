"""What turns gradients into steps: AdamW, or Muon for the matrices with AdamW for the rest.

Muon (Jordan et al., 2024) makes a matrix's step orthogonal, so that directions rarely seen are learnt as
fast as common ones. `experiments/mini-third-world` has both side by side on the mini denoiser.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dfprompt.errors import ConfigError

_ADAM_MOMENTS = ("step", "exp_avg", "exp_avg_sq")
_SMALLEST_SIDE = 16  # of a matrix worth orthogonalising; the last convolution, 12 wide, stays with AdamW


class Steps:
    """The optimiser of one training: named weights, one learning rate, moments as plain tensors.

    Raises ConfigError if `muon` is asked for and torch is older than 2.9.

    >>> layer = nn.Linear(32, 32)
    >>> steps = Steps(dict(layer.named_parameters()), lr=0.1, weight_decay=0.0, muon=True)
    >>> layer(torch.ones(1, 32)).sum().backward()
    >>> steps.take()
    >>> sorted(steps.moments())
    ['adam.exp_avg.bias', 'adam.exp_avg_sq.bias', 'adam.step.bias', 'muon.momentum_buffer.weight']
    """

    def __init__(
        self, named: Mapping[str, nn.Parameter], *, lr: float, weight_decay: float, muon: bool
    ) -> None:
        if muon and not hasattr(torch.optim, "Muon"):
            raise ConfigError(f"training with Muon needs torch 2.9 or later; this is {torch.__version__}")
        chosen = {name for name, weight in named.items() if muon and _is_matrix(weight)}
        self._plain = {name: weight for name, weight in named.items() if name not in chosen}
        self._weights = {name: named[name] for name in named if name in chosen}
        # torch's Muon takes matrices alone; these are the same memory as the weights, seen as matrices.
        self._matrices = {
            name: nn.Parameter(as_matrix(weight.detach())) for name, weight in self._weights.items()
        }
        self._adam: Any = None
        self._muon: Any = None
        if self._plain:
            self._adam = torch.optim.AdamW(
                list(self._plain.values()), lr=lr, betas=(0.9, 0.99), weight_decay=weight_decay
            )
        if self._matrices:
            self._muon = torch.optim.Muon(
                list(self._matrices.values()),
                lr=lr,
                weight_decay=weight_decay,
                adjust_lr_fn="match_rms_adamw",  # steps as long as AdamW's, so one rate serves both
            )

    def set_rate(self, lr: float) -> None:
        """The learning rate of the next steps."""
        for optimizer in (self._adam, self._muon):
            for group in optimizer.param_groups if optimizer else ():
                group["lr"] = lr

    def take(self) -> None:
        """One step along the gradients, which are gone afterwards."""
        for name, weight in self._weights.items():
            self._matrices[name].grad = None if weight.grad is None else as_matrix(weight.grad, like=weight)
            weight.grad = None
        for optimizer in (self._adam, self._muon):
            if optimizer:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)

    def moments(self) -> dict[str, Tensor]:
        """What must be kept to go on to the same bits."""
        out: dict[str, Tensor] = {}
        for name, weight in self._plain.items():
            moments = self._adam.state.get(weight, {})
            out |= {f"adam.{key}.{name}": value for key, value in moments.items()}
        for name, matrix in self._matrices.items():
            moments = self._muon.state.get(matrix, {})
            out |= {f"muon.{key}.{name}": value for key, value in moments.items()}
        return out

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `moments` gave; raises KeyError for what is missing."""
        for name, weight in self._plain.items():
            moments = {key: tensors[f"adam.{key}.{name}"].clone() for key in _ADAM_MOMENTS}
            # AdamW counts its steps on the CPU, wherever the weights are.
            self._adam.state[weight] = {
                key: value if key == "step" else value.to(weight.device) for key, value in moments.items()
            }
        for name, matrix in self._matrices.items():
            kept = tensors[f"muon.momentum_buffer.{name}"].clone().to(matrix.device)
            self._muon.state[matrix] = {"momentum_buffer": kept}


def as_matrix(values: Tensor, *, like: Tensor | None = None) -> Tensor:
    """A weight (out, in, ...) as (out, rest), in its own memory where its layout is a common one.

    `like` is the weight that a gradient belongs to: the two may lie in memory differently, and columns must
    stand for the same inputs.

    >>> as_matrix(torch.zeros(8, 4, 3, 3)).shape
    torch.Size([8, 36])
    """
    if values.ndim == 4 and not (values if like is None else like).is_contiguous():
        return values.permute(0, 2, 3, 1).flatten(1)
    return values.flatten(1)


def _is_matrix(weight: Tensor) -> bool:
    if weight.ndim < 2 or min(weight.shape[0], weight[0].numel()) < _SMALLEST_SIDE:
        return False
    return as_matrix(weight.detach()).data_ptr() == weight.data_ptr()
