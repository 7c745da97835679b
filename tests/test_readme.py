"""The README's commands, run as they stand on a small data set of the same shape."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text()
COMMANDS = [
    line.strip()
    for block in re.findall(r"^```\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
]


def small_movielens(folder: Path) -> None:
    """MovieLens's files with 40 people and 50 films, enough for the README's scenario."""
    folder.mkdir()
    films = [f'{film},"Film {film}, The (19{50 + film % 50})",Drama|Comedy' for film in range(1, 51)]
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *films, ""]))
    ratings = [
        f"{person},{1 + (person * 7 + step * 3) % 50},{1 + step % 5}.0,{1_000_000_000 + person * 1000 + step * 60}"
        for person in range(1, 41)
        for step in range(12)
    ]
    (folder / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *ratings, ""]))


@pytest.mark.slow
def test_the_fedrec_commands_run_as_they_stand(tmp_path: Path) -> None:
    small_movielens(tmp_path / "ml-latest-small")
    shutil.copytree(REPOSITORY / "simulations", tmp_path / "simulations")
    (tmp_path / ".venv").symlink_to(REPOSITORY / ".venv")
    commands = [command for command in COMMANDS if command.startswith(".venv/bin/fedrec")]
    assert len(commands) >= 3
    for command in commands:
        done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=400)  # noqa: S602
        assert done.returncode == 0, f"{command}: {done.stderr}"


def test_the_make_commands_are_targets() -> None:
    targets = [command.split()[1] for command in COMMANDS if command.startswith("make ")]
    assert targets == ["demo", "test"]
    subprocess.run(["make", "--dry-run", *targets], cwd=REPOSITORY, check=True, capture_output=True)


def test_the_flower_command_names_settings_that_exist() -> None:
    import tomllib

    known = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]
    (command,) = (command for command in COMMANDS if " run . " in command)
    named = re.findall(r"(\w+)=\"", command)
    assert named
    assert set(named) <= known.keys()


def test_every_file_that_the_readme_names_exists() -> None:
    for name in re.findall(r"\]\((docs/[^)]+)\)|`((?:simulations|server|client|fedrec)/[\w./]+)`", README):
        assert (REPOSITORY / (name[0] or name[1])).exists(), name


def test_the_version_is_the_same_everywhere() -> None:
    import tomllib

    from fedrec import __version__

    assert tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"] == __version__
    assert f"## {__version__}" in (REPOSITORY / "CHANGELOG.md").read_text()
