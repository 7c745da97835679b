"""What every registry keeps to, on SQLite and on PostgreSQL: releases never change, and the last pointer counts."""

import shutil
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from fedrec.errors import RefusedError, VerificationError
from fedrec.pointer import read_pointer
from fedrec.registry.publishing import Metric
from fedrec.registry.registry import Registry
from fedrec.release import SIGNATURE, verify_release
from tests.ondevice.device_worlds import a_world, signed_again
from tests.registry.presses import Press


def test_a_release_is_kept_with_every_file_and_its_lineage(registry: Registry, press: Press) -> None:
    row = press.publish(registry, 1)
    folder = press.release(1)
    manifest = verify_release(folder, press.key.public_key())
    assert (row.id, row.run, row.round) == (manifest.id, "run-1", 1)
    for name, digest in manifest.files.items():
        content = (folder / name).read_bytes()
        assert b"".join(registry.artifacts.read(digest, start=0, end=len(content))) == content
    assert registry.manifest("films", row.manifest_hash) == (manifest.content(), (folder / SIGNATURE).read_bytes())


def test_only_what_changed_counts_as_new(registry: Registry, press: Press) -> None:
    first, second = press.publish(registry, 1), press.publish(registry, 2)
    assert first.new_bytes == first.bytes
    assert second.new_bytes == (press.release(2) / "adapter/adapter_model.safetensors").stat().st_size
    assert [row.round for row in registry.releases("films")] == [2, 1]


def test_publishing_the_same_again_changes_nothing(registry: Registry, press: Press) -> None:
    first = press.publish(registry, 1)
    assert press.publish(registry, 1) == first
    assert registry.releases("films") == [first]


def test_the_same_release_may_be_in_two_catalogues(registry: Registry, press: Press) -> None:
    press.publish(registry, 1)
    assert press.publish(registry, 1, catalogue="books").catalogue == "books"
    assert len(registry.releases("films")) == 1


def test_a_file_that_is_not_the_manifests_is_not_published(registry: Registry, press: Press) -> None:
    folder = press.release(1)
    manifest = verify_release(folder, press.key.public_key())
    (folder / "prior.safetensors").write_bytes(b"another")
    with pytest.raises(VerificationError, match="Nothing was published"):
        registry.publish("films", folder, manifest=manifest)
    assert registry.releases("films") == []


def test_a_file_that_was_exchanged_is_found_out_though_its_content_is_kept_already(
    registry: Registry, press: Press
) -> None:
    press.publish(registry, 1)
    folder = press.release(2)
    manifest = verify_release(folder, press.key.public_key())
    kept = folder / "catalogue.safetensors"
    kept.write_bytes(b"x" * kept.stat().st_size)
    with pytest.raises(VerificationError):
        registry.publish("films", folder, manifest=manifest)


def test_another_signature_under_the_same_manifest_is_refused(registry: Registry, press: Press) -> None:
    press.publish(registry, 1)
    folder = press.release(1)
    manifest = verify_release(folder, press.key.public_key())
    (folder / SIGNATURE).write_text(Ed25519PrivateKey.generate().sign(manifest.content()).hex())
    with pytest.raises(RefusedError, match="never changes"):
        registry.publish("films", folder, manifest=manifest)


def test_a_round_of_a_run_is_released_once_whoever_made_it(registry: Registry, press: Press) -> None:
    """Two processes in two copies of a run folder would each have drawn noise for it, and each paid once."""
    press.publish(registry, 2)
    another = press.release(2, world=a_world(items=61))
    manifest = verify_release(another, press.key.public_key())
    for catalogue in ("films", "books"):
        with pytest.raises(RefusedError, match="released already"):
            registry.publish(catalogue, another, manifest=manifest)
    assert [row.round for row in registry.releases("films")] == [2]


def test_a_folder_without_a_release_is_refused(registry: Registry, press: Press, tmp_path: Path) -> None:
    manifest = verify_release(press.release(1), press.key.public_key())
    with pytest.raises(Exception, match="Name the folder of a release"):
        registry.publish("films", tmp_path / "nowhere", manifest=manifest)


def test_figures_say_on_what_they_were_measured(registry: Registry, press: Press) -> None:
    folder = press.release(1)
    metrics = {"ndcg@10": Metric(value=0.1, basis="public")}
    registry.publish("films", folder, manifest=verify_release(folder, press.key.public_key()), metrics=metrics)
    assert registry.releases("films")[0].metrics == metrics


@pytest.mark.parametrize("table", ["releases", "release_files", "promotions"])
@pytest.mark.parametrize("change", ["UPDATE {} SET catalogue = 'other'", "DELETE FROM {}"])
def test_the_database_itself_refuses_to_change_what_was_published(
    registry: Registry, press: Press, table: str, change: str
) -> None:
    row = press.publish(registry, 1)
    registry.promote("films", row.id, key=press.key, now=1)
    with pytest.raises(IntegrityError, match="never change"):
        registry.write(lambda session: session.execute(text(change.format(table))))
    assert len(registry.releases("films")) == len(registry.channel("films")) == 1


def test_nothing_is_in_use_before_the_first_promotion(registry: Registry, press: Press) -> None:
    press.publish(registry, 1)
    assert registry.current("films") is None
    assert registry.current_document("films") is None


def test_devices_are_told_of_a_promoted_release_with_the_signers_word(registry: Registry, press: Press) -> None:
    row = press.publish(registry, 1)
    pointer = registry.promote("films", row.manifest_hash, key=press.key, now=1_700_000_000)
    document = registry.current_document("films")
    assert document
    assert read_pointer(document, press.key.public_key()) == pointer == registry.current("films")
    assert (pointer.release, pointer.manifest_hash) == (row.id, row.manifest_hash)
    assert sum(pointer.sizes.values()) == row.bytes


def test_serials_rise_and_no_pointer_is_forgotten(registry: Registry, press: Press) -> None:
    rows = [press.publish(registry, number) for number in (1, 2, 3)]
    for row in rows:
        registry.promote("films", row.id, key=press.key, now=row.round)
    registry.roll_back("films", key=press.key, now=2)
    assert [(each.serial, each.round, each.reason) for each in registry.channel("films")] == [
        (1, 1, "promoted"),
        (2, 2, "promoted"),
        (3, 3, "promoted"),
        (4, 2, "rolled back"),
    ]


def test_a_registry_that_was_lost_goes_on_above_what_devices_have_seen(
    registry: Registry, press: Press, tmp_path: Path
) -> None:
    seen = registry.promote("films", press.publish(registry, 1).id, key=press.key, now=1_700_000_000)
    for number in (2, 3):
        seen = registry.promote("films", press.publish(registry, number).id, key=press.key, now=1_700_000_000)
    with Registry.open(f"sqlite:///{tmp_path / 'new.db'}", artifacts=f"file://{tmp_path / 'new'}") as fresh:
        again = fresh.promote("films", press.publish(fresh, 3).id, key=press.key, now=1_700_000_060)
    assert again.serial > seen.serial


def test_a_clock_that_went_back_does_not_take_serials_back(registry: Registry, press: Press) -> None:
    rows = [press.publish(registry, number) for number in (1, 2)]
    first = registry.promote("films", rows[0].id, key=press.key, now=1_700_000_000)
    assert registry.promote("films", rows[1].id, key=press.key, now=5).serial == first.serial + 1


def test_promoting_what_is_in_use_issues_no_pointer(registry: Registry, press: Press) -> None:
    row = press.publish(registry, 1)
    first = registry.promote("films", row.id, key=press.key, now=1)
    assert registry.promote("films", row.id, key=press.key, now=2) == first


def test_going_back_twice_goes_to_what_was_in_use_before_both(registry: Registry, press: Press) -> None:
    for number in (1, 2, 3):
        registry.promote("films", press.publish(registry, number).id, key=press.key, now=number)
    assert registry.roll_back("films", key=press.key, now=4).round == 2
    assert registry.roll_back("films", key=press.key, now=5).round == 1
    with pytest.raises(RefusedError, match="no earlier release"):
        registry.roll_back("films", key=press.key, now=6)


def test_what_was_gone_back_from_is_not_gone_back_to(registry: Registry, press: Press) -> None:
    rows = [press.publish(registry, number) for number in (1, 2, 3)]
    for row in rows[:2]:
        registry.promote("films", row.id, key=press.key, now=row.round)
    registry.roll_back("films", key=press.key, now=3)
    registry.promote("films", rows[2].id, key=press.key, now=4)
    assert registry.roll_back("films", key=press.key, now=5).round == 1


def test_a_release_that_is_not_there_is_not_promoted(registry: Registry, press: Press) -> None:
    row = press.publish(registry, 1)
    with pytest.raises(RefusedError, match="has no release"):
        registry.promote("books", row.id, key=press.key, now=1)


def test_a_release_of_another_signer_is_not_promoted(registry: Registry, press: Press) -> None:
    row = press.publish(registry, 1)
    with pytest.raises(VerificationError, match="another key"):
        registry.promote("films", row.id, key=Ed25519PrivateKey.generate(), now=1)
    assert registry.current("films") is None


def test_an_id_of_two_manifests_has_to_be_named_by_hash(registry: Registry, press: Press) -> None:
    press.publish(registry, 1)
    again = shutil.copytree(press.release(1), press.folder / "again")
    _signed_with_other_words(again, press)
    other = registry.publish("films", again, manifest=verify_release(again, press.key.public_key()))
    with pytest.raises(RefusedError, match="2 releases"):
        registry.promote("films", other.id, key=press.key, now=1)
    assert registry.promote("films", other.manifest_hash, key=press.key, now=1).manifest_hash == other.manifest_hash


def test_of_many_who_promote_at_once_each_pointer_has_its_own_serial(registry: Registry, press: Press) -> None:
    rows = [press.publish(registry, number) for number in range(1, 7)]
    refused: list[RefusedError] = []

    def promote(manifest_hash: str) -> None:
        try:
            registry.promote("films", manifest_hash, key=press.key, now=1)
        except RefusedError as error:
            refused.append(error)

    threads = [threading.Thread(target=promote, args=(row.manifest_hash,)) for row in rows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    serials = [pointer.serial for pointer in registry.channel("films")]
    assert serials == list(range(1, len(rows) - len(refused) + 1))


def test_many_who_publish_the_same_at_once_publish_it_once(registry: Registry, press: Press) -> None:
    press.release(1)
    threads = [threading.Thread(target=press.publish, args=(registry, 1)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(registry.releases("films")) == 1


def test_a_document_is_replaced_only_by_a_later_one(registry: Registry) -> None:
    registry.keep_document("directory/films", b"one", serial=1)
    registry.keep_document("directory/films", b"one", serial=1)
    registry.keep_document("directory/films", b"two", serial=2)
    with pytest.raises(RefusedError, match="serial 2"):
        registry.keep_document("directory/films", b"other", serial=2)
    assert registry.directory("films") == b"two"
    assert registry.directory("books") is None


def test_what_was_kept_is_there_for_who_opens_it_next(url: str, tmp_path: Path, press: Press) -> None:
    artifacts = f"file://{tmp_path / 'artifacts'}"
    with Registry.open(url, artifacts=artifacts) as before:
        pointer = before.promote("films", press.publish(before, 1).id, key=press.key, now=1)
    with Registry.open(url, artifacts=artifacts) as after:
        assert after.current("films") == pointer
        assert press.publish(after, 2, catalogue="books").round == 2


def test_a_catalogue_that_changed_is_new_bytes(registry: Registry, press: Press) -> None:
    press.publish(registry, 1)
    folder = press.release(2, world=a_world(items=61))
    row = registry.publish("films", folder, manifest=verify_release(folder, press.key.public_key()))
    assert row.new_bytes == row.bytes


def _signed_with_other_words(folder: Path, press: Press) -> None:
    signed_again(folder, press.folder / "signing.key", lambda manifest: manifest["lineage"].update(run="run-2"))
