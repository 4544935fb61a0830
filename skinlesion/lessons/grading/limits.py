"""What a student's process may not do: limits of the system, and an audit hook for what Python code asks of it."""

import ctypes
import os
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_LARGEST_FILE = 16 * 2**20
# Events of sys.addaudithook: processes, signals, network, native code.
_REFUSED = frozenset({
    "os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.startfile", "subprocess.Popen",
    "pty.spawn", "os.kill", "os.killpg", "signal.pthread_kill", "socket.__new__", "socket.connect", "socket.bind",
    "socket.getaddrinfo", "ctypes.dlopen", "ctypes.dlsym/handle",
})  # fmt: skip
_CHANGES = frozenset({
    "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.chmod", "os.chown", "os.link", "os.symlink", "os.truncate",
    "os.utime", "shutil.rmtree", "shutil.move", "shutil.copyfile",
})  # fmt: skip
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class ForbiddenError(PermissionError):
    """Raised in a student's code that tries to leave its process."""


def restrict(folder: Path, private: Path, seconds: int, memory: int) -> None:
    """Restrict this process, for good.

    Args:
        folder: the only one where it may write; its current folder from now on.
        private: a folder that it may not read: the submissions of others.
        seconds: of CPU time.
        memory: MB of address space more than it has now.
    """
    os.chdir(folder)
    os.environ.update(dict.fromkeys(("HOME", "TMPDIR", "MPLCONFIGDIR", "XDG_CACHE_HOME"), str(folder)))
    tempfile.tempdir = str(folder)
    _leave_network()
    _limit(resource.RLIMIT_CPU, seconds)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, _LARGEST_FILE)
    if sys.platform == "linux":  # elsewhere the limit is not kept
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _limit(resource.RLIMIT_AS, pages * resource.getpagesize() + memory * 2**20)
    sys.addaudithook(_guard(os.path.realpath(folder), os.path.realpath(private)))


def _limit(which: int, amount: int) -> None:
    hard = resource.getrlimit(which)[1]
    amount = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
    resource.setrlimit(which, (amount, amount))


def _leave_network() -> None:
    """Move to a network namespace without interfaces, where the system lets an ordinary user; see `_REFUSED`."""
    if sys.platform == "linux":
        ctypes.CDLL(None).unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


def _guard(folder: str, private: str) -> Any:
    inside = folder + os.sep
    secret = private + os.sep

    def look(event: str, args: tuple[Any, ...]) -> None:
        if event in _REFUSED:
            raise ForbiddenError(f"{event} is not allowed here.")
        if event == "open" and isinstance(args[0], str | bytes):
            path = os.path.realpath(os.fsdecode(args[0]))
            if path.startswith(secret) and not path.startswith(inside):
                raise ForbiddenError("the folder of submissions may not be read here.")
            writes = isinstance(args[1], str) and any(each in args[1] for each in "wax+")
            if (writes or (isinstance(args[2], int) and args[2] & _WRITING)) and not _may_write(path, inside):
                raise ForbiddenError("files may not be written here.")
        elif event == "os.listdir" and isinstance(args[0], str | bytes):
            if os.path.realpath(os.fsdecode(args[0])).startswith(private):
                raise ForbiddenError("the folder of submissions may not be read here.")
        elif event in _CHANGES:
            paths = [os.path.realpath(os.fsdecode(each)) for each in args if isinstance(each, str | bytes)]
            if not all(path.startswith(inside) for path in paths):
                raise ForbiddenError("files may not be changed here.")

    return look


def _may_write(path: str, inside: str) -> bool:
    return path.startswith(inside) or path == os.devnull
