"""The mini world's denoiser: a stock conditional UNet on 8 x 8 latents, v-prediction, its own schedule."""

from __future__ import annotations

import math

import numpy as np
import torch
from diffusers import UNet2DConditionModel, UniPCMultistepScheduler
from torch import Tensor, nn
from torch.nn import functional

from worlds.mini.autoencoder import LATENT_CHANNELS
from worlds.mini.loop import StepLoss, StepRandom, device_of
from worlds.mini.text import TEXT_WIDTH

TRAIN_TIMESTEPS = 1000
# Signal-to-noise ratio at half the training time. 8 x 8 latents hold little redundancy: at the ratio that
# Stable Diffusion's schedule has half-way (0.4) nothing is settled yet, and the last steps would decide all.
MIDDLE_SNR = 1.0
_UNIFORM_SHARE = 0.25
_FOCUS = 0.4  # the logit of 0.6
_DROPPED_CAPTIONS = 0.1


def make_betas(middle_snr: float = MIDDLE_SNR) -> list[float]:
    """Noise variances whose signal-to-noise ratio is middle_snr * cot^2(pi t / 2), 0 at the end.

    The cosine schedule (Nichol and Dhariwal, 2021) has middle_snr 1; Hoogeboom et al. (2023) shift it so.
    """
    t = np.arange(1, TRAIN_TIMESTEPS + 1) / TRAIN_TIMESTEPS
    snr = middle_snr / np.tan(np.pi * t / 2).astype(np.float64) ** 2
    snr[-1] = 2.0**-24  # not quite 0, so that samplers in log-SNR stay finite
    alpha_bar = snr / (1 + snr)
    before = np.concatenate([[1.0], alpha_bar[:-1]])
    return [float(b) for b in 1 - alpha_bar / before]


def alphas_cumprod() -> Tensor:
    """Signal variances per training timestep, shape (TRAIN_TIMESTEPS,), float32."""
    return torch.cumprod(1 - torch.tensor(make_betas(), dtype=torch.float64), 0).float()


def make_scheduler() -> UniPCMultistepScheduler:
    """The sampler shipped with the pipeline."""
    return UniPCMultistepScheduler(
        num_train_timesteps=TRAIN_TIMESTEPS,
        trained_betas=make_betas(),
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        steps_offset=1,
        rescale_betas_zero_snr=True,
        solver_order=2,
        # Noise levels evenly spaced in log sigma, their geometric mean where a subject is settled: with steps
        # evenly spaced in time the late half decided all (8 % of swapped subjects kept the first).
        use_exponential_sigmas=True,
        sigma_max=10.0,
        sigma_min=0.015,
    )


def make_unet(channels: tuple[int, int] = (64, 128)) -> UNet2DConditionModel:
    """An untrained denoiser with attention to the text at both resolutions."""
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=channels,
        layers_per_block=2,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=(2, 4),
        norm_num_groups=16,
    )
    return unet.to(memory_format=torch.channels_last)


def focus(u: Tensor) -> Tensor:
    """Spread uniform numbers (B,) in 0..1 over training time, most of them where a picture takes shape.

    A quarter stays uniform; the others are logit-normal (Esser et al., 2024), here around 0.6 of the way to
    pure noise: what stands in the picture is settled there, and it is learnt last.

    >>> focus(torch.tensor([0.0, 0.5, 0.99])).tolist()[0]
    0.0
    """
    plain = u < _UNIFORM_SHARE
    rest = ((u - _UNIFORM_SHARE) / (1 - _UNIFORM_SHARE)).clamp(1e-4, 1 - 1e-4)
    shaped = torch.sigmoid(_FOCUS + torch.special.ndtri(rest))
    return torch.where(plain, u / _UNIFORM_SHARE, shaped).clamp(0, 1 - 1e-6)


def denoiser_loss(latents: Tensor, states: Tensor, empty: Tensor, batch: int) -> StepLoss:
    """A step's loss: predict v = sqrt(a) noise - sqrt(1 - a) latents (Salimans and Ho, 2022).

    latents (M, C, 8, 8), scaled to unit variance; states (M, T, D) the captions' encodings, half precision is
    fine; empty (1, T, D) the empty prompt's, shown for a tenth of the rows so that guidance works.
    """
    signal = alphas_cumprod()

    def loss(unet: nn.Module, random: StepRandom) -> tuple[Tensor, dict[str, float]]:
        index = torch.from_numpy(random.numpy.integers(len(latents), size=batch))
        clean = latents[index]
        context = states[index].float()
        dropped = torch.from_numpy(random.numpy.random(batch) < _DROPPED_CAPTIONS)
        context = torch.where(dropped[:, None, None], empty, context)
        # Stratified timesteps: every batch sees the whole range, which steadies the loss.
        u = (torch.rand(1, generator=random.torch) + torch.arange(batch) / batch) % 1.0
        timestep = (focus(u) * TRAIN_TIMESTEPS).long()
        noise = torch.randn(clean.shape, generator=random.torch)
        a = signal[timestep].view(-1, 1, 1, 1)
        noisy = (a.sqrt() * clean + (1 - a).sqrt() * noise).contiguous(memory_format=torch.channels_last)
        target = a.sqrt() * noise - (1 - a).sqrt() * clean
        device = device_of(unet)
        output = unet(noisy.to(device), timestep.to(device), context.to(device)).sample
        error = functional.mse_loss(output.float(), target.to(device), reduction="none").mean((1, 2, 3)).cpu()
        late = error[timestep < TRAIN_TIMESTEPS // 2].mean().item()
        return error.mean(), {"late": 0.0 if math.isnan(late) else late}

    return loss
