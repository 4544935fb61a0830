"""Against a real HTTP server on this machine that drops connections, ignores ranges and lies on demand."""

import hashlib
import io
import json
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from skinlesion.data.download import SHA256, download
from skinlesion.data.fetch import fetch, remote_size
from skinlesion.data.layouts import OFFICIAL
from skinlesion.data.source import DataSource
from skinlesion.data.verify import verify
from skinlesion.errors import SkinlesionError

PAYLOAD = np.random.default_rng(0).bytes(700_000)
DIGEST = hashlib.sha256(PAYLOAD).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves ``server.files``; each GET takes the next of ``server.faults`` (a dict), if any is left."""

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        server = self.server
        fault = server.faults.pop(0) if body and server.faults else {}
        data = server.files.get(self.path)
        asked = self.headers.get("Range")
        server.requests.append((self.command, self.path, asked))
        if data is None or "status" in fault:
            self.send_error(fault.get("status", 404))
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and not fault.get("ignore_range") else 0
        if start >= len(data) > 0:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            first = fault.get("other_range", start)
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        if not fault.get("no_length"):
            self.send_header("Content-Length", server.claimed_length or str(len(data) - start))
        self.end_headers()
        if body:
            self.send(data[start:], fault)

    def send(self, data, fault):
        self.wfile.write(data[: fault.get("after", len(data))])
        self.wfile.flush()
        if fault.get("stall"):
            self.server.stalled.set()
            self.server.go_on.wait(60)
        if fault.get("reset"):  # close without waiting: the other side sees a reset instead of an end
            time.sleep(0.05)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.files, server.faults, server.requests = {"/file.zip": PAYLOAD}, [], []
    server.claimed_length = None
    server.stalled, server.go_on = threading.Event(), threading.Event()
    server.handle_error = lambda *args: None  # the client going away is part of the tests
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.go_on.set()
    server.shutdown()
    thread.join()
    server.server_close()


def get(server, folder, **options):
    return fetch(f"{server.url}/file.zip", folder / "file.zip", **{"wait": 0.001, "sha256": DIGEST, **options})


def ranges(server):
    return [asked for method, _, asked in server.requests if method == "GET"]


# --- one file ---


def test_a_file_arrives_whole_with_its_checksum_and_progress(server, tmp_path):
    seen = []
    assert get(server, tmp_path, on_progress=lambda *now: seen.append(now)) == DIGEST
    assert (tmp_path / "file.zip").read_bytes() == PAYLOAD
    assert seen[-1] == (len(PAYLOAD), len(PAYLOAD))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert [p.name for p in tmp_path.iterdir()] == ["file.zip"]
    assert remote_size(f"{server.url}/file.zip") == len(PAYLOAD)


@pytest.mark.parametrize("how", ["closed", "reset"])
def test_a_dropped_connection_is_resumed_where_it_broke(server, tmp_path, how):
    server.faults = [{"after": 300_000, "reset": how == "reset"}, {"after": 50_000, "reset": how == "reset"}]
    assert get(server, tmp_path) == DIGEST
    assert (tmp_path / "file.zip").read_bytes() == PAYLOAD
    if how == "closed":
        assert ranges(server) == [None, "bytes=300000-", "bytes=350000-"]
    else:  # a reset may take bytes on the way with it: how many is up to the network
        assert len(ranges(server)) == 3


def test_a_connection_that_drops_often_is_fine_while_it_brings_something(server, tmp_path):
    server.faults = [{"after": 60_000} for _ in range(11)]
    assert get(server, tmp_path, attempts=2) == DIGEST


def test_a_server_that_ignores_ranges_sends_the_file_anew(server, tmp_path):
    server.faults = [{"after": 300_000}, {"ignore_range": True}]
    assert get(server, tmp_path) == DIGEST
    assert (tmp_path / "file.zip").read_bytes() == PAYLOAD


def test_a_server_that_sends_another_range_is_not_believed(server, tmp_path):
    server.faults = [{"after": 300_000}, {"other_range": 200_000}]
    assert get(server, tmp_path) == DIGEST
    assert ranges(server)[-1] is None


def test_a_server_that_states_no_length(server, tmp_path):
    server.faults = [{"no_length": True}]
    seen = []
    assert get(server, tmp_path, on_progress=lambda *now: seen.append(now)) == DIGEST
    assert seen[-1] == (len(PAYLOAD), None)


def test_a_busy_server_is_asked_again(server, tmp_path):
    server.faults = [{"status": 503}, {"status": 429}]
    assert get(server, tmp_path) == DIGEST


def test_a_complete_part_file_is_only_checked(server, tmp_path):
    (tmp_path / "file.zip.part").write_bytes(PAYLOAD)
    assert get(server, tmp_path) == DIGEST
    assert ranges(server) == [f"bytes={len(PAYLOAD)}-"]


def test_a_part_file_longer_than_the_file_is_another_files(server, tmp_path):
    (tmp_path / "file.zip.part").write_bytes(PAYLOAD + b"more")
    assert get(server, tmp_path) == DIGEST


def test_giving_up_keeps_what_arrived_and_says_so(server, tmp_path):
    server.faults = [{"after": 300_000}] + [{"after": 0}] * 3
    with pytest.raises(SkinlesionError, match=r"file\.zip cannot be reached.*0\.3 MB are kept in file\.zip\.part"):
        get(server, tmp_path, attempts=3)
    assert (tmp_path / "file.zip.part").read_bytes() == PAYLOAD[:300_000]
    assert not (tmp_path / "file.zip").exists()
    assert get(server, tmp_path) == DIGEST
    assert ranges(server)[-1] == "bytes=300000-"


def test_no_server_at_all(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(SkinlesionError, match=rf"127\.0\.0\.1:{port}/x\.zip cannot be reached.*refused"):
        fetch(f"http://127.0.0.1:{port}/x.zip", tmp_path / "x.zip", attempts=2, wait=0.001)
    assert remote_size(f"http://127.0.0.1:{port}/x.zip") is None


def test_a_wrong_checksum_leaves_nothing(server, tmp_path):
    with pytest.raises(SkinlesionError, match=rf"file\.zip has the wrong checksum.*{DIGEST}.*removed"):
        get(server, tmp_path, sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_not_asked_for_twice(server, tmp_path):
    with pytest.raises(SkinlesionError, match=r"/other\.zip answered 404"):
        fetch(f"{server.url}/other.zip", tmp_path / "other.zip")
    assert len(server.requests) == 1


def test_only_web_addresses_are_fetched(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("x")
    with pytest.raises(SkinlesionError, match="not an http or https address"):
        fetch(secret.as_uri(), tmp_path / "copy")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a device that is always full")
def test_a_disk_without_space_is_named(server, tmp_path):
    (tmp_path / "file.zip.part").symlink_to("/dev/full")  # every write there fails with ENOSPC
    with pytest.raises(SkinlesionError, match=r"The disk is full.*file\.zip\.part.*free some space"):
        get(server, tmp_path)
    assert not (tmp_path / "file.zip").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
def test_a_disk_that_fills_up_keeps_what_fitted_and_goes_on_later(server, tmp_path):
    """A limit on the size of a file (RLIMIT_FSIZE) lets the write fail for real, in a process of its own."""
    code = (
        "import resource, sys; from pathlib import Path; from skinlesion.data.fetch import fetch\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "fetch(sys.argv[1], Path(sys.argv[2]))"
    )
    arguments = [sys.executable, "-c", code, f"{server.url}/file.zip", str(tmp_path / "file.zip")]
    run = subprocess.run(arguments, capture_output=True, text=True)
    assert run.returncode == 1
    assert "MachineError: The disk is full" in run.stderr
    assert "it resumes after the first 0.2 MB" in run.stderr
    assert (tmp_path / "file.zip.part").read_bytes() == PAYLOAD[:200_000]
    assert get(server, tmp_path) == DIGEST
    assert ranges(server)[-1] == "bytes=200000-"


# --- a data set ---


def png(array, kind):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


def archive(folder, files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, data in files.items():
            opened.writestr(f"{folder}/{name}", data)
    return buffer.getvalue()


def publish(server, dataset="isic2017", parts=("train", "val")):
    """Put small archives of the official names and layout on the server; return their folders."""
    rng = np.random.default_rng(0)
    folders = []
    for k, part in enumerate(p for p in OFFICIAL[dataset] if p.part in parts):
        ids = [f"ISIC_{10 * k + i:07d}" for i in range(2)]
        pixels = rng.integers(0, 255, (8, 9, 3), dtype=np.uint8)
        mask = np.full((8, 9), 0, np.uint8)
        mask[2:5, 3:6] = 255
        images = {f"{i}.jpg": png(pixels, "JPEG") for i in ids} | {f"{i}_superpixels.png": b"x" for i in ids}
        masks = {f"{i}_segmentation.png": png(mask, "PNG") for i in ids}
        for folder, files in ((part.images, images), (part.masks, masks)):
            server.files[f"/{dataset[4:]}/{folder}.zip"] = archive(folder, files)
            folders.append(folder)
    return folders


def test_download_then_verify(server, tmp_path):
    names = publish(server)
    lines = []
    root = tmp_path / "new" / "data"
    folders = download("isic2017", root, base_url=server.url, say=lines.append, progress=False)
    assert [f.name for f in folders] == names
    assert "CC-0" in lines[0]
    assert "https://challenge.isic-archive.com/data/" in lines[0]
    assert sorted(p.name for p in root.iterdir()) == sorted([*names, "checksums.json"])
    record = json.loads((root / "checksums.json").read_text())
    assert record == {f"{n}.zip": hashlib.sha256(server.files[f"/2017/{n}.zip"]).hexdigest() for n in names}
    report, _ = verify(DataSource(root=root), "isic2017")
    assert report.ok
    assert report.checked == 4
    assert "train: 2 of the 2000 published pairs are here." in report.remarks


def test_a_second_call_fetches_only_what_is_missing(server, tmp_path):
    names = publish(server)
    download("isic2017", tmp_path, ["train"], base_url=server.url, progress=False, say=lambda _: None)
    server.requests.clear()
    lines = []
    download("isic2017", tmp_path, base_url=server.url, progress=False, say=lines.append)
    assert {path for _, path, _ in server.requests} == {f"/2017/{name}.zip" for name in names[2:]}
    assert f"{names[0]}: already there" in lines


def test_the_first_checksum_binds_later_downloads(server, tmp_path):
    names = publish(server)
    options = {"base_url": server.url, "progress": False, "say": lambda _: None, "keep_archives": True}
    download("isic2017", tmp_path, **options)
    assert (tmp_path / f"{names[0]}.zip").exists()
    (tmp_path / names[0]).rename(tmp_path / "moved")
    (tmp_path / f"{names[0]}.zip").unlink()
    server.files[f"/2017/{names[0]}.zip"] = archive(names[0], {"other.jpg": b"other"})
    with pytest.raises(SkinlesionError, match="the wrong checksum"):
        download("isic2017", tmp_path, **options)
    assert not (tmp_path / names[0]).exists()
    publish(server)
    download("isic2017", tmp_path, **options)
    assert len(list((tmp_path / names[0]).iterdir())) == 4


def test_the_published_checksums_of_2018_are_enforced(server, tmp_path):
    name = publish(server, "isic2018")[0]
    with pytest.raises(SkinlesionError, match=SHA256[f"{name}.zip"]):
        download("isic2018", tmp_path, base_url=server.url, progress=False, say=lambda _: None)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / f"{name}.zip").write_bytes(b"another file")  # put there by hand
    with pytest.raises(SkinlesionError, match=rf"{name}\.zip doesn't have the expected checksum.*delete it"):
        download("isic2018", tmp_path, base_url=server.url, progress=False, say=lambda _: None)
    assert set(SHA256) == {f"{f}.zip" for p in OFFICIAL["isic2018"] for f in (p.images, p.masks)}


def test_an_archive_that_lies_there_already_is_used(server, tmp_path):
    names = publish(server)
    for name in names:
        (tmp_path / f"{name}.zip").write_bytes(server.files[f"/2017/{name}.zip"])
    download("isic2017", tmp_path, base_url=server.url, progress=False, say=lambda _: None)
    assert all(method == "HEAD" for method, _, _ in server.requests)
    assert verify(DataSource(root=tmp_path), "isic2017")[0].checked == 4


def test_a_hostile_archive_writes_nothing_and_is_not_recorded(server, tmp_path):
    name = publish(server)[0]
    server.files[f"/2017/{name}.zip"] = archive(name, {"../../evil.txt": b"evil"})
    with pytest.raises(SkinlesionError, match="outside its folder"):
        download("isic2017", tmp_path / "root", base_url=server.url, progress=False, say=lambda _: None)
    assert [p.name for p in tmp_path.rglob("*")] == ["root", f"{name}.zip"]


def test_what_cannot_fit_is_refused_before_the_first_byte(server, tmp_path):
    publish(server)
    server.claimed_length = str(10**17)
    with pytest.raises(SkinlesionError, match=r"needs 500000000\.0 GB.*GB free"):
        download("isic2017", tmp_path, base_url=server.url, progress=False, say=lambda _: None)
    assert {method for method, _, _ in server.requests} == {"HEAD"}


def test_a_killed_download_goes_on_and_was_never_half_there(server, tmp_path):
    name = publish(server)[0]
    address = f"/2017/{name}.zip"
    server.files[address] = whole = archive(name, {"ISIC_0000000.jpg": b"jpeg", "notes.bin": PAYLOAD})
    server.faults = [{"after": 400_000, "stall": True}]
    code = (
        "import sys; from skinlesion.data.download import download\n"
        "download('isic2017', sys.argv[1], base_url=sys.argv[2])"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), server.url], stdout=subprocess.DEVNULL)
    assert server.stalled.wait(60)
    part = tmp_path / f"{name}.zip.part"
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    server.go_on.set()
    assert [p.name for p in tmp_path.iterdir()] == [part.name]
    kept = part.read_bytes()
    assert kept
    assert whole.startswith(kept)
    server.requests.clear()
    download("isic2017", tmp_path, base_url=server.url, progress=False, say=lambda _: None)
    assert ranges(server)[0] == f"bytes={len(kept)}-"
    assert (tmp_path / name / "notes.bin").read_bytes() == PAYLOAD


def test_the_progress_bar_goes_to_stderr(server, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    names = publish(server)
    download("isic2017", tmp_path, ["val"], base_url=server.url, progress=True)
    out, err = capsys.readouterr()
    size = len(server.files[f"/2017/{names[2]}.zip"]) / 1000
    assert f"{names[2]}.zip" in err
    assert f"{size:.1f}/{size:.1f} kB" in err
    assert f"{names[2]}: unpacking" in out
    assert "kB" not in out


def test_unusable_requests(server, tmp_path):
    with pytest.raises(SkinlesionError, match=r"'isic2019'.*isic2016, isic2017, isic2018"):
        download("isic2019", tmp_path)
    with pytest.raises(SkinlesionError, match="isic2016 has no part 'val': choose from train, test"):
        download("isic2016", tmp_path, ["val"])
    with pytest.raises(SkinlesionError, match="not an http or https address"):
        download("isic2017", tmp_path, base_url="ftp://example.org")
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(SkinlesionError, match="cannot be written"):
        download("isic2017", file, base_url=server.url)
    publish(server)
    (tmp_path / "checksums.json").write_text("[1, 2")
    with pytest.raises(SkinlesionError, match=r"checksums\.json is not readable JSON"):
        download("isic2017", tmp_path, base_url=server.url, progress=False, say=lambda _: None)
    with pytest.raises(SkinlesionError, match="no such folder"):
        verify(DataSource(root=tmp_path / "nowhere"), "isic2017")
