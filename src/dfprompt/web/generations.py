"""Pictures for programs: `POST /v1/images/generations` in the form that image clients have in common.

Requests wait in one queue and are drawn one after the other, so each client is answered in the order it
asked. A client that leaves ends its own request. Nothing is kept but the last pictures asked for by address.
"""

from __future__ import annotations

import base64
import dataclasses
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from dfprompt.api.companions import companions_of
from dfprompt.api.pipelines import open_pipeline
from dfprompt.api.policies import load_policy, optimize_prompt
from dfprompt.endpoint import keep_token
from dfprompt.errors import DFPromptError, InputError
from dfprompt.excerpt import quote
from dfprompt.images.metadata import ModelMark
from dfprompt.images.saving import png_of
from dfprompt.images.tensors import to_pil
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.policy import Policy
from dfprompt.prompt.parser import read_back
from dfprompt.requests.base import make_request
from dfprompt.requests.render import RenderSettings, parse_size
from dfprompt.requests.serve import ImagesRequest, ServeRequest
from dfprompt.web.guard import Rules
from dfprompt.web.jobs import Job, Jobs, QueueFull
from dfprompt.web.remarks import listen_to_warnings, remarks_in
from dfprompt.web.server import (
    Place,
    address_of,
    answer_json,
    make_app,
    make_rules,
    make_server,
    open_socket,
    read_json,
)
from dfprompt.web.suggesting import behind

# Said by clients of other services, without a meaning here.
_IGNORED = frozenset(
    {"model", "user", "quality", "style", "background", "moderation", "output_compression", "partial_images"}
)
_KEPT = 200  # pictures that can still be asked for by their address


class Generations:
    """One pipeline, the queue in front of it, and the last pictures asked for by address."""

    def __init__(self, request: ServeRequest, pipeline: ImagePipeline, jobs: Jobs) -> None:
        self.request, self.pipeline, self.jobs = request, pipeline, jobs
        self._pictures: OrderedDict[str, bytes] = OrderedDict()

    @cached_property
    def policy(self) -> Policy:
        """What rewrites prompts, loaded when it is first needed."""
        companions = companions_of(self.pipeline)
        name = self.request.policy or companions.policy or "starter"
        return load_policy(name, device=self.request.device, companions=companions)

    async def generate(self, request: Request) -> Response:
        """Draw what a client asks for, when it is its turn."""
        asked = read_images_request(await read_json(request))
        settings = self._settings(asked)
        read_back(asked.prompt, settings.num_inference_steps)
        title = asked.prompt[:200]
        job = self.jobs.submit("draw", title, lambda job: self._draw(job, asked, settings))
        await self.jobs.wait(job, request)
        if job.state == "failed":
            assert job.error is not None
            raise job.error
        if job.state != "done":  # nobody is there to read this, or the server is ending
            return _refusal(503, "the request was cancelled")
        pictures = job.result["pictures"]
        job.result = None  # a finished job is kept for a while, its pictures are not
        base = f"{request.url.scheme}://{request.url.netloc}"
        data = [self._shown(asked, each, base) for each in pictures]
        told = {"remarks": job.notes} if job.notes else {}
        return answer_json({"created": int(time.time()), "data": data, **told})

    def _settings(self, asked: ImagesRequest) -> RenderSettings:
        """Return how to draw: what the client says over what the server was started with."""
        given = asked.model_dump(include=set(RenderSettings.model_fields), exclude_unset=True)
        if asked.size not in (None, "auto"):
            given |= dict(zip(("width", "height"), _size(str(asked.size)), strict=True))
        return self.pipeline.resolve(self.request.settings.model_copy(update=given))

    def _draw(self, job: Job, asked: ImagesRequest, settings: RenderSettings) -> dict[str, Any]:
        first = secrets.randbelow(2**32) if asked.seed is None else asked.seed
        seeds = range(first, first + asked.n)
        prompt, revised, mark = read_back(asked.prompt, settings.num_inference_steps), None, None
        job.report(0, 1)
        with remarks_in(job):
            if self.request.rewrite if asked.rewrite is None else asked.rewrite:
                best = optimize_prompt(prompt, self.policy, seed=first, pipeline=self.pipeline.pipe)[0]
                revised = behind(asked.prompt, str(prompt), str(best.prompt))
                mark = ModelMark(name=self.policy.name)
                prompt = best.prompt
            negative = asked.negative_prompt or self.request.negative_prompt
            drawn = self.pipeline.draw(
                [prompt] * asked.n, list(seeds), settings, negative_prompt=negative, progress=job.report
            )
        files = map(png_of, to_pil(drawn.images), drawn.recipes(policy=mark))
        told = {} if revised is None else {"revised_prompt": revised}
        return {
            "pictures": [{"png": png, "seed": seed, **told} for png, seed in zip(files, seeds, strict=True)]
        }

    def _shown(self, asked: ImagesRequest, picture: dict[str, Any], base: str) -> dict[str, Any]:
        content = picture.pop("png")
        if asked.response_format == "b64_json":
            return {"b64_json": base64.b64encode(content).decode(), **picture}
        number = secrets.token_hex(16)
        self._pictures[number] = content
        while len(self._pictures) > _KEPT:
            self._pictures.popitem(last=False)
        return {"url": f"{base}/v1/images/{number}", **picture}

    async def picture(self, request: Request) -> Response:
        """Return a picture by its number, to whoever has the token."""
        content = self._pictures.get(request.path_params["number"])
        if content is None:
            return _refusal(404, f"there is no such picture; the last {_KEPT} are kept")
        return Response(content, media_type="image/png", headers={"Content-Disposition": "inline"})

    async def models(self, request: Request) -> Response:
        """Return what draws, as the one model there is."""
        named = {"id": self.pipeline.name, "object": "model", "created": 0, "owned_by": "dfprompt"}
        return answer_json({"object": "list", "data": [named]})

    def listed(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/v1/images/generations", _told(self.generate), methods=["POST"]),
            Route("/v1/images/{number}", self.picture),
            Route("/v1/models", self.models),
            Route("/{rest:path}", _nowhere, methods=["GET", "POST", "PUT", "DELETE"]),
        ]


def read_images_request(values: Mapping[str, Any]) -> ImagesRequest:
    """Return what a client asks for; raises ConfigError that names every problem, unknown fields too.

    >>> read_images_request({"prompt": "a cat", "model": "dall-e-3", "size": "auto"}).n
    1
    """
    known = {name: value for name, value in values.items() if name not in _IGNORED and value is not None}
    return make_request(ImagesRequest, known)


def _size(text: str) -> tuple[int, int]:
    try:
        return parse_size(text)
    except InputError as error:
        raise InputError(f"size: {error}") from error


def _told(work: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """Answer errors of a client with status 400, as image clients expect, and too many waiting with 429."""

    async def answer(request: Request) -> Response:
        try:
            return await work(request)
        except QueueFull as error:
            return _refusal(429, str(error))
        except DFPromptError as error:
            return _refusal(400 if error.exit_code == 2 else 500, str(error))

    return answer


async def _nowhere(request: Request) -> Response:
    """Say what is answered here: clients also ask for edits, variations and chats."""
    said = (
        f"nothing is answered at {quote(request.url.path)}: ask POST /v1/images/generations or GET /v1/models"
    )
    return _refusal(404, said)


def _refusal(status: int, message: str) -> Response:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return answer_json({"error": {"message": message, "type": kind, "param": None, "code": None}}, status)


def make_generations(generations: Generations, rules: Rules) -> ASGIApp:
    """Return the app; its queue runs while it does."""

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        listen_to_warnings()
        generations.jobs.start()
        yield
        generations.jobs.stop()

    return make_app(None, generations.listed(), rules, lifespan=lifespan)


def run_generations(request: ServeRequest, say: Callable[[str, str], None]) -> None:
    """Serve pictures until a signal ends it; `say` is told the address and the token.

    Raises InputError for a port that cannot be had, ConfigError for a token file that cannot be read, and
    what loading by name refuses.
    """
    rules = make_rules(request.listen)
    rules = dataclasses.replace(rules, token=keep_token(request.token_file) or rules.token)
    with open_socket(
        Place(request.port, request.listen)
    ) as bound:  # who asks while it loads is answered then
        generations = Generations(request, open_pipeline(request), Jobs())
        say(f"{address_of(bound)}/v1", rules.token)
        make_server(make_generations(generations, rules)).run(sockets=[bound])
