"""A typed client of the agent, for products on the same device. Needs no web library.

Whoever answers on the agent's port has to prove that it is the agent, on each connection, before
it is told the token or anything of the person: an agent that was killed leaves its port to anybody.

client = AgentClient.of(Path("DEVICE"))
client.feedback("save", "item-7")
for item in client.recommend(5).items: ...
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from functools import cache
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast, get_args, get_origin, get_type_hints
from urllib.parse import quote, urlencode

from fedrec.agent import wire
from fedrec.agent.running import PORT_FILE
from fedrec.agent.tokens import running_token
from fedrec.data.events import Event
from fedrec.errors import DataError, RefusedError
from fedrec.web.proofs import proof
from fedrec.web.sessions import same

if TYPE_CHECKING:
    from fedrec.ondevice.catalogue import Item

_REFUSED = frozenset({401, 403, 409, 429})
_ERASE = "erase"
# A proof is shorter; nothing that a stranger sends is read further.
_PROOF_BYTES = 256

T = TypeVar("T")


class AgentClient:
    """Speaks to the agent on 127.0.0.1; one connection for each request, so it is safe among threads.

    Every method raises RefusedError where the device says no, and DataError for what makes no
    sense or where no agent answers.
    """

    def __init__(self, port: int, *, token: str, timeout: float = 10.0) -> None:
        self._port = port
        self._token = token
        self._timeout = timeout
        self._device = "DEVICE"

    @classmethod
    def of(cls, device: Path, *, timeout: float = 10.0) -> Self:
        """The client of the agent that runs for this device folder."""
        try:
            client = cls(int((device / PORT_FILE).read_text()), token=running_token(device), timeout=timeout)
        except (OSError, ValueError):
            raise _no_agent(str(device)) from None
        client._device = str(device)
        return client

    def record(self, events: Sequence[Event]) -> wire.Recorded:
        """Record what the person did: all of it or none."""
        return self._ask(wire.Recorded, "POST", "/v1/events", {"events": [_said(event) for event in events]})

    def recommend(
        self, k: int = 10, *, context: str = "", session: Sequence[str] = (), label: str = ""
    ) -> wire.Recommendations:
        """The best `k` items for now, each with its reasons."""
        asked = [("k", str(k)), *_moment(context, session, label)]
        return self._ask(wire.Recommendations, "GET", f"/v1/recommendations?{urlencode(asked)}")

    def explain(
        self, item_id: str, *, context: str = "", session: Sequence[str] = (), label: str = ""
    ) -> wire.Explanation:
        """Every part of an item's score."""
        asked = urlencode(_moment(context, session, label))
        return self._ask(wire.Explanation, "GET", f"/v1/explanations/{quote(item_id, safe='')}?{asked}")

    def find(self, query: str, *, limit: int = 10) -> wire.Found:
        """Items of the catalogue by words of their titles."""
        return self._ask(wire.Found, "GET", f"/v1/items?{urlencode({'query': query, 'limit': limit})}")

    def add_items(self, items: "Sequence[Item]") -> wire.Added:
        """Make new items recommendable at once, by their texts."""
        return self._ask(wire.Added, "POST", "/v1/items", {"items": [asdict(item) for item in items]})

    def context(self) -> wire.LiveContext:
        """What lists take into account now."""
        return self._ask(wire.LiveContext, "GET", "/v1/context")

    def feedback(self, action: str, item_id: str, *, value: float | None = None) -> wire.Feedback:
        """Say something about an item."""
        given = {"action": action, "item_id": item_id, "value": value}
        return self._ask(wire.Feedback, "POST", "/v1/feedback", given)

    def undo(self, feedback_id: int | None = None) -> wire.Feedback:
        """Take feedback back, the last one unless named."""
        return self._ask(wire.Feedback, "POST", "/v1/undo", {"id": feedback_id})

    def profile(self) -> wire.Profile:
        """The interests that the device found."""
        return self._ask(wire.Profile, "GET", "/v1/profile")

    def rename_cluster(self, cluster_id: int, name: str) -> wire.Profile:
        """Give an interest the person's own name."""
        return self._ask(wire.Profile, "PUT", f"/v1/profile/clusters/{cluster_id}", {"name": name})

    def mute_cluster(self, cluster_id: int, *, muted: bool = True) -> wire.Profile:
        """Mute an interest, or let it be heard again."""
        return self._ask(wire.Profile, "PUT", f"/v1/profile/clusters/{cluster_id}", {"muted": muted})

    def let_in(self, *, topic: str | None = None, provider: str | None = None) -> wire.Profile:
        """Let a topic or a provider be recommended again."""
        return self._ask(wire.Profile, "POST", "/v1/profile/let-in", {"topic": topic, "provider": provider})

    def settings(self) -> wire.Settings:
        """How lists are made."""
        return self._ask(wire.Settings, "GET", "/v1/settings")

    def change_settings(self, **settings: float) -> wire.Settings:
        """Change how lists are made; what is not named stays as it is."""
        return self._ask(wire.Settings, "PUT", "/v1/settings", settings)

    def privacy(self) -> wire.Privacy:
        """What was spent, and what was uploaded last."""
        return self._ask(wire.Privacy, "GET", "/v1/privacy")

    def participation(self) -> wire.Participation:
        """Whether the device takes part in training."""
        return self._ask(wire.Participation, "GET", "/v1/participation")

    def opt_in(
        self, *, idle: bool = True, charging: bool = True, unmetered: bool = True, epsilon: float | None = None
    ) -> wire.Participation:
        """Take part from now on, under the installed release's plan and these conditions.

        Ask the person first: it is their switch.
        """
        asked = {
            "on": True,
            "agree": True,
            "idle": idle,
            "charging": charging,
            "unmetered": unmetered,
            "epsilon": epsilon,
        }
        return self._ask(wire.Participation, "PUT", "/v1/participation", asked)

    def opt_out(self) -> wire.Participation:
        """Take no part any more."""
        return self._ask(wire.Participation, "PUT", "/v1/participation", {"on": False})

    def pause(self, hours: int) -> wire.Participation:
        """Take no part for some hours; 0 ends a pause."""
        return self._ask(wire.Participation, "POST", "/v1/participation/pause", {"hours": hours})

    def tell_state(
        self, *, idle: bool | None = None, charging: bool | None = None, unmetered: bool | None = None
    ) -> wire.Participation:
        """Say what the product knows of the device; it is believed for a quarter of an hour."""
        state = {"idle": idle, "charging": charging, "unmetered": unmetered}
        return self._ask(wire.Participation, "PUT", "/v1/device", state)

    def retention(self) -> wire.Retention:
        """How long events are kept."""
        return self._ask(wire.Retention, "GET", "/v1/retention")

    def keep_for(self, days: int | None, *, kinds: Mapping[str, int | None] | None = None) -> wire.Retention:
        """Keep events for so many days from now on, None for ever; `kinds` have days of their own."""
        return self._ask(wire.Retention, "PUT", "/v1/retention", {"days": days, "kinds": dict(kinds or {})})

    def export(self) -> dict[str, Any]:
        """Everything that the device keeps of the person."""
        return cast(dict[str, Any], self._answer("GET", "/v1/export", None))

    def erase(self, *, confirm: str) -> wire.Erased:
        """Erase everything of the person; `confirm` has to be the word `erase`."""
        if confirm != _ERASE:
            raise RefusedError(f"Nothing was erased. Confirm with the word `{_ERASE}`.")
        return self._ask(wire.Erased, "POST", "/v1/erase", {"confirm": confirm})

    def release(self) -> wire.Release:
        """The release that recommends now."""
        return self._ask(wire.Release, "GET", "/v1/release")

    def roll_back(self) -> wire.Release:
        """Go back to the release before this one."""
        return self._ask(wire.Release, "POST", "/v1/release/rollback")

    def page_address(self) -> str:
        """An address that opens the person's page, once, within five minutes."""
        return self._ask(wire.PageAddress, "POST", "/v1/page").address

    def _ask(self, reply: type[T], method: str, path: str, body: Mapping[str, Any] | None = None) -> T:
        return cast(T, _read(reply, self._answer(method, path, body)))

    def _answer(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        # HTTPConnection asks no proxy, whatever the environment says: what is said stays on the device.
        connection = HTTPConnection("127.0.0.1", self._port, timeout=self._timeout)
        try:
            self._prove(connection)
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            status, content = answer.status, json.loads(answer.read())
        except (OSError, HTTPException, ValueError):
            raise _no_agent(self._device) from None
        finally:
            connection.close()
        if status >= 400:
            raise (RefusedError if status in _REFUSED else DataError)(content["error"])
        return content

    def _prove(self, connection: HTTPConnection) -> None:
        """Whoever is at the other end of this connection holds the token; raises HTTPException if not.

        What follows goes to the same end: a connection that was closed is not opened again.
        """
        connection.connect()
        connection.auto_open = 0
        nonce = secrets.token_urlsafe(32)
        connection.request("GET", f"/hello?nonce={nonce}")
        given = json.loads(connection.getresponse().read(_PROOF_BYTES))
        if not isinstance(given, dict) or not same(
            str(given.get("proof")), proof(self._token, port=self._port, nonce=nonce)
        ):
            raise HTTPException


def _no_agent(device: str) -> DataError:
    return DataError(f"No agent runs for {device}. Start one with `fedrec client page {device}`.")


def _said(event: Event) -> dict[str, Any]:
    names = ("item_id", "timestamp", "value", "text", "context")
    said = {name: getattr(event, name) for name in names if getattr(event, name) is not None}
    return {"kind": event.kind.value, **said}


def _moment(context: str, session: Sequence[str], label: str) -> list[tuple[str, str]]:
    return [("context", context), ("label", label), *(("session", item_id) for item_id in session)]


def _read(kind: Any, content: Any) -> Any:
    """JSON as the dataclass that it was made from; fields that this version does not know are left out."""
    if get_origin(kind) is tuple:
        return tuple(_read(get_args(kind)[0], each) for each in content)
    if get_origin(kind) is UnionType:
        return content
    if isinstance(kind, type) and is_dataclass(kind):
        return cast(Any, kind)(**{name: _read(hint, content[name]) for name, hint in _hints(kind).items()})
    return content


@cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}
