"""The cache holds whole, verified files or nothing."""

import errno
import hashlib
import os
import tarfile
from pathlib import Path

import pytest

from fanout import environment
from fanout.errors import BadUsage, NoNetwork, UnusableFolder, WrongSum
from fanout.local import downloads
from fanout.local.downloads import Artifact, cache, pinned

GOOD = b"a jar"


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def artifact_of(content: bytes, packaging: str = "jar") -> Artifact:
    return Artifact(hashlib.sha256(content).hexdigest(), "org.example", "thing", "1.0", packaging)


def serve(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    def from_maven(artifact: Artifact, folder: Path, watch: downloads.Watch) -> Path:
        folder.mkdir()
        file = folder / artifact.filename
        with watch(file.name, len(content)) as advance:
            file.write_bytes(content)
            advance(len(content))
        return file

    monkeypatch.setattr(downloads, "from_maven", from_maven)


def unreachable(*_: object) -> Path:
    raise ConnectionError("no route to host")


def files_in_cache() -> list[Path]:
    return [path for path in cache().rglob("*") if path.is_file() and path.name != "lock"]


def test_a_fetched_file_is_found_in_the_cache_and_not_fetched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, GOOD)
    downloads.fetch([artifact_of(GOOD)])

    monkeypatch.setattr(downloads, "from_maven", unreachable)
    downloads.fetch([artifact_of(GOOD)])

    assert artifact_of(GOOD).path.read_bytes() == GOOD


def test_a_tampered_file_is_named_with_both_sums_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, b"something else")

    with pytest.raises(WrongSum) as raised:
        downloads.fetch([artifact_of(GOOD)])

    for part in ("thing-1.0.jar", artifact_of(GOOD).sha256, artifact_of(b"something else").sha256):
        assert part in str(raised.value)
    assert files_in_cache() == []


def test_an_interrupted_download_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(artifact: Artifact, folder: Path, watch: downloads.Watch) -> Path:
        folder.mkdir()
        (folder / artifact.filename).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(downloads, "from_maven", interrupted)
    with pytest.raises(KeyboardInterrupt):
        downloads.fetch([artifact_of(GOOD)])

    assert files_in_cache() == []


def test_what_a_killed_download_left_is_removed_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    left = cache() / "unfinished" / "of-a-killed-one"
    left.mkdir(parents=True)
    (left / "half.jar").write_bytes(b"half")

    serve(monkeypatch, GOOD)
    downloads.fetch([artifact_of(GOOD)])

    assert files_in_cache() == [artifact_of(GOOD).path]


def test_no_network_and_an_empty_cache_is_one_sentence_and_exit_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "from_maven", unreachable)

    with pytest.raises(NoNetwork) as raised:
        downloads.fetch([artifact_of(GOOD)])

    assert "thing-1.0.jar" in str(raised.value)
    assert raised.value.exit_code == 2


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_a_full_or_forbidden_cache_is_said_and_not_taken_for_a_missing_network(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> Path:
        try:
            raise OSError(number, os.strerror(number), "/some/file")
        except OSError as error:
            raise RuntimeError("download failed") from error

    monkeypatch.setattr(downloads, "from_maven", full)

    with pytest.raises(UnusableFolder) as raised:
        downloads.fetch([artifact_of(GOOD)])

    for part in (str(cache()), os.strerror(number), "XDG_CACHE_HOME"):
        assert part in str(raised.value)
    assert raised.value.exit_code == 2


def test_a_refusal_of_a_firewall_is_no_refusal_of_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> Path:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(downloads, "from_maven", refused)

    with pytest.raises(NoNetwork):
        downloads.fetch([artifact_of(GOOD)])


def test_a_cache_that_cannot_be_made_is_named_with_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))

    with pytest.raises(UnusableFolder, match=r"Not a directory.*XDG_CACHE_HOME"):
        downloads.fetch([artifact_of(GOOD)])


def test_a_user_without_a_home_is_told_of_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", homeless)

    with pytest.raises(BadUsage, match="XDG_CACHE_HOME"):
        cache()


def test_downloads_and_nothing_else_use_the_proxy_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "ALL_PROXY", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, "given")
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    monkeypatch.setattr(environment, "_dropped", {})
    seen: list[dict[str, str]] = []

    def look(artifact: Artifact, folder: Path, watch: downloads.Watch) -> Path:
        seen.append(dict(os.environ))
        return unreachable()

    monkeypatch.setattr(downloads, "from_maven", look)
    environment.drop_foreign()
    before = dict(os.environ)
    with pytest.raises(NoNetwork):
        downloads.fetch([artifact_of(GOOD)])

    assert {seen[0][name] for name in ("https_proxy", "ALL_PROXY", "SSL_CERT_FILE")} == {"given"}
    assert "PGSSLMODE" not in seen[0]
    assert dict(os.environ) == before
    assert not {"https_proxy", "ALL_PROXY", "SSL_CERT_FILE", "PGSSLMODE"} & before.keys()


def test_an_archive_is_kept_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run.jar").write_bytes(GOOD)
    with tarfile.open(tmp_path / "all.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "run.jar", "run.jar")
    content = (tmp_path / "all.tar.gz").read_bytes()
    serve(monkeypatch, content)

    downloads.fetch([artifact_of(content, "tar.gz")])

    unpacked = artifact_of(content, "tar.gz").path
    assert (unpacked / "run.jar").read_bytes() == GOOD


def test_every_pinned_file_has_a_sum_and_a_name_of_its_own() -> None:
    artifacts = pinned()

    assert all(len(artifact.sha256) == 64 for artifact in artifacts)
    assert len({artifact.filename for artifact in artifacts}) == len(artifacts)
    assert [artifact.filename for artifact in artifacts if artifact.is_archive] == [
        "apicurio-registry-app-3.3.3-all.tar.gz"
    ]
