"""The mini world's autoencoder: 64 x 64 pictures to 12 x 8 x 8 latents, a stock AutoencoderKL."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional

from worlds.mini.loop import StepLoss, StepRandom, device_of

LATENT_CHANNELS = 12
_KL_WEIGHT = 1e-7


def make_autoencoder(channels: tuple[int, ...] = (16, 32, 64, 96)) -> AutoencoderKL:
    """An untrained autoencoder: few channels where the picture is large, for that is what costs."""
    blocks = len(channels)
    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * blocks,
        up_block_types=("UpDecoderBlock2D",) * blocks,
        block_out_channels=channels,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=4,
        sample_size=64,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )
    return vae.to(memory_format=torch.channels_last)


def to_tensor(pictures: npt.NDArray[np.uint8]) -> Tensor:
    """uint8 (B, H, W, 3) to float (B, 3, H, W) in -1..1, channels last in memory."""
    tensor = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float()
    return tensor.div_(127.5).sub_(1).contiguous(memory_format=torch.channels_last)


def reconstruction_loss(output: Tensor, target: Tensor) -> Tensor:
    """Absolute error plus the error of horizontal and vertical differences, which keeps edges sharp."""
    plain = functional.l1_loss(output, target) + 2.0 * functional.mse_loss(output, target)
    error = output - target
    across = (error[..., :, 1:] - error[..., :, :-1]).abs().mean()
    down = (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    return plain + 0.5 * (across + down)


def psnr(output: Tensor, target: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of pictures in -1..1, averaged over pictures."""
    error = (output.clamp(-1, 1) - target).pow(2).mean((1, 2, 3)) / 4
    return float((-10 * torch.log10(error.clamp_min(1e-10))).mean())


def autoencoder_loss(pictures: npt.NDArray[np.uint8], batch: int) -> StepLoss:
    """A step's loss: reconstruct a random batch through a sampled latent, lightly drawn to a Gaussian."""

    def loss(vae: nn.Module, random: StepRandom) -> tuple[Tensor, dict[str, float]]:
        target = to_tensor(pictures[np.sort(random.numpy.integers(len(pictures), size=batch))]).to(
            device_of(vae)
        )
        posterior = vae.encode(target).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=random.torch).to(target.device)
        output = vae.decode(posterior.mean + posterior.std * noise).sample
        kl = posterior.kl().mean()
        value = reconstruction_loss(output, target) + _KL_WEIGHT * kl
        return value, {"psnr": psnr(output.detach(), target), "kl": kl.item()}

    return loss


def decoder_loss(pictures: npt.NDArray[np.uint8], latents: Tensor, batch: int) -> StepLoss:
    """A step's loss for the decoder alone: the latents stay, so a trained UNet keeps its meaning."""

    def loss(decoder: nn.Module, random: StepRandom) -> tuple[Tensor, dict[str, float]]:
        index = np.sort(random.numpy.integers(len(pictures), size=batch))
        device = device_of(decoder)
        target = to_tensor(pictures[index]).to(device)
        output = decoder(latents[torch.from_numpy(index)].to(device))
        return reconstruction_loss(output, target), {"psnr": psnr(output.detach(), target)}

    return loss


class DecoderPart(nn.Module):
    """The half of an autoencoder that may still train once latents are in use; shares its weights."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.post_quant_conv, self.decoder = vae.post_quant_conv, vae.decoder

    def forward(self, latents: Tensor) -> Tensor:
        """Pictures (B, 3, 64, 64) in -1..1, not clamped, of unscaled latents (B, C, 8, 8)."""
        return self.decoder(self.post_quant_conv(latents))


@torch.no_grad()
def encode(vae: AutoencoderKL, pictures: npt.NDArray[np.uint8], batch: int = 200) -> Tensor:
    """Mean latents (M, C, 8, 8), unscaled, of uint8 pictures."""
    device = device_of(vae)
    rows = [to_tensor(pictures[i : i + batch]).to(device) for i in range(0, len(pictures), batch)]
    return torch.cat([vae.encode(row).latent_dist.mean.cpu().contiguous() for row in rows])


@torch.no_grad()
def reconstruct(
    vae: AutoencoderKL, pictures: npt.NDArray[np.uint8], batch: int = 200
) -> npt.NDArray[np.uint8]:
    """Pictures after a trip through the autoencoder, uint8 (M, 64, 64, 3)."""
    out = []
    for i in range(0, len(pictures), batch):
        decoded = vae(to_tensor(pictures[i : i + batch]).to(device_of(vae))).sample.clamp(-1, 1)
        out.append(((decoded.cpu() + 1) * 127.5).round().byte().permute(0, 2, 3, 1).contiguous().numpy())
    return np.concatenate(out)
