"""Exceptions for problems that a user can fix."""

import errno

# What the system says when there is no more room: on the disk, in the quota, or for a file of that size.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# How PyTorch's devices say that they have no memory left; only CUDA has its own exception type for this.
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory", "alloc_failed")


class SkinlesionError(ValueError):
    """Something in the input, the options or the machine that the user can fix.

    The message is one or two clear sentences: it names the file or the option and says what to do.
    It is a ValueError too, so that code that calls the package as a library can catch the usual exception.
    The command line prints it without a traceback and exits with code 2; the dashboard shows it in the page.
    """


class MachineError(SkinlesionError):
    """The request is valid, but the machine lacks a resource, such as disk space: exit code 1."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a machine or a GPU has no memory left."""
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in _NO_MEMORY)
