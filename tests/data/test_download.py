import hashlib
import io
import stat
import threading
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from fedrec.data.download import KNOWN, Archive, download, https_opener, known_archive
from fedrec.data.unpack import extract
from fedrec.errors import ConfigError, DataError, VerificationError


def zipped(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


CONTENT = zipped({"ml/": b"", "ml/ratings.csv": bytes(range(256)) * 4000, "ml/sub/README": b"hello"})
PLAIN = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Site(HTTPServer):
    """Serves CONTENT with ranges; `breaks` replies end early, `target` is redirected to."""

    breaks = 0
    ranges = True
    target = ""
    asked: list[str | None]


class Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        if self.server.target:
            self.send_response(302)
            self.send_header("Location", self.server.target)
            self.end_headers()
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.ranges else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        body = CONTENT[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.breaks:
            self.server.breaks -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as server:
        yield server


@contextmanager
def serving() -> Iterator[Site]:
    server = Site(("127.0.0.1", 0), Handler)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def archive_of(site: Site, content: bytes = CONTENT) -> Archive:
    return Archive(url=f"http://127.0.0.1:{site.server_port}/ml.zip", sha256=hashlib.sha256(content).hexdigest())


def test_an_archive_is_fetched_checked_and_unpacked_without_its_outer_folder(site: Site, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    download(
        archive_of(site),
        out=tmp_path / "new" / "ml",
        opener=PLAIN,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert (tmp_path / "new" / "ml" / "ratings.csv").stat().st_size == 1_024_000
    assert (tmp_path / "new" / "ml" / "sub" / "README").read_bytes() == b"hello"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["ml"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_goes_on_where_it_stopped(site: Site, tmp_path: Path, ranges: bool) -> None:
    site.breaks, site.ranges = 2, ranges
    for _ in range(2):
        with pytest.raises(DataError, match="Run the command again"):
            download(archive_of(site), out=tmp_path / "ml", opener=PLAIN)
        assert not (tmp_path / "ml").exists()
    download(archive_of(site), out=tmp_path / "ml", opener=PLAIN)
    assert (tmp_path / "ml" / "sub" / "README").exists()
    assert site.asked[0] is None
    assert site.asked[1] == f"bytes={len(CONTENT) // 2}-"
    assert [path.name for path in tmp_path.iterdir()] == ["ml"]


def test_a_part_that_is_whole_already_is_only_checked(site: Site, tmp_path: Path) -> None:
    (tmp_path / ".ml.zip.part").write_bytes(CONTENT)
    download(archive_of(site), out=tmp_path / "ml", opener=PLAIN)
    assert (tmp_path / "ml" / "ratings.csv").exists()


def test_a_wrong_hash_is_refused_and_nothing_is_kept(site: Site, tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match="SHA-256") as caught:
        download(archive_of(site, b"other"), out=tmp_path / "ml", opener=PLAIN)
    assert caught.value.exit_code == 1
    assert not list(tmp_path.iterdir())


def test_a_part_of_another_file_is_noticed_by_the_hash_and_dropped(site: Site, tmp_path: Path) -> None:
    (tmp_path / ".ml.zip.part").write_bytes(b"x" * 100)
    with pytest.raises(VerificationError):
        download(archive_of(site), out=tmp_path / "ml", opener=PLAIN)
    download(archive_of(site), out=tmp_path / "ml", opener=PLAIN)


def test_without_an_opener_of_ones_own_only_https_is_spoken(site: Site, tmp_path: Path) -> None:
    for url in (archive_of(site).url, (tmp_path / "x").as_uri(), "ftp://127.0.0.1/x"):
        with pytest.raises(DataError):
            download(Archive(url=url, sha256="0" * 64), out=tmp_path / "ml")
    assert site.asked == []
    assert not list(tmp_path.iterdir())


def test_a_redirect_away_from_https_is_refused() -> None:
    redirects = next(handler for handler in https_opener().handlers if hasattr(handler, "redirect_request"))
    request = urllib.request.Request("https://example.org/a")
    with pytest.raises(DataError, match="not https"):
        redirects.redirect_request(request, None, 302, "", {}, "http://example.org/b")
    assert redirects.redirect_request(request, None, 302, "", {}, "https://example.org/b") is not None


def test_a_server_that_is_not_there_is_a_plain_error(tmp_path: Path) -> None:
    with serving() as site:
        archive = archive_of(site)
    with pytest.raises(DataError, match="was not fetched"):
        download(archive, out=tmp_path / "ml", opener=PLAIN)


def test_a_folder_that_is_in_use_is_never_written_to(site: Site, tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(DataError, match="exists already"):
        download(archive_of(site), out=tmp_path, opener=PLAIN)
    assert site.asked == []


@pytest.mark.parametrize("name", ["../evil", "/evil", "ml/../../evil", "ml\\..\\evil", "C:/evil", ".."])
def test_names_that_lead_out_of_the_archive_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.zip").write_bytes(zipped({"ml/good": b"", name: b"evil"}))
    with pytest.raises(DataError, match="not unpacked"):
        extract(tmp_path / "a.zip", tmp_path / "in" / "side")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_links_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("ml/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match="not unpacked"):
        extract(tmp_path / "a.zip", tmp_path / "out")


def test_a_file_that_is_no_zip_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(CONTENT[:1000])
    with pytest.raises(DataError, match="not a whole zip file"):
        extract(tmp_path / "a.zip", tmp_path / "out")


def test_the_table_of_known_sets_is_https_with_whole_hashes() -> None:
    for name, archive in KNOWN.items():
        assert archive.url.startswith("https://files.grouplens.org/")
        assert len(bytes.fromhex(archive.sha256)) == 32
        assert known_archive(name) == archive
        assert known_archive(name, sha256="AB" * 32).sha256 == "ab" * 32


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="movielens-100k"):
        known_archive("netflix")
    with pytest.raises(ConfigError, match="64 hex digits"):
        known_archive("movielens-100k", sha256="abc")
