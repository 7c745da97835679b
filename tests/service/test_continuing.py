"""A run goes on only from where it was: a folder that forgot what it spent is not believed."""

import shutil
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from fedrec.errors import VerificationError
from fedrec.service.rounds import serve_catalogue
from tests.service.devices import Place, Service
from tests.training.central_worlds import PowerCutError, cut_at_write

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("cached")]


def one_round(tmp_path: Path, place: Place) -> Service:
    """A service that was stopped after its first round of three, and goes on when it is served again."""
    service = Service(tmp_path, place)
    service.devices.before = lambda _: service.wish("stop")
    service.serve()
    service.devices.before = lambda _: None
    service.wish("run")
    return service


def test_a_run_folder_that_was_restored_from_an_older_copy_draws_no_round_again(tmp_path: Path, place: Place) -> None:
    service = one_round(tmp_path, place)
    shutil.copytree(service.catalogue.run, tmp_path / "copy")
    service.serve()
    shutil.rmtree(service.catalogue.run)
    (tmp_path / "copy").rename(service.catalogue.run)
    asked = len(service.devices.asked)
    with pytest.raises(VerificationError, match="is at round 1, and the registry has round 3"):
        service.serve()
    assert len(service.devices.asked) == asked
    assert max(Counter(service.released()).values()) == 1
    assert "was set back" in service.status().message


def test_nor_does_one_that_lacks_only_what_a_release_paid(tmp_path: Path, place: Place) -> None:
    """The power went when the registry had the release, and its round did not count yet."""
    service = one_round(tmp_path, place)
    shutil.copytree(service.catalogue.run, tmp_path / "copy")
    with pytest.MonkeyPatch.context() as patch, suppress(PowerCutError):
        cut_at_write(patch, "state.safetensors")
        service.serve()
    assert (service.released(), len(service.finished())) == ([0, 1, 2], 1)
    shutil.rmtree(service.catalogue.run)
    (tmp_path / "copy").rename(service.catalogue.run)
    service.grid = service.devices.grid()
    with pytest.raises(VerificationError, match="lacks what the release of round 2"):
        service.serve()


def test_a_run_folder_that_was_removed_is_not_begun_anew(tmp_path: Path, place: Place) -> None:
    service = one_round(tmp_path, place)
    service.catalogue.run.rename(tmp_path / "lost")
    asked = len(service.devices.asked)
    for _ in range(2):
        with pytest.raises(VerificationError, match="another run of `films`"):
            service.serve()
    assert len(service.devices.asked) == asked
    assert service.released() == [0, 1]


def test_but_after_one_that_its_scenario_counts(tmp_path: Path, place: Place) -> None:
    service = one_round(tmp_path, place)
    service.catalogue.run.rename(tmp_path / "lost")
    text = service.catalogue.scenario.read_text()
    service.catalogue.scenario.write_text(f"{text}\n[budget]\nearlier_runs = ['{tmp_path / 'lost'}']\n")
    assert service.serve() == "done"


def test_one_run_is_not_that_of_two_catalogues(tmp_path: Path, place: Place) -> None:
    service = one_round(tmp_path, place)
    shutil.copytree(service.catalogue.path, service.folder.catalogues / "copy")
    with pytest.raises(VerificationError, match="that of the catalogue `films`"):
        serve_catalogue(service.folder.path, "copy", service.grid, clock=service.time.clock())


def test_a_registry_that_is_older_than_the_run_stops_nothing(tmp_path: Path, place: Place) -> None:
    service = one_round(tmp_path, place)
    copies = {path: path.read_bytes() for path in service.folder.path.glob("registry.db*")}
    service.serve()
    for path in service.folder.path.glob("registry.db*"):
        path.unlink()
    for path, content in copies.items():
        path.write_bytes(content)
    assert service.serve() == "done"
    assert service.released() == [0, 1, 2, 3]
