r"""The CPU engine: the Numba kernels as PyTorch operators, on an ordinary pool of threads.

The operator is the cross scan of VMamba (https://arxiv.org/abs/2401.10166), whose K routes each run Mamba's selective
scan S6 (https://arxiv.org/abs/2312.00752):

.. math::
    y = \sum_k \mathrm{merge}_k\bigl(\mathrm{S6}_k(\mathrm{expand}_k(x))\bigr)

The kernels release the GIL, so plain Python threads run them side by side. There is no second OpenMP pool to fight
torch's, and any number of callers (a dashboard's users) may scan at once.
"""

import functools
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from skinlesion.scan import kernels
from skinlesion.scan.registration import register
from skinlesion.scan.simd import BYTES


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="skinlesion-scan")


if hasattr(os, "register_at_fork"):  # a forked DataLoader worker inherits the pool but none of its threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


def run(task: Callable[[int], None], count: int) -> None:
    """task(0) .. task(count - 1) on as many threads as torch uses, this one included."""
    numbers = itertools.count()  # next() is atomic, so each task runs once

    def work() -> None:
        while (number := next(numbers)) < count:
            task(number)

    helpers = [_pool().submit(work) for _ in range(min(torch.get_num_threads(), count) - 1)]
    work()
    for helper in helpers:
        if not helper.cancel():  # not begun: nothing is left for it
            helper.result()


PARTS = 16  # tasks that the backward pass makes of a small batch


def _tasks(batch: int, channels: int, lanes: int, wanted: int, least: int = 1) -> list[tuple[int, int, int, int]]:
    """(image, first channel, blocks, group) of each task: every image, its channel blocks in groups.

    Args:
        batch: images.
        channels: of an image.
        lanes: channels of a block.
        wanted: minimum number of tasks, if there are enough blocks.
        least: minimum number of blocks per group.
    """
    blocks = channels // lanes
    most = max(blocks // least, 1)
    groups = min(most, -(-wanted // batch))
    edges = [blocks * g // groups for g in range(groups + 1)]
    return [(b, edges[g] * lanes, edges[g + 1] - edges[g], g) for b in range(batch) for g in range(groups)]


def _numpy(*tensors: Tensor):
    return [tensor.detach().numpy() for tensor in tensors]


def _kept_shape(delta: Tensor, states: int, keep: bool) -> tuple[int, ...]:
    batch, length, routes, channels = delta.shape
    return (batch, routes, -(-length // kernels.CHUNK) if keep else 0, states, channels)


@torch.library.custom_op("skinlesion::cross_scan", mutates_args=(), device_types="cpu")
def cross_scan(
    x: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    delta_bias: Tensor,
    routes: Tensor,
    keep: bool,
) -> tuple[Tensor, Tensor]:
    """The four-route scan; shapes as in `reference.cross_selective_scan`, channels a multiple of a vector.

    Returns:
        y (B, L, D), and the states kept for the backward pass (B, K, chunks, N, D), no chunks unless `keep`.
    """
    batch, _, channels = x.shape
    lanes = BYTES // x.element_size()
    y = torch.empty_like(x, memory_format=torch.contiguous_format)
    kept = x.new_empty(_kept_shape(delta, A.shape[-1], keep))
    rates = (A * kernels.LOG2_E).transpose(1, 2).contiguous()  # (K, N, D)
    arrays = _numpy(x, delta, rates, B, C, D, delta_bias, routes, y, kept)
    tasks = _tasks(batch, channels, lanes, torch.get_num_threads())

    def task(number: int) -> None:
        b, first, blocks, _ = tasks[number]
        kernels.forward(*arrays, keep, b, first, blocks, lanes)

    run(task, len(tasks))
    return y, kept


@cross_scan.register_fake
def _(x, delta, A, B, C, D, delta_bias, routes, keep):
    kept = x.new_empty(_kept_shape(delta, A.shape[-1], keep))
    return torch.empty_like(x, memory_format=torch.contiguous_format), kept


def _empty_gradients(x: Tensor, delta: Tensor, A: Tensor, groups: int) -> tuple[Tensor, ...]:
    batch, length, routes, channels = delta.shape
    states = A.shape[-1]
    return (
        x.new_empty(batch, length, channels),
        # Route-major in memory: that is how the projection that made delta wants its gradient.
        x.new_empty(routes, batch, length, channels).permute(1, 2, 0, 3),  # (B, L, K, D)
        x.new_empty(batch, routes, states, channels),
        x.new_empty(groups, batch, length, routes, states),
        x.new_empty(groups, batch, length, routes, states),
        x.new_empty(batch, routes, channels),
        x.new_empty(batch, routes, channels),
    )


@torch.library.custom_op("skinlesion::cross_scan_backward", mutates_args=(), device_types="cpu")
def cross_scan_backward(
    dy: Tensor,
    x: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    delta_bias: Tensor,
    routes: Tensor,
    kept: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of `cross_scan` with respect to x, delta, A, B, C, D and delta_bias; A, D and delta_bias per image."""
    batch, _, channels = x.shape
    lanes = BYTES // x.element_size()
    # The groups' parts of dB and dC are added up, so the groups must not depend on the number of threads: another
    # number would give other bits.
    tasks = _tasks(batch, channels, lanes, PARTS, least=2)  # blocks of a group share some work
    gradients = _empty_gradients(x, delta, A, len(tasks) // batch)
    rates = (A * kernels.LOG2_E).transpose(1, 2).contiguous()  # (K, N, D)
    arrays = _numpy(dy, x, delta, rates, B, C, D, delta_bias, routes, kept, *gradients)

    def task(number: int) -> None:
        kernels.backward(*arrays, *tasks[number][:3], lanes, tasks[number][3])

    run(task, len(tasks))
    dx, ddelta, dA, dB, dC, dD, dbias = gradients
    # (B, K, N, D) -> (B, K, D, N); exp(Delta A) = 2 ** (Delta A2), so its derivative brings the factor ln 2 twice over:
    # d2^v/dv = ln 2 * 2^v and dA2/dA = log2 e cancel.
    if len(dB) == 1:  # nothing to add up; a sum over one part would fill and add all the same
        return dx, ddelta, dA.transpose(2, 3), dB[0], dC[0], dD, dbias
    return dx, ddelta, dA.transpose(2, 3), dB.sum(0), dC.sum(0), dD, dbias


@cross_scan_backward.register_fake
def _(dy, x, delta, A, B, C, D, delta_bias, routes, kept):
    dx, ddelta, dA, dB, dC, dD, dbias = _empty_gradients(x, delta, A, 1)
    return dx, ddelta, dA.transpose(2, 3), dB[0], dC[0], dD, dbias


scan = register(cross_scan, cross_scan_backward)
