import json
import stat

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrec.errors import VerificationError
from fedrec.release import MANIFEST, SIGNATURE, public_key, publish_release, signing_key, verify_release

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
FILES = {
    "adapter/adapter_config.json": b"{}",
    "adapter/adapter_model.safetensors": bytes(range(200)),
    "index.safetensors": b"vectors",
    "prior.safetensors": b"prior",
    "MODEL_CARD.md": b"# A card\n",
}
ALL_FILES = [*FILES, MANIFEST, SIGNATURE]


def writing(files):
    def write(folder):
        for name, content in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)

    return write


def publish(parent, files=FILES, *, write=None, key=KEY, round_number=7, **lineage):
    lineage = {"index": "index hash", "base_model": "base", "ledger_head": "0" * 64, **lineage}
    privacy = {"epsilon": 1.0}
    write = write or writing(files)
    return publish_release(parent, write, round_number=round_number, lineage=lineage, privacy=privacy, key=key)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return publish(tmp_path_factory.mktemp("releases"))


@pytest.fixture
def release(tmp_path):
    return publish(tmp_path / "releases")


def test_a_release_vouches_for_what_it_holds(release):
    manifest = verify_release(release, KEY.public_key())
    assert set(manifest.files) == set(FILES)
    assert manifest.lineage["ledger_head"] == "0" * 64
    assert manifest.privacy == {"epsilon": 1.0}
    assert release.name == f"00007-{manifest.id}"


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(ALL_FILES), data=st.data())
def test_an_edited_byte_anywhere_is_refused(published, name, data):
    path = published / name
    content = path.read_bytes()
    position = data.draw(st.integers(0, len(content) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != content[position]))
    # Upper case hex, or space around it, is the same signature.
    edited = content[:position] + bytes([byte]) + content[position + 1 :]
    same = name == SIGNATURE and edited.lower().split() == content.split()
    path.write_bytes(edited)
    try:
        if same:
            verify_release(published, KEY.public_key())
        else:
            with pytest.raises(VerificationError):
                verify_release(published, KEY.public_key())
    finally:
        path.write_bytes(content)
    verify_release(published, KEY.public_key())


@pytest.mark.parametrize("name", ALL_FILES)
def test_a_missing_file_is_refused(release, name):
    (release / name).unlink()
    with pytest.raises(VerificationError):
        verify_release(release, KEY.public_key())


@pytest.mark.parametrize("name", ["prior.draft", "adapter/more.safetensors", ".hidden"])
def test_a_file_that_nobody_signed_is_refused(release, name):
    (release / name).write_bytes(b"slipped in")
    with pytest.raises(VerificationError, match="not part of this release"):
        verify_release(release, KEY.public_key())


def test_a_link_to_elsewhere_is_refused(release, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (release / "linked").symlink_to(tmp_path / "missing")
    with pytest.raises(VerificationError, match="not part of this release"):
        verify_release(release, KEY.public_key())


def test_the_key_of_somebody_else_is_refused(release):
    with pytest.raises(VerificationError, match="not of this key"):
        verify_release(release, Ed25519PrivateKey.generate().public_key())


def test_a_manifest_signed_by_somebody_else_is_refused(release):
    body = json.loads((release / MANIFEST).read_text())
    body["privacy"]["epsilon"] = 0.01
    content = json.dumps(body).encode()
    (release / MANIFEST).write_bytes(content)
    (release / SIGNATURE).write_text(Ed25519PrivateKey.generate().sign(content).hex())
    with pytest.raises(VerificationError):
        verify_release(release, KEY.public_key())


def test_a_manifest_of_another_shape_is_refused_even_if_it_is_signed(release):
    for body in (b"[]", b"null", b"{}", b'{"id": "x", "extra": 1}', b"\xff"):
        (release / MANIFEST).write_bytes(body)
        (release / SIGNATURE).write_text(KEY.sign(body).hex())
        with pytest.raises(VerificationError):
            verify_release(release, KEY.public_key())


def test_an_empty_folder_is_no_release(tmp_path):
    with pytest.raises(VerificationError, match=r"lacks manifest.json"):
        verify_release(tmp_path, KEY.public_key())


def test_the_same_adapter_has_the_same_id_whatever_was_spent_on_it(tmp_path):
    one = publish(tmp_path / "one")
    other = publish(tmp_path / "other", {**FILES, "MODEL_CARD.md": b"another text"}, ledger_head="f" * 64, run="second")
    assert one.name == other.name


@pytest.mark.parametrize("changed", ["adapter/adapter_model.safetensors", "index.safetensors", "prior.safetensors"])
def test_whatever_changes_a_recommendation_changes_the_id(tmp_path, changed):
    one = publish(tmp_path)
    other = publish(tmp_path, {**FILES, changed: b"changed"})
    assert one.name != other.name


def test_another_base_model_is_another_release(tmp_path):
    assert publish(tmp_path).name != publish(tmp_path, base_model="other").name


def test_a_release_that_exists_is_left_as_it_is(tmp_path):
    first = publish(tmp_path)
    before = {path.name: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    again = publish(tmp_path, {**FILES, "MODEL_CARD.md": b"newer words"}, ledger_head="f" * 64)
    assert again == first
    assert {path.name: path.read_bytes() for path in first.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == [first.name]


def test_nothing_is_left_of_a_release_that_failed(tmp_path):
    def fail(folder):
        (folder / "index.safetensors").write_bytes(b"half")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        publish(tmp_path, write=fail)
    assert list(tmp_path.iterdir()) == []


def test_a_release_appears_whole(tmp_path):
    seen = []

    def write(folder):
        writing(FILES)(folder)
        seen.extend(path.name for path in tmp_path.iterdir() if not path.name.startswith("."))

    publish(tmp_path, write=write)
    assert seen == []


def test_a_signing_key_is_readable_by_its_owner_alone_and_is_made_once(tmp_path):
    path = tmp_path / "keys" / "signing.key"
    key = signing_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert signing_key(path).private_bytes_raw() == key.private_bytes_raw()
    assert public_key(path.with_suffix(".pub")).public_bytes_raw() == key.public_key().public_bytes_raw()


def test_two_signing_keys_differ(tmp_path):
    one, other = (signing_key(tmp_path / name).private_bytes_raw() for name in ("one.key", "other.key"))
    assert one != other


@pytest.mark.parametrize("content", [b"", b"not hex", b"abcd", b"\xff\xfe"])
def test_what_is_no_public_key_is_refused(tmp_path, content):
    (tmp_path / "some.pub").write_bytes(content)
    with pytest.raises(VerificationError, match="no Ed25519 public key"):
        public_key(tmp_path / "some.pub")
    with pytest.raises(VerificationError):
        public_key(tmp_path / "absent.pub")
