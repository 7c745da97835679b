"""A device that was enrolled and answers with garbage: a process for the chaos test."""

import random
import sys
import threading
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from fedrec.data.store.store import Store
from fedrec.federation import taking_part
from fedrec.federation.taking_part import Server, take_part


def garbage(rng: random.Random) -> RecordDict:
    """Something that no client of ours says."""
    size = rng.choice([0, 1, 7, 10_000])
    vector = rng.choice([np.full(size, np.nan), np.full(size, 1e38), np.zeros((size, 2)), np.arange(size)])
    records = RecordDict({"update": ArrayRecord({"vector": Array(vector.astype(rng.choice(["f4", "f8", "i8"])))})})
    if rng.random() < 0.7:
        records["reply"] = ConfigRecord({"code": rng.choice(["", "x" * 500, "RefusedError"]), "attempts": -1})
    return records


def hostile_app(rng: random.Random) -> ClientApp:
    """Answers every message with garbage, or not at all."""
    app = ClientApp()

    @app.train("secure")
    @app.train()
    def train(message: Message, _: Context) -> Message:
        if rng.random() < 0.2:
            raise RuntimeError("nothing")
        return Message(garbage(rng), reply_to=message)

    return app


def main() -> None:
    """Take part until killed. Arguments: the device, HOST:PORT, the authority's certificate."""
    device, address, authority = sys.argv[1:]
    taking_part.build_client_app = lambda *_: hostile_app(random.Random(1))  # noqa: S311  # type: ignore[assignment]
    with Store.open(Path(device)) as store:
        server = Server(address=address, authority=Path(authority))
        take_part(store, server, stop=threading.Event(), told=lambda what, facts: print(what, facts, flush=True))


if __name__ == "__main__":
    main()
