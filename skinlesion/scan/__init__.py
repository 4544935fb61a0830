r"""The selective scan: one definition (`reference`), and several engines that must match it.

From Mamba (https://arxiv.org/abs/2312.00752), along several routes over an image as in VMamba
(https://arxiv.org/abs/2401.10166):

.. math::
    y = \sum_k \mathrm{merge}_k\bigl(\mathrm{S6}_k(\mathrm{expand}_k(x))\bigr)

>>> import torch
>>> from skinlesion.scan import cross_selective_scan
>>> x, delta = torch.randn(1, 4, 5, 16), torch.randn(1, 4, 5, 4, 16)
>>> B, C = torch.randn(2, 1, 4, 5, 4, 8)
>>> A, D, bias = -torch.rand(4, 16, 8), torch.ones(4, 16), torch.zeros(4, 16)
>>> cross_selective_scan(x, delta, A, B, C, D, bias).shape
torch.Size([1, 4, 5, 16])
"""

from skinlesion.scan.engines import ENGINES, EngineStatus, choose_engine, choose_fitting_device, engines
from skinlesion.scan.operator import cross_selective_scan

__all__ = ["ENGINES", "EngineStatus", "choose_engine", "choose_fitting_device", "cross_selective_scan", "engines"]
