"""The exceptions for what a user can put right."""

import errno

# What the system says when there is no more room: on the disk, in the quota, or for a file of that size.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# How PyTorch's devices say that they have no memory left; an exception of its own there is for CUDA only.
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")


class SkinlesionError(ValueError):
    """Something in the input, the options or the machine that the user can put right.

    The message is one clear sentence or two: it names the file or the option and says what to do.
    It is a ValueError too, so that code which calls the package as a library can catch the usual exception.
    The command line prints it without a traceback and exits with code 2; the dashboard shows it in the page.
    """


class MachineError(SkinlesionError):
    """The request is right, but the machine doesn't have what it takes, such as room on the disk: exit code 1."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a machine or a GPU has no memory left."""
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in _NO_MEMORY)
