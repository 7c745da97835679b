"""A run's folder: stopped at any moment, it can be resumed to the same releases.

config.toml, rounds.jsonl, ledger.jsonl and releases/ are for people; state.safetensors
is the commit point of a round, pending.json the cohort of the one under way.
"""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from fedrec.data.sequences import Floats
from fedrec.errors import ConfigError, VerificationError
from fedrec.files import write_atomically
from fedrec.privacy.mechanism import Doubles
from fedrec.training.aggregation import ServerState

ROUNDS = "rounds.jsonl"
_LEDGER = "ledger.jsonl"
_PRIOR = "prior.safetensors"
_MEAN = "mean.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptMean:
    """What may be used of a round whose noise, if any, is its clients'. mean: (P,)."""

    asked: int
    replies: int
    mean: Doubles


class RunFolder:
    """Paths and durable state of one run. Raises ConfigError where a run must not start.

    noise_key: the file of the key that the noise is kept under; in the folder itself unless it is said.
    """

    def __init__(self, path: Path, config: str, *, resume: bool, noise_key: Path | None = None) -> None:
        self.path = path
        self.noise_key = noise_key or path / "noise.key"
        existing = path / "config.toml"
        if existing.exists():
            if not resume:
                raise ConfigError(
                    f"{path} holds a run already. Add --resume to go on with it, or choose another --out."
                )
            if existing.read_text() != config:
                raise ConfigError(
                    f"{path} was started with other settings or data. Resume it with the same, or use another --out."
                )
        elif path.exists() and any(not _is_draft(entry) for entry in path.iterdir()):
            raise ConfigError(f"{path} is not empty and holds no run. Choose another --out.")
        else:
            # Its ledger, records and cohorts say who took part: of a folder that it makes, nobody else reads them.
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(existing, config.encode())

    @property
    def ledger(self) -> Path:
        return self.path / _LEDGER

    @property
    def releases(self) -> Path:
        return self.path / "releases"

    @property
    def signing_key(self) -> Path:
        return self.path / "signing.key"

    @property
    def seal(self) -> Path:
        return self.path / "ledger.seal"

    @property
    def noise(self) -> Path:
        return self.path / "noise.bin"

    def id(self) -> str:
        """Tells this run from any other; drawn on first use, where the run's key is that of many.

        Raises VerificationError if it was lost: devices know the run by it.
        """
        file = self.path / "run.id"
        if not file.exists():
            if self.ledger.exists():
                raise VerificationError(f"{file} is missing. Restore it from a copy; devices know this run by it.")
            write_atomically(file, f"{secrets.token_hex(16)}\n".encode())
        found = file.read_text().strip()
        if not found.isalnum():
            raise VerificationError(f"{file} is damaged. Restore it from a copy; devices know this run by it.")
        return found

    def client_ledgers(self) -> Iterator[tuple[int, Path]]:
        """The ledger of each simulated client that has a folder of its own."""
        folder = self.client(0).parent
        for each in folder.iterdir() if folder.exists() else ():
            yield int(each.name), each / _LEDGER

    @property
    def population_ledger(self) -> Path:
        """What clients paid that have no folders of their own."""
        return self.path / "clients.jsonl"

    def client(self, client: int) -> Path:
        """Where a simulated client keeps what would be on its device."""
        return client_folder(self.path, client)

    def state(self) -> ServerState | None:
        """The state after the last finished round; None before the first."""
        file = self.path / "state.safetensors"
        if not file.exists():
            return None
        with _intact(file):
            tensors = load_file(file)
            round_number, steps = tensors.pop("counts").tolist()
            return ServerState(round=round_number, steps=steps, **tensors)

    def commit(self, state: ServerState, record: dict[str, Any]) -> None:
        """Finish a round: its record first, then the state that makes it count."""
        lines = [*self.rounds(before=state.round), record]
        write_atomically(self.path / ROUNDS, "".join(json.dumps(line) + "\n" for line in lines).encode())
        tensors = asdict(state)
        counts = np.array([tensors.pop("round"), tensors.pop("steps")], dtype=np.int64)
        write_atomically(self.path / "state.safetensors", save({**tensors, "counts": counts}))

    def rounds(self, *, before: int | None = None) -> list[dict[str, Any]]:
        """The records of finished rounds."""
        return [line for line in read_rounds(self.path) if before is None or line["round"] < before]

    def pending(self, round_number: int) -> dict[str, Any] | None:
        """Token and cohort of a round that was begun, so that a resumed one asks the same clients."""
        file = self.path / "pending.json"
        if not file.exists():
            return None
        with _intact(file):
            begun: dict[str, Any] = json.loads(file.read_text())
            sound = isinstance(begun["token"], str) and all(isinstance(client, int) for client in begun["cohort"])
            if not sound:
                raise ValueError("token or cohort")
            return begun if begun["round"] == round_number else None

    def kept_mean(self, round_number: int) -> KeptMean | None:
        """What a round came to that was paid for and not finished; None where there is no such round."""
        file = self.path / _MEAN
        if not file.exists():
            return None
        with _intact(file):
            tensors = load_file(file)
            kept, asked, replies = tensors["counts"].tolist()
            return KeptMean(asked=asked, replies=replies, mean=tensors["mean"]) if kept == round_number else None

    def keep_mean(self, round_number: int, kept: KeptMean) -> None:
        """Put what a round came to on the disk before it is released: another order of replies is another sum."""
        counts = np.array([round_number, kept.asked, kept.replies], dtype=np.int64)
        write_atomically(self.path / _MEAN, save({"mean": kept.mean, "counts": counts}))

    def prior(self) -> Floats | None:
        """(N,) the popularity that this run released; None before that."""
        file = self.path / _PRIOR
        if not file.exists():
            return None
        with _intact(file):
            prior: Floats = load_file(file)["prior"]
            return prior

    def keep_prior(self, prior: Floats) -> None:
        """Put the released popularity on the disk before anybody sees it."""
        write_atomically(self.path / _PRIOR, save({"prior": prior}))

    def begin(self, pending: dict[str, Any]) -> None:
        """Remember a round before anybody is asked."""
        write_atomically(self.path / "pending.json", json.dumps(pending).encode())


def is_cut_off(run: Path) -> bool:
    """Whether a round of a run asked its clients, and was neither finished nor added up."""
    pending, mean = run / "pending.json", run / _MEAN
    if not pending.exists():
        return False
    with _intact(pending):
        asked = int(json.loads(pending.read_text())["round"])
    if mean.exists():
        with _intact(mean):
            if load_file(mean)["counts"][0] == asked:
                return False
    return all(line["round"] < asked for line in read_rounds(run))


def _is_draft(path: Path) -> bool:
    """Whether a file is what a start that was killed left of `config.toml`: such a run has not begun."""
    return path.name.startswith(".config.toml.")


def read_rounds(run: Path) -> list[dict[str, Any]]:
    """The records of a run's rounds, oldest first."""
    file = run / ROUNDS
    if not file.exists():
        return []
    with _intact(file):
        return [dict(json.loads(line)) for line in file.read_text().splitlines()]


@contextmanager
def _intact(file: Path) -> Iterator[None]:
    """Say of a file that cannot be read that it is damaged; such a run does not go on by itself."""
    try:
        yield
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise VerificationError(
            f"{file} is damaged ({type(error).__name__}). Restore it from a copy, or start the run again elsewhere."
        ) from None


def client_folder(run: Path, client: int) -> Path:
    """Where a simulated client keeps what would be on its device."""
    return run / "clients" / str(client)
