"""Keeps Lightning quiet, and lets Ctrl-C through."""

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytorch_lightning as pl

# What libraries say that neither this program nor its user can act on.
_NOISE = (
    ".*callbacks used to create the checkpoint.*",  # of a checkpoint that somebody changed
    ".*does not have many workers.*",
    ".*in eval mode at the start of training.*",  # the average of the weights
    ".*LeafSpec.*",  # Lightning against a newer torch
    ".*broadcast_buffers.*",  # its successor is not in every torch that this package runs on
    ".*Grad strides do not match bucket view strides.*",  # of depthwise convolutions, whose strides have no meaning
)


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress Lightning's messages about itself; all other warnings stay."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in _NOISE:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def interruptible(trainer: pl.Trainer, message: str) -> Iterator[None]:
    """Let Ctrl-C through, with a message: Lightning would end the process with code 1 and ignore any further Ctrl-C."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit:
        if not trainer.interrupted:
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt(message) from None
