"""Asking an application directly, without a socket; what fails inside it is raised in the test."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import httpx
from fastapi import FastAPI


@dataclass
class Caller:
    """Somebody who asks the application directly, and keeps its cookies. peer: where they connect from."""

    app: FastAPI
    headers: dict[str, str]
    home: str
    cookies: httpx.Cookies = field(default_factory=httpx.Cookies)
    peer: str = "127.0.0.1"

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """The application's answer."""
        return asyncio.run(self._request(method, path, **more))

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.request("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.request("POST", path, **more)

    def put(self, path: str, **more: Any) -> httpx.Response:
        return self.request("PUT", path, **more)

    async def _request(self, method: str, path: str, **more: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, client=(self.peer, 50000))
        settings: Any = {"base_url": self.home, "headers": self.headers, "cookies": self.cookies}
        async with httpx.AsyncClient(transport=transport, **settings) as client:
            answer = await client.request(method, path, **more)
            self.cookies.update(client.cookies)
            return answer
