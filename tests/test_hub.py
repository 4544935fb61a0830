"""Weights on the Hugging Face hub, whose API a small server here stands in for: the real client talks to it."""

import base64
import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skinlesion.checkpoint import WEIGHTS, tensors_hash
from skinlesion.hub import FILE, is_repository

pytest.importorskip("huggingface_hub")


class Hub(http.server.BaseHTTPRequestHandler):
    """Repositories in memory."""

    protocol_version = "HTTP/1.1"
    files: dict[str, bytes] = {}  # noqa: RUF012 - one for all requests

    def answer(self, code: int, body: bytes = b"{}", **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:
        user, repo, _, _, *path = self.path.split("?")[0].strip("/").split("/")
        data = self.files.get("/".join((user, repo, *path)))
        if data is None:
            self.answer(404, X_Error_Code="RepoNotFound")
        else:
            self.answer(200, data, ETag=f'"{hashlib.sha1(data).hexdigest()}"', X_Repo_Commit="0" * 40)

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        body = self._body()
        address = f"http://{self.headers['Host']}"
        if self.path == "/api/repos/create":
            return self.answer(200, json.dumps({"url": f"{address}/user/repo"}).encode())
        if self.path == "/api/validate-yaml":
            return self.answer(200, b'{"errors": [], "warnings": []}')
        if "/preupload/" in self.path:
            modes = {"uploadMode": "regular", "shouldIgnore": False}
            files = [{"path": each["path"], **modes} for each in json.loads(body)["files"]]
            return self.answer(200, json.dumps({"files": files}).encode())
        repository = "/".join(self.path.split("/")[3:5])
        for entry in map(json.loads, body.splitlines()):
            if entry["key"] == "file":
                content = base64.b64decode(entry["value"]["content"])
                self.files[f"{repository}/{entry['value']['path']}"] = content
        done = {"commitUrl": f"{address}/{repository}/commit/{'0' * 40}", "commitOid": "0" * 40, "success": True}
        return self.answer(200, json.dumps(done).encode())

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment in which the client talks to our server."""
    Hub.files = {}
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {
            **os.environ,
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HOME": str(tmp_path / "hub"),
            "HF_TOKEN": "hf_of_nobody",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }
        server.shutdown()


def run(environment: dict[str, str], folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "skinlesion", *words]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200, check=False
    )


def test_what_is_pushed_can_be_used_by_name(hub: dict[str, str], tmp_path: Path, photo: np.ndarray) -> None:
    done = run(hub, tmp_path, "push", "small", "user/repo")
    assert done.returncode == 0, done.stderr
    assert "--weights user/repo" in done.stdout
    assert Hub.files[f"user/repo/{FILE}"] == (WEIGHTS / "small.safetensors").read_bytes()
    page = Hub.files["user/repo/README.md"].decode()
    assert page.startswith("---\n")
    assert tensors_hash(WEIGHTS / "small.safetensors") in page
    Image.fromarray(photo).save(tmp_path / "photo.png")
    done = run(hub, tmp_path, "predict", "photo.png", "--weights", "user/repo", "--out", "results")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results/photo_mask.png").is_file()
    away = {**hub, "HF_ENDPOINT": "http://127.0.0.1:9"}  # nothing listens there; what was downloaded is still used
    done = run(away, tmp_path, "predict", "photo.png", "--weights", "user/repo", "--out", "again")
    assert done.returncode == 0, done.stderr
    done = run(away, tmp_path, "predict", "photo.png", "--weights", "user/other", "--out", "none")
    assert done.returncode == 2
    assert "http://127.0.0.1:9 can't be reached, and there is no cached copy" in done.stderr


def test_what_is_not_there_or_not_ours_is_one_line(hub: dict[str, str], tmp_path: Path) -> None:
    Hub.files = {f"user/pickle/{FILE}": b"\x80\x04" + b"0" * 100, f"user/empty/{FILE}": b""}
    for repository, message in (
        ("user/none", f"Unknown weights 'user/none': neither a file here nor a repository with {FILE}"),
        ("user/pickle", "pickle"),
        ("user/empty", "damaged"),
    ):
        done = run(hub, tmp_path, "evaluate", "--weights", repository, "--root", ".")
        assert done.returncode == 2
        assert message in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_name_of_a_repository_is_told_from_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_repository("user/repo")
    for path in ("repo", "a/b/c", "../b", "./b", "/b", "a/", "a\\b", "a/b\n", "http://a/b", ""):
        assert not is_repository(path), path
    (tmp_path / "runs").mkdir()
    assert not is_repository("runs/first")  # a run folder that isn't there
