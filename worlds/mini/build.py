"""The command `build`: every piece of the mini world, trained stage by stage from one seed, resumable.

    work/renders     pictures with captions and facts         weights/pipeline     StableDiffusionPipeline
    work/logs        prompt logs                               weights/clip         CLIPModel
    work/*.safetensors  checkpoints, latents                   weights/aesthetic    head on the CLIP
    work/*.jsonl     what each stage logged                    weights/preference   CLIPModel
                                                               weights/judge, weights/lm
A stage whose result stands is skipped; one that was killed goes on at its last checkpoint.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, ModelMixin, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer

from dfprompt.domain import Domain, save_domain
from dfprompt.errors import ConfigError, LoadError
from dfprompt.mini import logs
from dfprompt.mini.captions import known_words
from dfprompt.mini.judge import Judge
from dfprompt.mini.pieces import open_piece
from dfprompt.mini.world import IMAGE_SIZE
from dfprompt.pipeline.companions import save_companions
from dfprompt.rewards.aesthetic import AestheticHead, save_aesthetic_head
from dfprompt.storage import save_tensors, whole_files, write_text
from worlds.mini import autoencoder, contrast, denoiser, judging, language, taste, text
from worlds.mini.companions import COMPANIONS
from worlds.mini.dataset import Renders, make_dataset, read_dataset, save_array
from worlds.mini.generation import generate_pictures, open_pipeline
from worlds.mini.loop import Report, StepLoss, Trainer, vanishing_values_are_zero
from worlds.mini.precision import bfloat16_products, has_fast_bfloat16
from worlds.mini.recipe import STAGES, MiniRecipe


class Build:
    """One build in one folder."""

    def __init__(
        self,
        folder: Path,
        recipe: MiniRecipe,
        *,
        device: str = "cpu",
        report: Report | None = None,
        processes: int = 1,
        start_from: Path | None = None,
    ) -> None:
        self.start_from = start_from
        self.work, self.weights = folder / "work", folder / "weights"
        self.recipe, self.device, self.report, self.processes = (
            recipe,
            torch.device(device),
            report,
            processes,
        )
        self.record = folder / "build.json"
        self.work.mkdir(parents=True, exist_ok=True)
        self.weights.mkdir(parents=True, exist_ok=True)
        self._check_recipe()

    def _check_recipe(self) -> None:
        stated = json.loads(json.dumps(dataclasses.asdict(self.recipe)))
        origin = {} if self.start_from is None else {"started_from": self._origin(self.start_from)}
        if not self.record.exists():
            _write_json(self.record, {"recipe": stated, **origin, "stages": {}})
            return
        record = json.loads(self.record.read_text())
        if record.get("started_from") != origin.get("started_from"):
            raise ConfigError(
                f"the build in {self.record.parent.name} began at {_said(record)}, and is to go on at "
                f"{_said(origin)}; give the same --continue or --start-from as then, or take another folder"
            )
        before = record["recipe"]
        changed = sorted(key for key in stated if before.get(key) != stated[key])
        if changed:
            raise ConfigError(
                f"the build in {self.record.parent.name} was begun with another recipe "
                f"({', '.join(changed)} differ); "
                "take another folder, or delete that one to start anew"
            )

    @staticmethod
    def _origin(weights: Path) -> str:
        """The digest of the weights to begin at; raises LoadError where they are none."""
        for name in ("vae", "unet"):
            if not (weights / "pipeline" / name).is_dir():
                raise LoadError(
                    f"{weights} holds no pipeline/{name} to begin at; --start-from takes a build's folder "
                    "`weights`"
                )
        return digest(weights)

    def run(self, stages: Sequence[str] = STAGES) -> None:
        """Build the named stages and whatever they need that is not there yet."""
        for stage in STAGES:
            if stage in stages:
                self.need(stage)

    def need(self, stage: str) -> None:
        """Build one stage unless its result stands."""
        if stage in json.loads(self.record.read_text())["stages"]:
            return
        started = time.monotonic()
        # A stage may need others first: what they draw must not move where this one starts, or a build that
        # was killed, and finds them done, would start elsewhere.
        cards = [self.device] if self.device.type == "cuda" else []
        with vanishing_values_are_zero(), torch.random.fork_rng(devices=cards):
            torch.manual_seed(self.recipe.seed)
            getattr(self, f"_{stage}")()
        record = json.loads(self.record.read_text())
        record["stages"][stage] = {
            "seconds": round(time.monotonic() - started, 1),
            "device": self.device.type,
            "threads": torch.get_num_threads(),
        }
        _write_json(self.record, record)

    # Stages, each named as in STAGES

    def _render(self) -> None:
        make_dataset(
            self.work / "renders", self.recipe.renders, seed=self.recipe.seed, processes=self.processes
        )

    def _vae(self) -> None:
        data = self._training_renders()
        module = autoencoder.make_autoencoder(self.recipe.vae_channels).to(self.device)
        self._begin(module, AutoencoderKL, "vae")
        loss = autoencoder.autoencoder_loss(data.pictures, self.recipe.vae.batch)
        vae = self._train("vae", module, self.recipe.vae, loss)
        latents = autoencoder.encode(vae, data.pictures)
        vae.register_to_config(scaling_factor=1 / float(latents.std()))
        _write_tensors(self.work / "latents.safetensors", {"latents": latents})
        _save(vae, self.weights / "pipeline" / "vae")

    def _decoder(self) -> None:
        """Train the decoder on: the latents stay, so a denoiser trained on them keeps its meaning."""
        self.need("vae")
        vae = self._vae_model()
        latents = load_file(self.work / "latents.safetensors")["latents"]
        decoder = autoencoder.DecoderPart(vae)
        loss = autoencoder.decoder_loss(self._training_renders().pictures, latents, self.recipe.decoder.batch)
        self._train("decoder", decoder, self.recipe.decoder, loss)
        _save(vae, self.weights / "pipeline" / "vae")

    def _text(self) -> None:
        tokenizer = text.make_tokenizer()
        captions = self._training_renders().captions
        task = text.TokenTask(text.make_text_encoder(tokenizer), len(tokenizer)).to(self.device)
        loss = text.text_loss(tokenizer, captions, self.recipe.text.batch)
        task = self._train("text", task, self.recipe.text, loss)
        tokenizer.save_pretrained(self.weights / "pipeline" / "tokenizer")
        _save(task.encoder, self.weights / "pipeline" / "text_encoder")

    def _unet(self) -> None:
        for stage in ("vae", "text"):
            self.need(stage)
        vae, encoder, tokenizer = self._vae_model(), self._text_encoder(), self._tokenizer()
        latents = load_file(self.work / "latents.safetensors")["latents"] * vae.config.scaling_factor
        states = text.encode(encoder, tokenizer, self._training_renders().captions)
        empty = text.encode(encoder, tokenizer, [""]).float()
        unet = denoiser.make_unet(self.recipe.unet_channels).to(self.device)
        self._begin(unet, UNet2DConditionModel, "unet")
        loss = denoiser.denoiser_loss(latents, states, empty, self.recipe.unet.batch)
        half = self.recipe.unet.bfloat16 and has_fast_bfloat16(self.device)
        with bfloat16_products(unet, enabled=half):
            unet = self._train("unet", unet, self.recipe.unet, loss)
        _save(unet, self.weights / "pipeline" / "unet")
        make_pipeline(self.weights / "pipeline").save_config(self.weights / "pipeline")
        denoiser.make_scheduler().save_pretrained(self.weights / "pipeline" / "scheduler")
        self._write_defaults()

    def _write_defaults(self) -> None:
        defaults = {
            "name": "mini",
            "num_inference_steps": self.recipe.sampling_steps,
            "guidance_scale": self.recipe.guidance_scale,
            "weighting": "comfy",
            "height": 64,
            "width": 64,
        }
        _write_json(self.weights / "pipeline" / "dfprompt.json", defaults)

    def _clip(self) -> None:
        self.need("text")
        data, tokenizer = self._training_renders(), self._tokenizer()
        clip = contrast.make_clip(tokenizer).to(self.device)
        loss = contrast.contrastive_loss(data.pictures, data.captions, tokenizer, self.recipe.clip.batch)
        self._save_clip(self._train("clip", clip, self.recipe.clip, loss), "clip")

    def _judge(self) -> None:
        self.need("decoder")
        data = self._training_renders()
        decoded = autoencoder.reconstruct(self._vae_model(), data.pictures)
        loss = judging.judge_loss(data.pictures, decoded, data.scenes, self.recipe.judge.batch)
        self._train("judge", Judge().to(self.device), self.recipe.judge, loss).cpu().save(
            self.weights / "judge"
        )

    def _taste(self) -> None:
        for stage in ("decoder", "unet", "clip"):
            self.need(stage)
        clip, tokenizer, rated = self._clip_model(), self._tokenizer(), self._rated()
        features = taste.image_features(clip, rated.pictures)
        torch.manual_seed(self.recipe.seed)
        head = AestheticHead(taste.HEAD_WIDTHS, "gelu").to(self.device)
        with torch.no_grad():
            head.linears[-1].bias.fill_(float(rated.taste.mean()))
        self._train(
            "head",
            head,
            self.recipe.head,
            taste.aesthetic_loss(features, rated.taste, self.recipe.head.batch),
        )
        save_aesthetic_head(head.cpu(), self.weights / "aesthetic", tower="../clip")
        write_text(self.weights / "reward.toml", taste.REWARD)
        save_companions(COMPANIONS, self.weights)
        loss = taste.preference_loss(rated, tokenizer, self.recipe.preference.batch)
        self._save_clip(self._train("preference", clip, self.recipe.preference, loss), "preference")

    def _lm(self) -> None:
        prompts = [row.prompt for row in self.prompt_logs()]
        tokenizer = language.make_language_tokenizer(prompts)
        model = language.make_language_model(
            tokenizer, width=self.recipe.lm_width, layers=self.recipe.lm_layers
        )
        loss = language.language_loss(tokenizer, prompts, self.recipe.lm.batch)
        model = self._train("lm", model.to(self.device), self.recipe.lm, loss)
        tokenizer.save_pretrained(self.weights / "lm")
        _save(model, self.weights / "lm", store_half=True)

    # What stages read

    def prompt_logs(self) -> list[logs.LoggedPrompt]:
        """The synthetic users' prompts; made once."""
        path = self.work / "logs.jsonl"
        if not path.exists():
            rows = logs.iter_logs(self.recipe.prompts, seed=self.recipe.seed, learnt=logs.experience())
            lines = [json.dumps(dataclasses.asdict(row)) for row in rows]
            write_text(path, "\n".join(lines) + "\n")
        fields = [json.loads(line) for line in path.read_text().splitlines()]
        return [logs.LoggedPrompt(**{**row, "modifiers": tuple(row["modifiers"])}) for row in fields]

    def _renders(self) -> Renders:
        self.need("render")
        return read_dataset(self.work / "renders")

    def _training_renders(self) -> Renders:
        data, keep = self._renders(), self.recipe.renders - self.recipe.held_out
        return Renders(data.pictures[:keep], data.captions[:keep], data.scenes[:keep])

    def _rated(self) -> taste.Rated:
        """A third of the renders after the autoencoder, and pictures generated from the logs' prompts."""
        data = self._training_renders()
        some = data.pictures[: len(data.pictures) // 3]
        decoded = autoencoder.reconstruct(self._vae_model(), some)
        generated, prompts = self._generated()
        shorts = [caption.split(",")[0] for caption in data.captions[: len(some)]]
        scenes = [s.scene for s in data.scenes[: len(some)]]
        return taste.have_rated(
            np.concatenate([decoded, generated]),
            shorts + [row.short for row in prompts],
            scenes + [row.scene for row in prompts],
        )

    def _generated(self) -> tuple[np.ndarray, list[logs.LoggedPrompt]]:
        path = self.work / "generated.npy"
        prompts = self.prompt_logs()[: self.recipe.rated]
        if not path.exists():
            pictures = generate_pictures(
                open_pipeline(self.weights / "pipeline", self.device),
                logs.with_controls(prompts, seed=self.recipe.seed),
                seeds=list(range(len(prompts))),
                steps=self.recipe.sampling_steps,
                guidance_scale=self.recipe.guidance_scale,
            )
            save_array(path, pictures)
        return np.load(path, allow_pickle=False), prompts

    def _tokenizer(self) -> CLIPTokenizer:
        return CLIPTokenizer.from_pretrained(self.weights / "pipeline" / "tokenizer", trust_remote_code=False)

    def _text_encoder(self) -> CLIPTextModel:
        return (
            CLIPTextModel.from_pretrained(self.weights / "pipeline" / "text_encoder", trust_remote_code=False)
            .float()
            .to(self.device)
        )

    def _vae_model(self) -> AutoencoderKL:
        vae = AutoencoderKL.from_pretrained(
            self.weights / "pipeline" / "vae", trust_remote_code=False
        ).float()
        return vae.eval().to(self.device, memory_format=torch.channels_last)

    def _clip_model(self) -> CLIPModel:
        return (
            CLIPModel.from_pretrained(self.weights / "clip", trust_remote_code=False).float().to(self.device)
        )

    def _begin(self, module: Any, kind: Any, name: str) -> None:
        """Begin at the weights of an earlier build, where one is given."""
        if self.start_from is None:
            return
        earlier = open_piece(kind.from_pretrained, self.start_from / "pipeline" / name, name).float()
        try:
            module.load_state_dict(earlier.state_dict())
        except RuntimeError as error:
            raise ConfigError(
                f"the {name} in {self.start_from.name} has other sizes than this recipe's; "
                "build without --start-from, or take a build of the same sizes"
            ) from error

    def _train(self, stage: str, module: Any, config: Any, loss: StepLoss) -> Any:
        return Trainer(stage, module, config, self.work, seed=self.recipe.seed, report=self.report).run(loss)

    def _save_clip(self, clip: CLIPModel, name: str) -> None:
        _save(clip, self.weights / name)
        self._tokenizer().save_pretrained(self.weights / name)
        contrast.make_processor().save_pretrained(self.weights / name)
        # Beside the rewards: what they know, so that they can say when a picture or a word is none of it.
        save_domain(Domain("mini", known_words(), IMAGE_SIZE), self.weights)


def _said(record: Mapping[str, Any]) -> str:
    """Where a build began, in words."""
    return f"the weights {record['started_from']}" if "started_from" in record else "random weights"


def digest(folder: Path) -> str:
    """A short SHA-256 over the names and bytes of every file below a folder."""
    if not folder.is_dir():
        raise LoadError(f"there is no folder {folder.name}; run: python -m worlds.mini build")
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        total.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:16]


def make_pipeline(folder: Path) -> StableDiffusionPipeline:
    """The stock pipeline of the pieces below a folder; its index need not be there yet."""
    return StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(folder / "vae", trust_remote_code=False),
        text_encoder=CLIPTextModel.from_pretrained(folder / "text_encoder", trust_remote_code=False),
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer", trust_remote_code=False),
        unet=UNet2DConditionModel.from_pretrained(folder / "unet", trust_remote_code=False),
        scheduler=denoiser.make_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _save(model: Any, folder: Path, *, store_half: bool = False) -> None:
    """Save through a temporary folder, so that a kill leaves the old one or none.

    diffusers' models go to disk in half precision, for they load in single precision unless told otherwise.
    transformers' load as their config says, and half precision does not run on a CPU: `store_half` halves
    the file alone.
    """
    model = model.cpu()
    if isinstance(model, ModelMixin):
        model = copy.deepcopy(model).half()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".dfprompt-", dir=folder.parent) as place:
        unfinished = Path(place)
        model.save_pretrained(unfinished)
        if store_half:
            file = unfinished / "model.safetensors"
            halved = {name: tensor.half().contiguous() for name, tensor in load_file(file).items()}
            save_tensors(halved, file, metadata={"format": "pt"})
        _forget_origin(unfinished / "config.json")
        for path in sorted(unfinished.iterdir()):
            with whole_files(folder / path.name) as (file,):
                shutil.copyfile(path, file)


def _forget_origin(config: Path) -> None:
    """Drop the folder a model was loaded from: it says nothing to anyone and differs between machines."""
    values = json.loads(config.read_text())
    values.pop("_name_or_path", None)
    _write_json(config, values)


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    save_tensors(tensors, path)


def _write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1) + "\n")
