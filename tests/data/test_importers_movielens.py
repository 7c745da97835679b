from pathlib import Path

import polars as pl
import pytest

from fedrec.data.dataset import Dataset
from fedrec.data.importers.movielens import import_movielens
from fedrec.errors import DataError
from tests.real_data import latest_small


def write_100k(folder: Path) -> Path:
    flags = "|".join("1" if n in (3, 4) else "0" for n in range(19))
    (folder / "u.data").write_text("196\t242\t3\t881250949\n186\t302\t5\t891717742\n196\t302\t4\t881250940\n")
    (folder / "u.item").write_bytes(
        f"242|Kolya (1996)|24-Jan-1997||http://x|{flags}\n302|Misérables, Les (1995)|01-Jan-1995|||{flags}\n".encode(
            "latin-1"
        )
    )
    return folder


def write_1m(folder: Path) -> Path:
    (folder / "ratings.dat").write_text("1::1193::5::978300760\n2::661::3::978302109\n")
    (folder / "movies.dat").write_bytes(
        "1193::One Flew: Over the Cuckoo's Nest (1975)::Drama\n661::Café (1996)::Animation|Children's\n".encode(
            "latin-1"
        )
    )
    return folder


def write_latest(folder: Path) -> Path:
    (folder / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,1,4.0,964982703\n2,11,0.5,964981247\n")
    (folder / "movies.csv").write_text(
        "movieId,title,genres\n1,Toy Story (1995),Adventure|Animation\n"
        '11,"American President, The (1995)",Comedy|Drama\n'
        '12,"""Great Performances"" Cats (1998)",(no genres listed)\n',
        encoding="utf-8",
    )
    (folder / "tags.csv").write_text('userId,movieId,tag,timestamp\n2,11,"witty, ""dry""",1445714994\n')
    return folder


def test_movielens_100k_is_imported_with_latin_1_titles_and_genres_in_words(tmp_path: Path) -> None:
    info = import_movielens(write_100k(tmp_path), out=tmp_path / "out")
    assert (info.users, info.items, info.events) == (2, 2, 3)
    catalogue = Dataset.open(tmp_path / "out").catalogue()
    assert catalogue["title"].to_list() == ["Kolya (1996)", "Misérables, Les (1995)"]
    assert catalogue["text"][0] == "Kolya (1996). Animation, Children"
    assert catalogue["category"].to_list() == ["Animation", "Animation"]
    assert catalogue["published"].to_list() == [854_064_000, 788_918_400]


def test_movielens_1m_is_imported_with_its_double_colons(tmp_path: Path) -> None:
    info = import_movielens(write_1m(tmp_path), out=tmp_path / "out")
    assert (info.users, info.items, info.events) == (2, 2, 2)
    catalogue = Dataset.open(tmp_path / "out").catalogue()
    assert catalogue["title"].to_list() == ["One Flew: Over the Cuckoo's Nest (1975)", "Café (1996)"]
    assert catalogue["published"].to_list() == [157_766_400, 820_454_400]
    assert catalogue["provider"].null_count() == 2


def test_a_copy_of_movielens_1m_that_somebody_made_utf_8_keeps_its_accents(tmp_path: Path) -> None:
    write_1m(tmp_path)
    movies = tmp_path / "movies.dat"
    movies.write_bytes(movies.read_bytes().decode("latin-1").encode())
    import_movielens(tmp_path, out=tmp_path / "out")
    assert Dataset.open(tmp_path / "out").catalogue()["title"][1] == "Café (1996)"


def test_movielens_latest_keeps_quotes_in_titles_and_makes_tags_comments(tmp_path: Path) -> None:
    import_movielens(write_latest(tmp_path), out=tmp_path / "out")
    dataset = Dataset.open(tmp_path / "out")
    titles = dataset.catalogue()["title"].to_list()
    assert titles == ["Toy Story (1995)", "American President, The (1995)", '"Great Performances" Cats (1998)']
    assert dataset.catalogue()["text"][2] == titles[2]
    assert dataset.catalogue()["category"].to_list() == ["Adventure", "Comedy", None]
    events = dataset.events().collect().sort("timestamp")
    assert events["kind"].to_list() == ["rate", "rate", "comment"]
    assert events["value"].to_list() == [0.5, 4.0, None]
    assert events["text"].to_list() == [None, None, 'witty, "dry"']


def test_tags_are_optional(tmp_path: Path) -> None:
    (write_latest(tmp_path) / "tags.csv").unlink()
    assert import_movielens(tmp_path, out=tmp_path / "out").events == 2


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(tmp_path: Path) -> None:
    plain, other = tmp_path / "plain", tmp_path / "other"
    plain.mkdir()
    other.mkdir()
    for file in write_latest(plain).iterdir():
        (other / file.name).write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    key = tmp_path / "key"
    first = import_movielens(plain, out=tmp_path / "a", user_key=key)
    assert import_movielens(other, out=tmp_path / "b", user_key=key).hash == first.hash


def test_a_folder_without_movielens_files_is_refused_with_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"u\.data and u\.item"):
        import_movielens(tmp_path, out=tmp_path / "out")
    with pytest.raises(DataError, match="does not exist"):
        import_movielens(tmp_path / "nowhere", out=tmp_path / "out")


@pytest.mark.slow
def test_the_real_latest_small_is_imported_whole(tmp_path: Path) -> None:
    info = import_movielens(latest_small(), out=tmp_path / "out")
    assert (info.users, info.items) == (610, 9742)
    assert info.events + info.repairs.get("duplicate_event", 0) == 100_836 + 3_683
    kinds = dict(Dataset.open(tmp_path / "out").events().group_by("kind").len().collect().iter_rows())
    assert kinds["rate"] == 100_836
    assert Dataset.open(tmp_path / "out").events().select(pl.col("text").is_not_null().sum()).collect().item() == 3_683
