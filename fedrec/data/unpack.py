"""Unpacks zip files from elsewhere: plain files only, nothing outside the folder."""

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from fedrec.errors import DataError

_BLOCK = 1 << 18
_MOST_BYTES = 16 << 30


def extract(archive: Path, folder: Path) -> None:
    """Unpack a zip file's plain files into a new folder, without the one folder that holds them all.

    Raises DataError, before anything is written, if a name leads out of the folder, or an
    entry is a link, encrypted or absurdly large.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = {_safe_path(entry): entry for entry in opened.infolist() if not entry.is_dir()}
            if sum(entry.file_size for entry in entries.values()) > _MOST_BYTES:
                raise DataError(f"{archive} unpacks to more than {_MOST_BYTES >> 30} GiB. It was not unpacked.")
            tops = {path.parts[0] for path in entries}
            nested = len(tops) == 1 and all(len(path.parts) > 1 for path in entries)
            folder.mkdir()
            for path, entry in entries.items():
                target = folder.joinpath(*path.parts[1 if nested else 0 :])
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(entry) as source, target.open("xb") as sink:
                    shutil.copyfileobj(source, sink, _BLOCK)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError):
        raise DataError(f"{archive} is not a whole zip file. Remove it and fetch it again.") from None


def _safe_path(entry: zipfile.ZipInfo) -> PurePosixPath:
    path = PurePosixPath(entry.filename)
    odd = path.is_absolute() or not path.parts or ".." in path.parts or "\\" in entry.orig_filename
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if odd or ":" in path.parts[0] or kind not in (0, stat.S_IFREG) or entry.flag_bits & 1:
        raise DataError("The archive holds a path that leads out of it, a link or an encrypted file: not unpacked.")
    return path
