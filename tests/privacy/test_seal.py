import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrec.errors import VerificationError
from fedrec.privacy.ledger import Ledger, read_events
from fedrec.privacy.seal import Seal, require_sealed, sealed_head

KEY = Ed25519PrivateKey.generate()


@pytest.fixture
def sealed(tmp_path):
    """A ledger of four entries and its seal."""
    path, seal = tmp_path / "ledger.jsonl", tmp_path / "ledger.seal"
    with Ledger(path, seal=Seal(seal, KEY)) as ledger:
        for number in range(4):
            ledger.append({"number": number})
    return path, seal


def check(path, seal, key=KEY):
    with Ledger(path) as ledger:
        require_sealed(path, ledger.hashes, seal, key.public_key())


def test_the_seal_follows_every_entry(sealed):
    path, seal = sealed
    check(path, seal)
    with Ledger(path) as ledger:
        assert sealed_head(seal, KEY.public_key()) == ledger.head


def test_a_ledger_without_a_seal_has_not_begun(tmp_path):
    assert sealed_head(tmp_path / "ledger.seal", KEY.public_key()) is None
    check(tmp_path / "ledger.jsonl", tmp_path / "ledger.seal")


@pytest.mark.parametrize("kept", range(4))
def test_a_removed_tail_shows(sealed, kept):
    path, seal = sealed
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:kept]))
    with pytest.raises(VerificationError, match="cut off or rewritten"):
        check(path, seal)


def test_a_chain_written_anew_shows(sealed):
    path, seal = sealed
    events = read_events(path)
    path.unlink()
    with Ledger(path) as ledger:
        for event in events[:-1]:
            ledger.append(event)
        ledger.append({"number": 99})
    with pytest.raises(VerificationError, match="cut off or rewritten"):
        check(path, seal)


def test_an_entry_that_the_seal_does_not_know_yet_is_an_interruption(sealed):
    path, seal = sealed
    with Ledger(path) as ledger:
        ledger.append({"number": 4})
    check(path, seal)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"head": "0", "signature": "00"}', '{"head": 1, "signature": 2}'])
def test_a_damaged_seal_stops(sealed, content):
    path, seal = sealed
    seal.write_text(content)
    with pytest.raises(VerificationError, match="damaged, or signed with another key"):
        check(path, seal)


def test_a_seal_of_another_key_stops(sealed):
    with pytest.raises(VerificationError, match="another key"):
        check(*sealed, key=Ed25519PrivateKey.generate())


def test_a_signature_over_another_head_stops(sealed):
    path, seal = sealed
    content = json.loads(seal.read_text())
    seal.write_text(json.dumps(content | {"head": "0" * 64}))
    with pytest.raises(VerificationError):
        check(path, seal)
