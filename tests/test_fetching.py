"""Fetching AFHQ by kagglehub, from a Kaggle of our own that breaks off, lies and changes."""

import base64
import hashlib
import io
import logging
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from kagglesdk import kaggle_env
from PIL import Image

from vae_lab.data import fetch, load
from vae_lab.data.__main__ import main

TINY = ((3, 3, 3), (1, 1, 1))


def picture(seed: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


FACES = {
    f"afhq/{part}/{species}/{species}_{i}.jpg": picture(17 * i + len(part + species))
    for part, n in (("train", 3), ("val", 1))
    for species in ("cat", "dog", "wild")
    for i in range(n)
}


def packed(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    return file.getvalue()


class Kaggle(BaseHTTPRequestHandler):
    """Answers as Kaggle does: a redirection to a store that tells an MD5, and gives the rest of a file."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(302)
        self.send_header("Location", f"{address(self.server)}/store/archive.zip")
        self.end_headers()

    def do_GET(self):
        server, start = self.server, 0
        if asked := self.headers.get("Range"):
            start = int(asked.removeprefix("bytes=").rstrip("-"))
        server.asked.append(start)
        self.send_response(206 if start else server.status)
        self.send_header("Content-Length", str(len(server.content) - start))
        self.send_header("Accept-Ranges", "bytes")
        digest = base64.b64encode(hashlib.md5(server.content, usedforsecurity=False).digest()).decode()
        self.send_header("x-goog-hash", f"md5={digest if server.honest else 'A' * 22 + '=='}")
        self.end_headers()
        self.wfile.write(server.content[start : server.until])

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    server = ThreadingHTTPServer(("localhost", 0), Kaggle)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def kaggle(server, monkeypatch):
    """A Kaggle that has the tiny AFHQ, which is what is expected of it."""
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, address(server))
    monkeypatch.setitem(fetch.VERSIONS, "version 1", TINY)
    import kagglehub  # noqa: F401 (whose messages go to the output there was when it was first imported)

    monkeypatch.setattr(logging.getLogger("kagglehub"), "handlers", [])
    server.content, server.until, server.honest, server.status, server.asked = (
        packed(FACES),
        None,
        True,
        200,
        [],
    )
    return server


def address(server: ThreadingHTTPServer) -> str:
    return f"http://localhost:{server.server_port}"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of data sets that the command uses."""
    monkeypatch.setenv("VAE_LAB_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def left(folder) -> list[str]:
    """What lies in the folder other than the pictures."""
    return sorted(path.name for path in folder.glob("*") if path.name != "afhq") if folder.exists() else []


def test_it_is_fetched_told_and_read(kaggle, folder, capsys):
    assert main([]) == 0 and "holds no pictures" in capsys.readouterr().out
    assert main(["--fetch"]) == 0
    told = capsys.readouterr().out
    assert "CC BY-NC 4.0" in told and "3 cats, 3 dogs and 3 wild animals to train on and 3 pictures" in told
    for name, content in FACES.items():
        assert (folder / name).read_bytes() == content
    assert left(folder) == []
    faces = load("afhq", side=8)
    assert len(faces.train) == 9 and len(faces.test) == 3
    note = (folder / "afhq/SOURCE.txt").read_text()
    assert fetch.HANDLE in note and "CC BY-NC 4.0" in note and "version 1" in note


def test_what_is_there_is_not_fetched_again(kaggle, folder, capsys):
    main(["--fetch"])
    (folder / "afhq/train/cat/cat_0.jpg").unlink()
    kaggle.asked.clear()
    assert main(["--fetch"]) == 0 and "Nothing to fetch" in (told := capsys.readouterr().out)
    assert "2 cats, 3 dogs" in told and "not all of version 1 or 2" in told and not kaggle.asked


def test_broken_off_it_goes_on_where_it_was(kaggle, folder, capsys):
    kaggle.content = packed(FACES | {"afhq/more.bin": np.random.default_rng(0).bytes(3 << 20)})
    kaggle.until = 5 << 19  # it is written by the megabyte
    assert main(["--fetch"]) == 1
    told = capsys.readouterr().err
    assert (
        "Kaggle gives no pictures" in told
        and "try again. Or by hand: download" in told
        and told.count("\n") == 1
    )
    assert not (folder / "afhq").exists() and left(folder) == [".kagglehub"]
    kaggle.until = None
    assert main(["--fetch"]) == 0
    assert kaggle.asked[0] == 0 and kaggle.asked[-1] == 2 << 20
    assert (folder / "afhq/val/wild/wild_0.jpg").read_bytes() == FACES["afhq/val/wild/wild_0.jpg"]
    assert left(folder) == []


def test_another_checksum_is_refused_and_fetched_anew(kaggle, folder, capsys):
    kaggle.honest = False
    assert main(["--fetch"]) == 1
    assert "MD5" in capsys.readouterr().err and not (folder / "afhq").exists()
    kaggle.honest = True
    assert main(["--fetch"]) == 0 and kaggle.asked == [0, 0]


@pytest.mark.parametrize(
    "files",
    [
        {name: content for name, content in FACES.items() if "dog_2" not in name},
        {name.replace("afhq/", "elsewhere/"): content for name, content in FACES.items()},
        {"readme.txt": b"nothing"},
    ],
    ids=["one missing", "elsewhere", "none"],
)
def test_what_is_not_as_it_was_is_not_kept(kaggle, folder, capsys, files):
    kaggle.content = packed(files)
    assert main(["--fetch"]) == 1
    assert (
        "not what it was" in capsys.readouterr().err and not (folder / "afhq").exists() and left(folder) == []
    )
    kaggle.content = packed(FACES)
    assert main(["--fetch"]) == 0


@pytest.mark.parametrize("content", [b"<html>not a zip</html>", packed(FACES)[:-60]], ids=["page", "cut"])
def test_what_is_no_archive_is_refused_and_fetched_anew(kaggle, folder, capsys, content):
    kaggle.content = content
    assert main(["--fetch"]) == 1
    assert "Kaggle gives no pictures" in capsys.readouterr().err and not (folder / "afhq").exists()
    kaggle.content = packed(FACES)
    assert main(["--fetch"]) == 0


def test_names_that_lead_out_of_the_folder_stay_inside(kaggle, folder, tmp_path):
    kaggle.content = packed(FACES | {"../../../../outside.jpg": picture(1), "/outside.jpg": picture(2)})
    assert main(["--fetch"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"] and left(folder) == []


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_refusal_is_said(kaggle, folder, capsys, status):
    kaggle.status = status
    assert main(["--fetch"]) == 1
    told = capsys.readouterr().err
    assert "Kaggle gives no pictures" in told and told.count("\n") == 1


def test_no_network_is_said(folder, capsys, monkeypatch):
    # Nobody is there
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, "http://localhost:9")
    assert main(["--fetch"]) == 1
    told = capsys.readouterr().err
    assert "Kaggle gives no pictures" in told and "by hand" in told and told.count("\n") == 1


def test_a_folder_with_something_else_is_left_alone(kaggle, folder, capsys):
    (folder / "afhq").mkdir(parents=True)
    (folder / "afhq/diary.txt").write_text("mine")
    assert main(["--fetch"]) == 1
    assert (
        "move it away first" in capsys.readouterr().err and (folder / "afhq/diary.txt").read_text() == "mine"
    )


def test_a_place_that_cannot_be_written_is_said(kaggle, folder, capsys):
    folder.write_text("a file, not a folder")
    assert main(["--fetch"]) == 1
    assert "cannot write to" in (told := capsys.readouterr().err) and "VAE_LAB_DATA" in told


def test_a_full_disk_is_said_and_what_arrived_is_kept(kaggle, folder, capsys, monkeypatch):
    import kagglehub

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kagglehub, "dataset_download", full)
    assert main(["--fetch"]) == 1
    assert "(No space left on device); make room there" in capsys.readouterr().err
    assert left(folder) == [".kagglehub"]


def test_stopped_it_says_so(kaggle, folder, capsys, monkeypatch):
    import kagglehub

    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(kagglehub, "dataset_download", stopped)
    assert main(["--fetch"]) == 130
    assert "goes on from there" in capsys.readouterr().err


@pytest.mark.parametrize(("version", "counts"), list(fetch.VERSIONS.items()))
def test_the_versions_are_known_by_their_numbers(version, counts):
    total = {"version 1": 16130, "version 2": 15803}  # as their authors give them
    assert sum(counts[0]) + sum(counts[1]) == total[version]
