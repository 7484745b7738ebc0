"""A file from the network: continued where it broke off, verified, and given its name only when whole."""

import base64
import hashlib
import http.client
import json
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from vae_lab.mnist import DataError

SCHEMES = ("https",)  # over anything else, the checksum that a server states says nothing
CHUNK = 1 << 18
WAIT = 30  # seconds of silence


@dataclass(frozen=True)
class Stated:
    """What a server says of a file: bytes, checksum, and a name for this state of it to continue by."""

    size: int | None
    checksum: tuple[str, str] | None  # ("sha256" or "md5", in hexadecimal digits)
    state: str | None


def download(url: str, path: Path, *, copies: int = 1, otherwise: str = "") -> None:
    """Fetch `url` into `path`, unless it is there already.

    What has arrived lies in `path`.part until it has the stated size, and the checksum that Hugging Face
    (SHA-256) or Kaggle's storage (MD5) states. Broken off or stopped, the same call goes on from there.

    copies : how many times its size must be free, 2 if it is to be unpacked beside
    otherwise : what else to do, for the message if the network fails

    Raises `DataError` if the file cannot be had or is damaged, `OSError` if it cannot be written.
    """
    if path.exists():
        return
    part, note = path.with_name(path.name + ".part"), path.with_name(path.name + ".part.json")
    have, state = _left_over(part, note)
    answer, stated = _ask(url, have, state, otherwise)
    with answer:
        if answer.status != 206:
            have = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        if stated.size is not None:
            need_room(path.parent, copies * stated.size - have)
        more = f", going on after {_megabytes(have)}" if have else ""
        print(f"Fetching {_megabytes(stated.size)} from {urllib.parse.urlsplit(url).hostname}{more}")
        if not have:
            part.unlink(missing_ok=True)
        note.write_text(json.dumps({"state": stated.state}))
        _receive(answer, part, have, stated.size, otherwise)
    _verify(part, stated, url)
    note.unlink()
    part.rename(path)


def need_room(folder: Path, size: int) -> None:
    """Raise `DataError` if the disk of `folder` has fewer than `size` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise DataError(
            f"{folder} has room for {_megabytes(free)}, but {_megabytes(size)} are needed; make room there "
            "or point VAE_LAB_DATA elsewhere"
        )


def _left_over(part: Path, note: Path) -> tuple[int, str | None]:
    """How many bytes an earlier call left, and of which state of the file; (0, None) if of no use."""
    try:
        state = json.loads(note.read_text())["state"]
        size = part.stat().st_size
    except (OSError, ValueError, KeyError, TypeError):
        return 0, None
    return (size, state) if state and size else (0, None)


class _Hops(urllib.request.HTTPRedirectHandler):
    """Follow redirects, but not to another scheme, and keep what each answer said of the file."""

    def __init__(self):
        self.heads = []

    def redirect_request(self, request, fp, code, msg, headers, newurl):
        _check_scheme(newurl)
        self.heads.append(headers)
        return super().redirect_request(request, fp, code, msg, headers, newurl)


def _check_scheme(url: str) -> None:
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme not in SCHEMES:
        raise DataError(f"{url} is no address of the form {SCHEMES[0]}://…; use one that is")


def _ask(url: str, have: int, state: str | None, otherwise: str) -> tuple:
    """The open answer, with the rest of the file if that is still in the same state, else with all of it."""
    try:
        answer, heads = _open(url, have, state)
    except urllib.error.HTTPError as error:
        error.close()
        if have:  # perhaps there is no rest
            return _ask(url, 0, None, otherwise)
        raise DataError(
            f"{url} cannot be fetched: {error.code} {error.reason}. {otherwise}".strip()
        ) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(
            f"{url} cannot be reached ({reason}). Connect to the network and try again. {otherwise}".strip()
        ) from error
    stated = _stated(heads)
    rest = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-") and stated.state == state
    if answer.status == 206 and not rest:
        answer.close()
        return _ask(url, 0, None, otherwise)
    if answer.headers.get_content_type() == "text/html":
        answer.close()
        raise DataError(f"{url} gives a page to read, not a file. {otherwise}".strip())
    return answer, stated


def _open(url: str, have: int, state: str | None) -> tuple:
    """The open answer, and the headers of every answer on the way to it, the last one last."""
    _check_scheme(url)
    request = urllib.request.Request(
        url, headers={"User-Agent": "vae-lab (https://github.com/vae-lab/vae-lab)"}
    )
    if have:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", state)
    hops = _Hops()
    answer = urllib.request.build_opener(hops).open(request, timeout=WAIT)
    return answer, [*hops.heads, answer.headers]


def _stated(heads: list) -> Stated:
    """Size, checksum and state from the headers."""
    last, checksum = heads[-1], None
    whole = re.fullmatch(r"bytes \d+-\d+/(\d+)", last.get("Content-Range", ""))
    size = whole[1] if whole else last.get("Content-Length")
    for head in heads:
        if re.fullmatch('"[0-9a-f]{64}"', head.get("X-Linked-ETag", "")):
            checksum = ("sha256", head["X-Linked-ETag"].strip('"'))
        if found := re.search("md5=([A-Za-z0-9+/]{22}==)", ",".join(head.get_all("x-goog-hash", []))):
            checksum = ("md5", base64.b64decode(found[1]).hex())
    state = last.get("ETag", "W/")
    state = last.get("Last-Modified") if state.startswith("W/") else state  # W/ does not vouch for every byte
    return Stated(int(size) if size else None, checksum, state)


def _receive(answer, part: Path, have: int, size: int | None, otherwise: str) -> None:
    """Append what arrives to the first `have` bytes of the part."""
    bar = tqdm(total=size, initial=have, unit="B", unit_scale=True, desc="fetching", disable=None)
    with part.open("ab" if have else "wb") as file, bar:
        chunk = failed = None
        while chunk != b"":
            try:
                chunk = answer.read1(CHUNK)  # what is there, without waiting for more
            except (OSError, http.client.HTTPException) as error:
                chunk, failed = b"", error
            file.write(chunk)
            file.flush()
            bar.update(len(chunk))
        arrived = file.tell()
    if failed or (size is not None and arrived < size):
        of, why = f" of {_megabytes(size)}" if size else "", f" ({failed})" if failed else ""
        raise DataError(
            f"{answer.url.split('?')[0]} broke off after {_megabytes(arrived)}{of}{why}; run the same "
            f"command again to go on. {otherwise}".strip()
        )


def _verify(part: Path, stated: Stated, url: str) -> None:
    """Raise, and leave nothing, if the part is not what the server has."""
    size = part.stat().st_size
    wrong = f"{size:,} bytes in place of {stated.size:,}" if stated.size not in (None, size) else ""
    if stated.checksum and not wrong:
        kind, digits = stated.checksum
        with part.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()
        wrong = f"its {kind} is not what the server states" if found != digits else ""
    if wrong:
        part.unlink()
        part.with_name(part.name + ".json").unlink(missing_ok=True)
        raise DataError(f"{url} arrived damaged: {wrong}. Run the same command again to fetch a whole copy")
    how = f"{stated.checksum[0]} as the server states it" if stated.checksum else "no checksum stated"
    print(f"Arrived: {size:,} bytes, {how}")


def _megabytes(size: int | None) -> str:
    return "a file of unknown size" if size is None else f"{size / 1e6:,.1f} MB"
