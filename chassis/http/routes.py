"""The routes of every API: bodies are strict JSON, and a path that is spelled out is never taken for a parameter."""

from collections.abc import Callable, Coroutine, MutableMapping
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.routing import Match

from chassis.http.json_body import JsonRequest


class StrictRoute(APIRoute):
    """Answers 415 to a body that is not said to be JSON, and 422 to bad JSON."""

    def matches(self, scope: MutableMapping[str, Any]) -> tuple[Match, MutableMapping[str, Any]]:
        """Leaves `/orders/search` to the route of that path, also for a method that only `/orders/{id}` has."""
        if self.param_convertors and scope["path"] in scope["app"].state.paths:
            return Match.NONE, {}
        return super().matches(scope)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()
        if self.body_field is None:
            return handler

        async def handle(request: Request) -> Response:
            whole = JsonRequest(request.scope, request.receive)
            await whole.read()
            return await handler(whole)

        return handle


class Paths:
    """The paths of an app, as its routes have them: `/orders/search in paths`."""

    def __init__(self, routes: list[Any]) -> None:
        self._routes = routes
        self._known: frozenset[str] = frozenset()
        self._count = 0

    def __contains__(self, path: str) -> bool:
        if len(self._routes) != self._count:
            self._known = frozenset(getattr(route, "path", "") for route in self._routes)
            self._count = len(self._routes)
        return path in self._known
