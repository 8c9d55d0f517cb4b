"""The studio's routes: JSON in, JSON out, pictures by their number."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from dfprompt.errors import InputError
from dfprompt.requests.studio import STUDIO_FOLDER, StudioRequest
from dfprompt.storage import lock_folder
from dfprompt.web.document import edit_text, make_document, read_text
from dfprompt.web.dropping import read_dropped
from dfprompt.web.guard import Rules
from dfprompt.web.history import History
from dfprompt.web.jobs import Jobs
from dfprompt.web.presets import list_presets, save_preset
from dfprompt.web.server import Place, answer_json, make_app, make_rules, read_json, serve
from dfprompt.web.studio import Studio, folder_of

MOST_ROWS = 500
LARGER = {"/api/inspect": 64 * 2**20}


class Routes:
    """What answers each path; a method per route."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    async def state(self, request: Request) -> Response:
        """Return what a page needs before it shows anything."""
        return answer_json({"state": self.studio.to_json()})

    async def read(self, request: Request) -> Response:
        """Return a text's document, after a change if one is asked for."""
        values = await read_json(request)
        text, plan_of = read_text(values), self.studio.plan_of(values.get("settings"))
        if (change := values.get("change")) is not None:
            text = edit_text(text, change, plan_of)
        return answer_json({"document": make_document(text, plan_of)})

    async def draw(self, request: Request) -> Response:
        """Put a drawing into the queue."""
        drawing, job = self.studio.draw(await read_json(request))
        return answer_json({"drawing": self.studio.history.card(drawing), "job": job.to_json()})

    async def resume(self, request: Request) -> Response:
        """Go on with a drawing."""
        return answer_json({"job": self.studio.resume(request.path_params["number"]).to_json()})

    async def suggest(self, request: Request) -> Response:
        """Ask the policy for words; with "wait" the answer holds them."""
        values = await read_json(request)
        job = self.studio.suggest(values)
        if values.get("wait") is True:
            await self.studio.jobs.wait(job, request)
        return answer_json({"job": job.to_json()})

    async def inspect(self, request: Request) -> Response:
        """Return what a dropped picture says of how it was drawn."""
        return answer_json({"found": read_dropped(await request.body())})

    async def export(self, request: Request) -> Response:
        """Return a prompt for other tools, and as a command."""
        return answer_json(self.studio.export(await read_json(request)))

    async def presets(self, request: Request) -> Response:
        """Return the styles, after one was kept or forgotten."""
        folder = self.studio.history.folder
        if request.method == "POST":
            save_preset(folder, await read_json(request))
        return answer_json({"presets": list_presets(folder, self.studio.lexicon)})

    async def tune(self, request: Request) -> Response:
        """Search words, ranges and weights by reward."""
        return answer_json({"job": self.studio.tune(await read_json(request)).to_json()})

    async def strip(self, request: Request) -> Response:
        """Draw what a picture looked like at each step, or return that."""
        if request.method == "POST":
            return answer_json({"job": self.studio.strip(await read_json(request)).to_json()})
        query = request.query_params
        drawing = self.studio.history.find(query.get("drawing", ""))
        path = self.studio.strip_place(drawing, query.get("label", ""), query.get("seed", ""))
        if not path.is_file():
            raise InputError("these steps are not drawn yet")
        return FileResponse(path, media_type="image/png", content_disposition_type="inline")

    async def jobs(self, request: Request) -> Response:
        """Return what runs and waits."""
        return answer_json({"jobs": self.studio.jobs.unfinished()})

    async def cancel(self, request: Request) -> Response:
        """End a job."""
        return answer_json({"job": self.studio.jobs.cancel(request.path_params["number"]).to_json()})

    async def history(self, request: Request) -> Response:
        """Return the drawings, newest first; those with a word in any of their texts, if one is asked for."""
        words = request.query_params.get("search", "").casefold().split()
        found = [
            drawing
            for drawing in reversed(self.studio.history.drawings)
            if all(word in _searched(drawing) for word in words)
        ]
        cards = [self.studio.history.card(drawing) for drawing in found[:MOST_ROWS]]
        return answer_json({"drawings": cards, "total": len(found)})

    async def drawing(self, request: Request) -> Response:
        """Return a drawing with its scores summed up, or forget it."""
        number = request.path_params["number"]
        if request.method == "DELETE":
            self.studio.history.remove(number)
            self.studio.jobs.publish({"type": "removed", "id": number})
            return answer_json({"removed": number})
        drawing = self.studio.history.find(number)
        return answer_json(
            {"drawing": self.studio.history.card(drawing), "standings": self.studio.standings(drawing)}
        )

    async def picture(self, request: Request) -> Response:
        """Return a picture by its drawing and its number there."""
        number, index = request.path_params["number"], request.path_params["index"]
        path = self.studio.history.picture(number, index)
        if not path.is_file():
            raise InputError(f"the file of picture {index} of drawing {number} is gone")
        return FileResponse(
            path,
            media_type="image/png",
            filename=f"dfprompt-{number}-{path.name}",
            content_disposition_type="inline",
            headers={"Cache-Control": "private, max-age=86400, immutable"},
        )

    def listed(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/api/state", self.state),
            Route("/api/events", self.studio.jobs.events),
            Route("/api/read", self.read, methods=["POST"]),
            Route("/api/draw", self.draw, methods=["POST"]),
            Route("/api/suggest", self.suggest, methods=["POST"]),
            Route("/api/inspect", self.inspect, methods=["POST"]),
            Route("/api/export", self.export, methods=["POST"]),
            Route("/api/presets", self.presets, methods=["GET", "POST"]),
            Route("/api/tune", self.tune, methods=["POST"]),
            Route("/api/strip", self.strip, methods=["GET", "POST"]),
            Route("/api/jobs", self.jobs),
            Route("/api/jobs/{number:int}", self.cancel, methods=["DELETE"]),
            Route("/api/history", self.history),
            Route("/api/history/{number}", self.drawing, methods=["GET", "DELETE"]),
            Route("/api/history/{number}/resume", self.resume, methods=["POST"]),
            Route("/api/pictures/{number}/{index:int}", self.picture),
        ]


def _searched(drawing: Any) -> str:
    texts = (drawing.text, drawing.plain, *(text for _, text in drawing.columns), drawing.negative or "")
    return " ".join(texts).casefold()


def make_studio(studio: Studio, rules: Rules) -> ASGIApp:
    """Return the studio's app; the pipeline begins to load when the server starts."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        studio.start()
        yield
        studio.jobs.stop()

    return make_app("studio.html", Routes(studio).listed(), rules, lifespan=lifespan)


def run_studio(request: StudioRequest, say: Callable[[str], None]) -> None:
    """Serve the studio until a signal ends it; `say` is told the address.

    Raises InputError for a port or a folder that cannot be had, and what loading by name refuses.
    """
    folder = folder_of(request, STUDIO_FOLDER)
    with lock_folder(folder), History(folder) as history:
        rules = make_rules(request.listen, LARGER)
        studio = Studio(request, history, Jobs())
        place = Place(request.port, request.listen, request.browser)
        serve(make_studio(studio, rules), place, rules.token, say)
