"""Fetching AFHQ: made-up zips of tiny pictures, and a server here that breaks off, lies and changes."""

import base64
import contextlib
import hashlib
import io
import os
import signal
import stat
import struct
import subprocess
import sys
import threading
import time
import zipfile
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from vae_lab import archives, downloads, fetching
from vae_lab.data import load
from vae_lab.data import DataError


def picture(seed, kind="JPEG"):
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


FACES = {
    f"afhq/{part}/{species}/{species}_{i}.jpg": picture(17 * i + len(part + species))
    for part, n in (("train", 3), ("val", 1))
    for species in ("cat", "dog", "wild")
    for i in range(n)
}
TINY = ((3, 3, 3), (1, 1, 1))


def packed(files, *, compress=zipfile.ZIP_DEFLATED):
    """A zip as bytes; `files` maps names, or whole ZipInfos, to what is in them."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compress) as opened:
        for name, content in files.items():
            opened.writestr(name, content, compress)
    return file.getvalue()


def write(path, content):
    path.write_bytes(content)
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A data folder that the command uses."""
    monkeypatch.setenv("VAE_LAB_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def left(folder):
    """What lies in the data folder, hidden or not, other than the pictures."""
    return sorted(path.name for path in folder.glob("*") if path.name != "afhq") if folder.exists() else []


# A zip that the reader has


@pytest.mark.parametrize("prefix", ["afhq/", "", "archive/animal-faces/afhq/"])
def test_a_zip_of_yours_is_unpacked_wherever_the_pictures_lie_in_it(folder, tmp_path, capsys, prefix):
    mine = write(tmp_path / "archive.zip", packed({n.replace("afhq/", prefix): c for n, c in FACES.items()}))
    assert fetching.main(["--fetch", str(mine)]) == 0
    told = capsys.readouterr().out
    assert "CC BY-NC 4.0" in told and "3 cats, 3 dogs and 3 wild animals to train on and 3 pictures" in told
    assert "not all of version 1 or 2" in told
    for name, content in FACES.items():
        assert (folder / name).read_bytes() == content
    assert mine.exists() and left(folder) == []
    faces = load("afhq", side=8)
    assert len(faces.train) == 9 and len(faces.test) == 3
    note = (folder / "afhq/SOURCE.txt").read_text()
    assert hashlib.sha256(mine.read_bytes()).hexdigest() in note and "CC BY-NC 4.0" in note


def test_what_is_there_is_told_and_not_fetched_again(folder, tmp_path, capsys):
    assert fetching.main([]) == 0
    assert "holds no pictures" in capsys.readouterr().out
    mine = write(tmp_path / "archive.zip", packed(FACES))
    fetching.fetch(str(mine), folder)
    (folder / "afhq/train/cat/cat_0.jpg").unlink()
    capsys.readouterr()
    fetching.fetch(str(mine), folder)
    assert "Nothing to fetch" in (told := capsys.readouterr().out) and "2 cats, 3 dogs" in told
    assert fetching.main([]) == 0
    assert "2 cats, 3 dogs" in capsys.readouterr().out


@pytest.mark.parametrize(("version", "counts"), fetching.VERSIONS.items())
def test_the_versions_are_known_by_their_numbers(version, counts):
    total = {"version 1": 16130, "version 2": 15803}  # as their authors give them
    assert sum(counts[0]) + sum(counts[1]) == total[version]
    assert fetching._version(counts) == version


def test_only_pictures_of_the_three_species_are_taken(folder, tmp_path, capsys):
    others = {
        "afhq/README.md": b"read me",
        "afhq/train/cat/run.sh": b"rm -rf /",
        "afhq/train/fox/fox.jpg": picture(1),
        "__MACOSX/afhq/train/cat/._cat_0.jpg": b"\0\5\x16\7",
        "afhq/train/cat/.hidden.jpg": picture(2),
        "afhq/train/cat/script.jpg": b"#!/bin/sh",
        "cat/x.jpg": picture(3),
    }
    mine = write(tmp_path / "archive.zip", packed(FACES | others))
    assert fetching.main(["--fetch", str(mine)]) == 0
    told = capsys.readouterr().out
    assert "Left out 7 of its files" in told and "afhq/README.md" in told
    assert {p.relative_to(folder).as_posix() for p in folder.rglob("*.*") if p.name != "SOURCE.txt"} == set(
        FACES
    )


def test_a_zip_without_faces_is_refused(folder, tmp_path, capsys):
    mine = write(tmp_path / "archive.zip", packed({"holiday/beach.jpg": picture(0)}))
    assert fetching.main(["--fetch", str(mine)]) == 1
    assert "holds no pictures in the layout of AFHQ" in capsys.readouterr().err
    assert mine.exists() and not (folder / "afhq").exists() and left(folder) == []


def test_the_command_by_its_name(folder):
    command = [sys.executable, "-W", "error", "-m", "vae_lab.afhq", "--fetch", "missing.zip"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 1 and run.stderr.startswith(
        "cannot read missing.zip (No such file or directory)"
    )


@pytest.mark.parametrize("name", ["missing.zip", "."])
def test_a_zip_that_is_not_there_is_named(folder, tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    assert fetching.main(["--fetch", name]) == 1
    assert "cannot read" in (told := capsys.readouterr().err) and "name a zip file" in told
    assert left(folder) == []


def test_a_folder_with_other_things_is_left_alone(folder, tmp_path, capsys):
    (folder / "afhq").mkdir(parents=True)
    (folder / "afhq/thesis.txt").write_text("years of work")
    mine = write(tmp_path / "archive.zip", packed(FACES))
    assert fetching.main(["--fetch", str(mine)]) == 1
    assert "move it away first" in capsys.readouterr().err
    assert (folder / "afhq/thesis.txt").read_text() == "years of work"
    (folder / "afhq/thesis.txt").unlink()
    (folder / "afhq/.cache").mkdir()
    assert fetching.main(["--fetch", str(mine)]) == 0


# Archives that are damaged or dangerous


def link(name):
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    "name",
    [
        "../train/cat/x.jpg",
        "afhq/train/cat/../../../../x.jpg",
        "/train/cat/x.jpg",
        "C:/train/cat/x.jpg",
        "C:\\train\\cat\\x.jpg",
        "..\\train\\cat\\x.jpg",
        "afhq/..",
    ],
)
def test_a_name_that_leads_out_of_the_folder_is_refused(folder, tmp_path, name):
    mine = write(tmp_path / "archive.zip", packed(FACES | {name: picture(5)}))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises(archives.UnfitError, match="a name that leads out of its folder"):
        fetching.fetch(str(mine), folder)
    assert {p for p in tmp_path.rglob("*") if p != folder} == set(before) and left(folder) == []


def test_a_link_is_refused(folder, tmp_path):
    mine = write(tmp_path / "archive.zip", packed(FACES | {link("afhq/train/cat/x.jpg"): "/etc/passwd"}))
    with pytest.raises(archives.UnfitError, match="a link or device and no file"):
        fetching.fetch(str(mine), folder)
    assert left(folder) == [] and not (folder / "afhq").exists()


def test_two_pictures_for_one_place_are_refused(folder, tmp_path):
    mine = write(tmp_path / "archive.zip", packed(FACES | {"copy/train/cat/CAT_0.jpg": picture(5)}))
    with pytest.raises(archives.UnfitError, match=r"two pictures for train/cat/CAT_0\.jpg"):
        fetching.fetch(str(mine), folder)


def test_bombs_are_refused_before_anything_is_written(folder, tmp_path, monkeypatch):
    bomb = packed(FACES | {"afhq/train/cat/bomb.jpg": b"\xff\xd8\xff" + bytes(8 << 20)})
    assert len(bomb) < 100_000
    monkeypatch.setattr(archives, "_unpack_one", lambda *_: pytest.fail("unpacked"))
    with pytest.raises(archives.UnfitError, match="that is no archive of pictures"):
        fetching.fetch(str(write(tmp_path / "bomb.zip", bomb)), folder)
    monkeypatch.setattr(archives, "MOST_FILES", len(FACES) - 1)
    with pytest.raises(archives.UnfitError, match="that is no archive of pictures"):
        fetching.fetch(str(write(tmp_path / "many.zip", packed(FACES))), folder)
    assert left(folder) == []


@pytest.mark.parametrize("forged", [False, True])
def test_more_than_is_declared_is_never_written(tmp_path, forged):
    """A picture of eight megabytes that states a thousand bytes; `forged`, with the checksum of those."""
    name, content = "afhq/train/cat/bomb.jpg", b"\xff\xd8\xff" + bytes(8 << 20)
    bomb = packed({name: content})
    for true, told in (
        (len(content), 1000),
        (zlib.crc32(content), zlib.crc32(content[:1000]) if forged else 0),
    ):
        assert bomb.count(struct.pack("<L", true)) == 2
        bomb = bomb.replace(struct.pack("<L", true), struct.pack("<L", told))
    wrong = (
        contextlib.nullcontext() if forged else pytest.raises(archives.UnfitError, match="no whole zip file")
    )
    with wrong:
        archives.unpack(write(tmp_path / "bomb.zip", bomb), tmp_path / "out", fetching._where)
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*.jpg")) == (1000 if forged else 0)


def test_less_than_is_declared_is_refused(tmp_path):
    content = picture(0)
    cut = packed({"afhq/train/cat/x.jpg": content})
    cut = cut.replace(struct.pack("<L", len(content)), struct.pack("<L", len(content) + 1))
    with pytest.raises(archives.UnfitError, match=r"x\.jpg is cut short"):
        archives.unpack(write(tmp_path / "cut.zip", cut), tmp_path / "out", fetching._where)


def test_files_that_share_their_bytes_are_refused(folder, tmp_path):
    """A thousand entries of the directory that point to one file: no single one grows, all together do."""
    plain = packed({"afhq/train/cat/0000.jpg": picture(0)}, compress=zipfile.ZIP_STORED)
    start = plain.index(b"PK\1\2")
    entry = plain[start : plain.index(b"PK\5\6")]
    directory = b"".join(entry.replace(b"0000.jpg", f"{i:04}.jpg".encode()) for i in range(1000))
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1000, 1000, len(directory), start, 0)
    mine = write(tmp_path / "bomb.zip", plain[:start] + directory + end)
    with pytest.raises(archives.UnfitError, match="that is no archive of pictures"):
        fetching.fetch(str(mine), folder)


def test_a_locked_archive_is_refused(folder, tmp_path):
    locked = bytearray(packed({"afhq/train/cat/x.jpg": picture(0)}))
    locked[6] |= 1
    locked[locked.index(b"PK\1\2") + 8] |= 1
    with pytest.raises(archives.UnfitError, match="locked or packed in an unusual way"):
        fetching.fetch(str(write(tmp_path / "archive.zip", bytes(locked))), folder)


def test_a_cut_zip_is_no_whole_one(folder, tmp_path):
    whole = packed(FACES)
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        mine = write(tmp_path / "archive.zip", whole[:length])
        with pytest.raises(archives.UnfitError, match=r"no whole zip file.*download it again"):
            fetching.fetch(str(mine), folder)
    assert left(folder) == [] and not (folder / "afhq").exists()


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(at=-4, to=1)  # where the directory begins: now before the start of the file
@given(at=st.integers(0, len(packed(FACES)) - 1), to=st.integers(1, 255))
def test_no_changed_byte_gets_a_changed_picture_in(tmp_path_factory, at, to):
    """Whichever byte of the zip is changed: it is refused in a sentence, or every picture is what it was."""
    content = bytearray(packed(FACES))
    content[at] ^= to
    where = tmp_path_factory.mktemp("changed")
    with contextlib.suppress(archives.UnfitError):
        archives.unpack(write(where / "archive.zip", bytes(content)), where / "out", fetching._where)
    true = set(FACES.values())
    written = [path for path in (where / "out").rglob("*") if path.is_file()]
    assert all(path.resolve().is_relative_to(where / "out") for path in written)
    assert all(path.read_bytes() in true for path in written)


# The disk


def test_free_room_is_looked_at_first(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    monkeypatch.setattr(archives, "_unpack_one", lambda *_: pytest.fail("unpacked"))
    mine = write(tmp_path / "archive.zip", packed(FACES))
    with pytest.raises(
        DataError, match=r"has room for .* MB, but .* MB are needed; make room there or point"
    ):
        fetching.fetch(str(mine), folder)
    assert left(folder) == []


def test_a_disk_that_fills_up_leaves_nothing(folder, tmp_path, monkeypatch, capsys):
    once = archives._unpack_one
    done = []

    def fills(*args):
        done.append(args)
        if len(done) == 5:
            raise OSError(28, "No space left on device")
        return once(*args)

    monkeypatch.setattr(archives, "_unpack_one", fills)
    mine = write(tmp_path / "archive.zip", packed(FACES))
    assert fetching.main(["--fetch", str(mine)]) == 1
    assert "cannot write to" in (told := capsys.readouterr().err) and "No space left" in told
    assert left(folder) == [] and not (folder / "afhq").exists()
    assert fetching.main(["--fetch", str(mine)]) == 0


def test_ctrl_c_while_unpacking_leaves_nothing(folder, tmp_path, monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    mine = write(tmp_path / "archive.zip", packed(FACES))
    with monkeypatch.context() as patch:
        patch.setattr(archives, "_unpack_one", stop)
        assert fetching.main(["--fetch", str(mine)]) == 130
    assert "Stopped" in capsys.readouterr().err
    assert left(folder) == [] and not (folder / "afhq").exists() and mine.exists()
    assert fetching.main(["--fetch", str(mine)]) == 0


# The network


class Server:
    """A server on this machine: what it has, what it says of that, and what it was asked for."""

    def __init__(self):
        self.content = packed(FACES)
        self.state = '"first"'
        self.extra = {}  # headers of the file
        self.hop = {}  # headers of the redirect to the file
        self.cut = None  # close the connection after so many bytes
        self.silence = None  # but not before this event
        self.say_size = self.ranges = self.honor_if_range = True
        self.status = 200
        self.refuse = False
        self.asked = []


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server.about
        if self.path == "/afhq.zip":
            self.send_response(302)
            self.send_header("Location", server.elsewhere)
            for item in server.hop.items():
                self.send_header(*item)
            self.end_headers()
            return
        if server.refuse and "Range" in self.headers:
            self.send_error(416)
            return
        start = self.start()
        server.asked.append(start)
        whole = server.content
        self.send_response(206 if start else server.status)
        if server.say_size:
            self.send_header("Content-Length", str(len(whole) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
        for item in ({"ETag": server.state} | server.extra).items():
            self.send_header(*item)
        self.end_headers()
        self.wfile.write(whole[start:][: server.cut])
        if server.silence:
            server.silence.wait(60)

    def start(self):
        """Where to begin: elsewhere than at 0 only if the file is still the one that is asked for."""
        server, span = self.server.about, self.headers.get("Range")
        same = self.headers.get("If-Range") == server.state or not server.honor_if_range
        return int(span[len("bytes=") : -1]) if span and server.ranges and same else 0


@pytest.fixture
def server(monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.about = Server()
        running.about.address = f"http://127.0.0.1:{running.server_port}/afhq.zip"
        running.about.elsewhere = f"http://127.0.0.1:{running.server_port}/stored?signature=1"
        monkeypatch.setattr(downloads, "SCHEMES", ("http",))
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield running.about
        running.shutdown()


def sha256(content):
    return '"' + hashlib.sha256(content).hexdigest() + '"'


def md5(content):
    digest = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
    return {"x-goog-hash": f"crc32c=AAAAAA==,md5={digest}"}


def test_a_zip_from_the_network(folder, server, capsys):
    assert fetching.main(["--fetch", server.address]) == 0
    told = capsys.readouterr().out
    assert "CC BY-NC 4.0" in told and "no checksum stated" in told and "3 cats" in told
    for name, content in FACES.items():
        assert (folder / name).read_bytes() == content
    assert left(folder) == []


def test_kaggle_is_asked_if_no_zip_is_named_and_must_have_all_of_version_1(
    folder, server, monkeypatch, capsys
):
    monkeypatch.setattr(fetching, "KAGGLE", server.address)
    assert fetching.main(["--fetch"]) == 1
    told = capsys.readouterr().err
    assert "it holds 3 cats, 3 dogs and 3 wild animals" in told and "--fetch archive.zip" in told
    assert left(folder) == [] and not (folder / "afhq").exists()
    monkeypatch.setattr(fetching, "VERSIONS", {"version 1": TINY})
    assert fetching.main(["--fetch"]) == 0
    assert "(version 1)" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_the_stated_checksum_is_compared(folder, server, capsys, kind):
    def state(content):
        server.hop = {"X-Linked-ETag": sha256(content)} if kind == "sha256" else {}
        server.extra = md5(content) if kind == "md5" else {}

    state(b"something else")
    assert fetching.main(["--fetch", server.address]) == 1
    assert f"arrived damaged: its {kind} is not what the server states" in capsys.readouterr().err
    assert left(folder) == [] and not (folder / "afhq").exists()
    state(server.content)
    assert fetching.main(["--fetch", server.address]) == 0
    assert f"{kind} as the server states it" in capsys.readouterr().out


def test_a_broken_off_download_goes_on(folder, server, capsys):
    server.cut = 1000
    server.hop = {"X-Linked-ETag": sha256(server.content)}
    assert fetching.main(["--fetch", server.address]) == 1
    assert "broke off after 0.0 MB of" in (told := capsys.readouterr().err) and "run the same command" in told
    assert not (folder / "afhq").exists()
    assert all(".part" in name for name in left(folder)) and len(left(folder)) == 2
    assert fetching.main(["--fetch", server.address]) == 1
    server.cut = None
    assert fetching.main(["--fetch", server.address]) == 0
    assert server.asked == [0, 1000, 2000] and "going on after" in capsys.readouterr().out
    assert (folder / "afhq/val/dog/dog_0.jpg").exists() and left(folder) == []


@pytest.mark.parametrize(
    "how", ["changed", "changed, and If-Range ignored", "no ranges", "ranges refused", "no state"]
)
def test_a_download_starts_anew_where_it_cannot_go_on(folder, server, how):
    server.cut = 1000
    if how == "no state":
        server.state = 'W/"weak"'
    assert fetching.main(["--fetch", server.address]) == 1
    server.cut = None
    if how.startswith("changed"):
        server.content, server.state = packed(dict(reversed(FACES.items()))), '"second"'
        server.honor_if_range = "ignored" not in how
    server.ranges = how != "no ranges"
    server.refuse = how == "ranges refused"
    assert fetching.main(["--fetch", server.address]) == 0
    assert (folder / "afhq/train/cat/cat_0.jpg").read_bytes() == FACES["afhq/train/cat/cat_0.jpg"]
    assert left(folder) == []


def test_a_part_that_was_tampered_with_is_found_out(folder, server, capsys):
    server.cut = 1000
    server.hop = {"X-Linked-ETag": sha256(server.content)}
    assert fetching.main(["--fetch", server.address]) == 1
    (part,) = folder.glob(".afhq-*.zip.part")
    part.write_bytes(bytes(1000))
    server.cut = None
    assert fetching.main(["--fetch", server.address]) == 1
    assert "arrived damaged" in capsys.readouterr().err and left(folder) == []
    assert fetching.main(["--fetch", server.address]) == 0


def test_an_end_without_a_size_is_caught_by_the_zip_itself(folder, server, capsys):
    server.say_size, server.cut = False, 1000
    assert fetching.main(["--fetch", server.address]) == 1
    assert "no whole zip file" in capsys.readouterr().err and left(folder) == []
    server.cut = None
    assert fetching.main(["--fetch", server.address]) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="sends itself Ctrl-C")
def test_ctrl_c_while_fetching_loses_nothing(folder, server, capsys):
    """Pressed in truth, while the command waits for a server that says nothing more."""
    server.cut, server.silence = 1500, threading.Event()

    def press():
        while not any(path.stat().st_size == 1500 for path in folder.glob(".afhq-*.zip.part")):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Thread(target=press, daemon=True).start()
        assert fetching.main(["--fetch", server.address]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
        server.silence.set()
    assert "goes on from there" in capsys.readouterr().err
    server.cut = server.silence = None
    assert fetching.main(["--fetch", server.address]) == 0
    assert server.asked == [0, 1500] and left(folder) == []


def test_a_disk_that_fills_up_while_fetching_loses_nothing(folder, server, monkeypatch, capsys):
    def fills(answer, part, *_):
        part.write_bytes(answer.read(1500))
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(downloads, "_receive", fills)
        assert fetching.main(["--fetch", server.address]) == 1
    assert "cannot write to" in (told := capsys.readouterr().err) and "make room there" in told
    assert fetching.main(["--fetch", server.address]) == 0
    assert server.asked == [0, 1500] and left(folder) == []


def test_what_was_fetched_is_not_fetched_again_if_unpacking_stops(folder, server, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(archives, "_unpack_one", full)
        assert fetching.main(["--fetch", server.address]) == 1
    assert [name[-4:] for name in left(folder)] == [".zip"]
    assert fetching.main(["--fetch", server.address]) == 0
    assert server.asked == [0] and left(folder) == []


def test_room_for_the_zip_and_its_pictures_is_looked_at_before_fetching(folder, server, monkeypatch, capsys):
    monkeypatch.setattr(
        downloads.shutil, "disk_usage", lambda _: SimpleNamespace(free=len(server.content) + 1)
    )
    monkeypatch.setattr(downloads, "_receive", lambda *_: pytest.fail("fetched"))
    assert fetching.main(["--fetch", server.address]) == 1
    assert "are needed; make room" in capsys.readouterr().err and left(folder) == []


def test_a_page_in_place_of_the_file(folder, server, capsys):
    server.extra = {"Content-Type": "text/html; charset=utf-8"}
    assert fetching.main(["--fetch", server.address]) == 1
    assert "a page to read, not a file" in (told := capsys.readouterr().err) and fetching.PAGE in told
    assert left(folder) == []


def test_a_refusal_says_what_to_do_by_hand(folder, server, capsys):
    server.status = 403
    assert fetching.main(["--fetch", server.address]) == 1
    told = capsys.readouterr().err
    assert "403" in told and fetching.PAGE in told and "--fetch archive.zip" in told
    assert left(folder) == []


def test_without_a_network_one_sentence_says_what_to_do(folder, server, monkeypatch, capsys):
    server.address = "http://127.0.0.1:1/afhq.zip"  # nobody listens there
    assert fetching.main(["--fetch", server.address]) == 1
    told = capsys.readouterr().err
    assert "cannot be reached (" in told and "Connect to the network" in told and "Traceback" not in told
    assert fetching.PAGE in told and "--fetch archive.zip" in told and left(folder) == []


@pytest.mark.parametrize(
    "address", ["http://example.com/afhq.zip", "ftp://example.com/a.zip", "file:///etc/passwd"]
)
def test_only_https_is_asked(folder, monkeypatch, capsys, address):
    monkeypatch.setattr(downloads.urllib.request, "build_opener", lambda *_: pytest.fail("asked"))
    assert fetching.main(["--fetch", address]) == 1
    assert "is no address of the form https://" in capsys.readouterr().err and left(folder) == []


def test_a_redirect_away_from_https_is_not_followed(folder, server, capsys):
    server.elsewhere = "ftp://127.0.0.1/afhq.zip"
    assert fetching.main(["--fetch", server.address]) == 1
    assert "is no address of the form" in capsys.readouterr().err and left(folder) == []
