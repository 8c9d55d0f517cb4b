"""The one act of measuring: pictures of the same noise, drawn together, scored, saved and written down.

Every number of a comparison, an evaluation, a search or an ablation is made here. What is asked for is a
`Shot`: a method's words for a plain prompt, and the seed. The shots of one prompt and seed are drawn in one
request (the lockstep loop computes once what they have in common) and scored beside that seed's plain
picture. Scores are taken of the pictures as files hold them, 8 bits a channel, so that a picture read from
its file scores the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from dfprompt.errors import (
    ConfigError,
    DFPromptError,
    RewardError,
    RewardServerError,
    UnsupportedPipelineError,
    each_warning_once,
)
from dfprompt.images.metadata import GenerationMetadata
from dfprompt.images.reading import read_image
from dfprompt.images.saving import Entry, save_pictures
from dfprompt.images.tensors import to_pil, to_tensor
from dfprompt.measurement.isolation import attempt, forget
from dfprompt.measurement.log import MeasurementLog
from dfprompt.measurement.rows import PLAIN, UNSCORED, Row, RowKey
from dfprompt.measurement.scoreboard import Plain, Scoreboard, Scored
from dfprompt.measurement.shards import Shard
from dfprompt.measurement.shots import (
    AT_ONCE,
    Batch,
    Elsewhere,
    HowToDraw,
    Manner,
    Measured,
    Progress,
    Shot,
    batches_of,
    left_of,
)
from dfprompt.pipeline.denoise import check_lockstep
from dfprompt.pipeline.image_pipeline import ImagePipeline


class Drawn(NamedTuple):
    """One picture (3,H,W) of 8 bits, its file's contents, and what it cost."""

    image: Tensor
    file: Image.Image | None
    noise: int | None
    recipe: GenerationMetadata | None
    evaluations: float = 0.0
    spared: float = 0.0


class Measurement:
    """Measures shots with a pipeline and a scoreboard, and keeps the rows in a log.

    A picture that cannot be drawn fails its own row if `isolated`, and stops the measurement if not. `needed`
    names a score without which it cannot go on: it stops with RewardError where every picture of a batch
    lacks it. With `save_first` pictures are written down before they are scored: a kill while scoring loses
    none, and their files carry no scores. `only` names the scores wanted. With `elsewhere` other processes
    draw, score and save, and rows alone come back.
    """

    def __init__(
        self,
        pipeline: ImagePipeline,
        scoreboard: Scoreboard,
        log: MeasurementLog | None = None,
        how: HowToDraw | None = None,
        *,
        isolated: bool = True,
        save_first: bool = False,
        needed: str | None = None,
        only: Sequence[str] | None = None,
        elsewhere: Elsewhere | None = None,
        at_once: int = AT_ONCE,
    ) -> None:
        self.elsewhere, self.at_once = elsewhere, at_once
        self.pipeline, self.scoreboard, self.log = pipeline, scoreboard, log or MeasurementLog()
        self.how, self.isolated, self.needed, self.only = how or HowToDraw(), isolated, needed, only
        self.save_first = save_first
        self.share = self.how.share and can_share(pipeline)
        self.drawn = 0  # pictures, in this process

    def measure(
        self,
        shots: Sequence[Shot],
        *,
        at_once: int | None = None,
        retry_failed: bool = False,
        progress: Progress | None = None,
        shard: Shard | None = None,
    ) -> list[Row]:
        """Return the row of every shot, in their order, measuring those the log has not.

        With `shard` only its batches are measured, and only the rows there are come back.

        Shots of one prompt and seed are measured together, in batches of `at_once` pictures or more, by
        default the measurement's own number. `retry_failed` measures rows again in which something failed;
        where only a score did, the picture is read from its file.
        """
        size = at_once or self.at_once
        own = list(batches_of(shots, size))
        if shard is not None:
            own = list(shard.pick(own))
        picked = [shot for batch in own for shot in batch]
        missing = {
            shot.key
            for shot in picked
            if self.log.find(shot.key, shot.words, retry_failed=retry_failed) is None
        }
        done = len(picked) - len(missing)
        if progress and missing:
            progress(done, len(picked))
        with each_warning_once():
            batches = left_of(own, missing, size)
            for count in self._measure_here(batches) if self.elsewhere is None else self._fetch(batches):
                done += count
                if progress:
                    progress(done, len(picked))
        return [self.log.rows[shot.key] for shot in shots if shard is None or shot.key in self.log.rows]

    def _measure_here(self, batches: Iterable[Sequence[Shot]]) -> Iterator[int]:
        """Yield how many shots of a batch were measured."""
        for batch in batches:
            self._measure(batch)
            yield len(batch)

    def _fetch(self, batches: Iterable[Sequence[Shot]]) -> Iterator[int]:
        """Yield how many shots of a batch were measured elsewhere; its rows are written down here."""
        assert self.elsewhere is not None
        only = None if self.only is None else tuple(self.only)
        folder = self.log.folder.resolve()
        manner = Manner(replace(self.how, progress=False), folder, self.isolated, self.save_first, only)
        for done in self.elsewhere.measure(manner, map(self._pack, batches)):
            self.drawn += done.drawn
            self.log.append(done.rows)
            if done.error is not None:
                raise done.error
            self._stop_without(self.needed, done.rows)
            yield len(done.rows)

    def _pack(self, shots: Sequence[Shot]) -> Batch:
        keys = {key for shot in shots for key in (shot.key, (PLAIN, shot.prompt.id, shot.seed))}
        return Batch(tuple(shots), {key: self.log.rows[key] for key in keys & self.log.rows.keys()})

    def measure_batch(self, batch: Batch) -> Measured:
        """Measure a batch for a process that keeps the log: nothing of it stays here."""
        self.log.rows, before, error = dict(batch.known), self.drawn, None
        try:
            self._measure(batch.shots)
        except DFPromptError as stopped:
            error = stopped
        found = [self.log.rows[shot.key] for shot in batch.shots if shot.key in self.log.rows]
        fresh = tuple(row for row in found if row is not batch.known.get(row.key))
        return Measured(fresh, self.drawn - before, error)

    def _measure(self, shots: Sequence[Shot]) -> None:
        started = time.perf_counter()
        forget(self.scoreboard.scores.values())
        pictures = self._look(shots)
        chosen = [self._choose(shot, pictures) for shot in shots]
        good = [(shot, each) for shot, each in zip(shots, chosen, strict=True) if isinstance(each, Drawn)]
        scored: dict[RowKey, Scored] = {}

        def rows() -> list[Row]:
            seconds = (time.perf_counter() - started) / sum(len(shot.noises) for shot in shots)
            both = zip(shots, chosen, strict=True)
            return [self._row(s, each, scored.get(s.key), pictures[s.key], seconds) for s, each in both]

        if self.save_first:
            self._save(good, {})
            self.log.append(
                row for row in rows() if UNSCORED in row.failed and row != self.log.rows.get(row.key)
            )
        try:
            scored |= zip([shot.key for shot, _ in good], self._score(good), strict=True)
        except RewardServerError:  # the work stops; these pictures wait for their scores
            if not self.save_first:
                self._save(good, {})
            self.log.append(row for row in rows() if row != self.log.rows.get(row.key))
            raise
        if not self.save_first:
            self._save(good, scored)
        self.log.append(rows())
        self._stop_without(self.needed, [self.log.rows[shot.key] for shot in shots])

    # ---- drawing -----------------------------------------------------------------------------------------

    def _look(self, shots: Sequence[Shot]) -> dict[RowKey, list[Drawn] | DFPromptError]:
        """Return each shot's pictures: read from the file where only its scores are missing, else drawn.

        With `save_first` a kill may have come between the files of a batch and their rows. If all are there,
        they are read; if some are, all are drawn again: apart, the others would have other bits.
        """
        rows = {shot.key: self.log.drawn(shot.key, shot.words) for shot in shots}
        kept = {shot.key: self._read(row.picture, row.noise) for shot in shots if (row := rows[shot.key])}
        fresh = [shot for shot in shots if rows[shot.key] is None]
        if self.save_first and all(map(self._is_saved, fresh)):
            saved = {shot.key: self._read(shot.picture, shot.noises[0]) for shot in fresh}
            kept |= saved if all(saved.values()) else {}
        found: dict[RowKey, list[Drawn] | DFPromptError] = {
            key: [picture] for key, picture in kept.items() if picture is not None
        }
        new = [shot for shot in shots if shot.key not in found]
        drawn = attempt(self._draw, new) if self.isolated else self._draw(new)
        return found | dict(zip([shot.key for shot in new], drawn, strict=True))

    def _is_saved(self, shot: Shot) -> bool:
        return shot.picture is not None and (self.log.folder / shot.picture).exists()

    def _read(self, place: str | None, noise: int | None) -> Drawn | None:
        """Return a picture of a file; None where there is none that can be read."""
        if place is None:
            return None
        try:
            return Drawn(read_image(self.log.folder / place).pixels, None, noise, None)
        except DFPromptError:
            return None

    def _draw(self, shots: Sequence[Shot]) -> list[list[Drawn]]:
        """Draw each shot's pictures, all in one request."""
        wanted = [(shot, noise) for shot in shots for noise in shot.noises]
        if not wanted:
            return []
        request = self.pipeline.read(
            [shot.words for shot, _ in wanted],
            [noise for _, noise in wanted],
            self.how.settings,
            negative_prompt=self.how.negative_prompt,
        )
        pictures = self.pipeline.draw_request(request, share=self.share, progress=self.how.progress)
        self.drawn += len(wanted)
        files = to_pil(pictures.images)
        cost = pictures.evaluations / len(wanted), pictures.saved / len(wanted)
        recipes = [
            _told(self.pipeline.recipe(request, row, policy=shot.policy), shot)
            for row, (shot, _) in enumerate(wanted)
        ]
        found = iter(
            Drawn(image, file, noise, recipe, *cost)
            for (_, noise), image, file, recipe in zip(wanted, to_tensor(files), files, recipes, strict=True)
        )
        return [[next(found) for _ in shot.noises] for shot in shots]

    def _save(self, good: Sequence[tuple[Shot, Drawn]], scored: Mapping[RowKey, Scored]) -> None:
        entries = []
        for shot, picture in good:
            if shot.picture is not None and picture.file is not None:
                recipe = picture.recipe if self.how.metadata else None
                if recipe is not None and shot.key in scored:
                    recipe = recipe.model_copy(update={"scores": scored[shot.key].scores})
                entries.append(Entry(self.log.folder / shot.picture, picture.file, recipe))
        save_pictures(entries, force=True)

    # ---- choosing and scoring ----------------------------------------------------------------------------

    def _choose(
        self, shot: Shot, pictures: Mapping[RowKey, list[Drawn] | DFPromptError]
    ) -> Drawn | DFPromptError:
        """Return the picture a shot keeps: its only one, or the best by the first reward."""
        own = pictures[shot.key]
        if isinstance(own, DFPromptError):
            return own
        if len(own) == 1:
            return own[0]
        plain = pictures.get((PLAIN, shot.prompt.id, shot.seed))
        images, where = [picture.image for picture in own], self._recorded_plain(shot)
        if plain is not None and not isinstance(plain, DFPromptError):
            images, where = [*images, plain[0].image], len(own)
        label = self.scoreboard.chooser
        measured = self.scoreboard.measure(
            torch.stack(images), [shot.prompt] * len(images), [where] * len(images), only=[label]
        )[: len(own)]
        failure = next((scored.failed[label] for scored in measured if label in scored.failed), None)
        if failure is not None:
            return ConfigError(f"nothing to choose the best picture by: {failure}")
        return max(zip(measured, own, strict=True), key=lambda pair: pair[0].scores[label])[1]

    def _score(self, good: Sequence[tuple[Shot, Drawn]]) -> list[Scored]:
        """Score pictures beside the plain ones of their seeds, in this batch or in the log."""
        if not good:
            return []
        shots = [shot for shot, _ in good]
        rows = {(shot.prompt.id, shot.seed): row for row, shot in enumerate(shots) if shot.method == PLAIN}
        places = [rows.get((shot.prompt.id, shot.seed), self._recorded_plain(shot)) for shot in shots]
        images = torch.stack([picture.image for _, picture in good])
        return self.scoreboard.measure(images, [shot.prompt for shot in shots], places, only=self.only)

    def _recorded_plain(self, shot: Shot) -> Plain:
        row = self.log.rows.get((PLAIN, shot.prompt.id, shot.seed))
        return None if row is None else row.scores

    # ---- writing down ------------------------------------------------------------------------------------

    def _row(
        self,
        shot: Shot,
        picture: Drawn | DFPromptError,
        scored: Scored | None,
        drawn: list[Drawn] | DFPromptError,
        seconds: float,
    ) -> Row:
        before = self.log.rows.get(shot.key)
        row = Row(
            shot.method,
            shot.prompt.id,
            shot.prompt.text,
            shot.seed,
            df_prompt=str(shot.words),
            stage=shot.stage,
        )
        if not isinstance(picture, Drawn) or isinstance(drawn, DFPromptError):
            return replace(row, failed={"picture": str(picture)})
        if scored is None:
            scored = Scored(failed={UNSCORED: "not taken yet"})
        row = replace(row, noise=picture.noise, scores=scored.scores, failed=scored.failed)
        if picture.file is None and before is not None:  # read from its file: it costs what it cost
            kept = {name: getattr(before, name) for name in ("picture", "pictures", "evaluations", "spared")}
            return replace(row, seconds=before.seconds, **kept)
        return replace(
            row,
            picture=shot.picture,
            pictures=len(drawn),
            seconds=round(seconds * len(drawn), 6),
            evaluations=sum(each.evaluations for each in drawn),
            spared=sum(each.spared for each in drawn),
        )

    def _stop_without(self, needed: str | None, rows: Sequence[Row]) -> None:
        """Stop where the needed score fails throughout; asked again later, it may have been mended."""
        if needed is None or len(rows) < 2 or any(needed in row.scores for row in rows):
            return
        reason = rows[0].failed.get(needed, "it returned nothing")
        kept = (
            f"; they are kept in {self.log.folder}: mend the reward and add --resume" if self.log.path else ""
        )
        raise RewardError(f"{needed} failed for all {len(rows)} pictures of a seed: {reason}{kept}")


def fingerprint(pipeline: ImagePipeline, scoreboard: Scoreboard, how: HowToDraw) -> dict[str, Any]:
    """Return what must be the same for pictures to be compared; the batch size changes none."""
    settings = pipeline.resolve(how.settings)
    return {
        "model": pipeline.mark.model_dump(mode="json", exclude_none=True),
        "settings": settings.model_dump(mode="json", exclude={"batch_size"}, exclude_none=True),
        "negative_prompt": how.negative_prompt,
        "scores": scoreboard.kinds,
    }


def _told(recipe: GenerationMetadata, shot: Shot) -> GenerationMetadata:
    asked = shot.prompt.text
    return recipe if recipe.prompt == asked else recipe.model_copy(update={"asked": asked})


def can_share(pipeline: ImagePipeline) -> bool:
    """Return whether the lockstep loop knows this pipeline and its scheduler."""
    try:
        check_lockstep(pipeline.pipe)
    except UnsupportedPipelineError:
        return False  # drawn by the stock call; the pictures are the same
    return True
