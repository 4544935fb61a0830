"""One step of training and of validation: the paper's recipe (sections 3.4 and 4.3, eqs. 8-11)."""

import math
from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
import pytorch_lightning as pl
import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MeanMetric

from skinlesion.errors import SkinlesionError
from skinlesion.extend import find_loss
from skinlesion.losses import FeatureDistillationLoss, bce_loss, dice_loss
from skinlesion.metrics import SegmentationScores
from skinlesion.training.config import TrainConfig
from skinlesion.training.diagnose import first_nonfinite_layer, last_nonfinite_gradient
from skinlesion.training.ema import WeightAverage
from skinlesion.training.muon import Muon
from skinlesion.training.schedule import learning_rate
from skinlesion.user_code import named_errors
from skinlesion.user_network import is_user_network, logits_and_features, logits_of, name_of, user_loss


class Batch(TypedDict):
    """What `skinlesion.data.datamodule.SegmentationData` gives."""

    image: Tensor
    mask: Tensor
    id: list[str]
    counted: Tensor


class SegmentationModule(pl.LightningModule):
    """Trains a network with the loss of eq. 11 and, if its weights are above 0, the distillation of eqs. 8-10.

    Random numbers of a step (drop path) are a function of seed, step and process, and so is the learning rate: a
    resumed run needs neither restored. Only the channel draws of RCS carry on from the checkpoint.

    With several processes the batch is divided: gradients are averaged, RCS draws the same channels everywhere, and
    internal distillation ranks channels on each process's own images. Batch normalization (in CRA) takes statistics
    of a process's own images on CPUs, of the whole batch on GPUs; its running averages are averaged over the
    processes before each validation.

    Args:
        model: from `create_model`.
        config: the run.

    Raises:
        SkinlesionError: distillation is asked for and the network does not return its features, or the loss is
            unknown.
    """

    def __init__(self, model: nn.Module, config: TrainConfig) -> None:
        super().__init__()
        if config.distills and not hasattr(model, "forward_features"):
            raise SkinlesionError(
                f"The network {config.preset!r} does not return its features, so it cannot be trained with feature "
                "distillation: pass --w-cfd 0 --w-ifd 0."
            )
        self.model = model
        self.config = config
        self.supervised = find_loss(config.loss)
        self.average = None
        if config.ema is not None:
            failure = f"The network {name_of(model)!r} cannot be copied, which --ema needs"
            with named_errors(failure, built_in=not is_user_network(model)):
                self.average = WeightAverage(model, config.ema)
        self.distillation = FeatureDistillationLoss(
            w_cfd=config.w_cfd,
            w_ifd=config.w_ifd,
            teacher=config.teacher,
            rcs=config.rcs,
            norm=config.distance,
            detach_teacher=config.detach_teacher,
            halves=config.halves,
            detach_shallow=config.detach_shallow,
            grouping=config.grouping,
            seed=config.seed,
        )
        self.val_scores = SegmentationScores(boundary_tolerance=None)
        self.val_bce, self.val_dice = MeanMetric(), MeanMetric()
        self._batch: Batch | None = None

    @property
    def shipped(self) -> nn.Module:
        """The network that is validated and saved: with --ema, the one with averaged weights."""
        return self.average.model if self.average is not None else self.model

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The loss of a batch by parts: bce, dice, cfd, ifd (unweighted) and their weighted sum, loss."""
        config = self.config
        if config.distills:
            logits, features = logits_and_features(self.model, batch["image"])
            cfd, ifd, distillation = self.distillation(*features)
        else:
            logits = logits_of(self.model, batch["image"])
            cfd = ifd = distillation = logits.new_zeros(())
        bce, dice = bce_loss(logits, batch["mask"]), dice_loss(logits, batch["mask"])
        own = None if self.supervised is None else user_loss(config.loss, self.supervised, logits, batch["mask"])
        loss = (config.w_bce * bce + config.w_dice * dice if own is None else own) + distillation
        return {"loss": loss, "bce": bce, "dice": dice, "cfd": cfd, "ifd": ifd}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW on all weights alike (A30), or Muon."""
        config = self.config
        if config.optimizer == "muon":
            return Muon(self.model, lr=config.lr, weight_decay=config.weight_decay)
        # One pass over the weights instead of six: a tenth of the paper's step on a CPU. Where gradients are scaled,
        # Lightning cannot clip for it.
        fused = config.precision != "16-mixed"
        return torch.optim.AdamW(
            self.model.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=fused or None
        )

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set this step's learning rate and random numbers."""
        config = self.config
        steps = math.ceil(self.trainer.num_training_batches / config.accumulate)
        rate = learning_rate(
            self.current_epoch + batch_idx // config.accumulate / steps,
            epochs=config.epochs,
            schedule=config.schedule,
            lr=config.lr,
            min_lr=config.min_lr,
            warmup_epochs=config.warmup_epochs,
            t_max=config.t_max,
        )
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = rate * group.get("ratio", 1.0)
        if batch_idx == 0:
            self.log("lr", rate, batch_size=1)
        self._seed_step(batch_idx)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss; stops the run where it is not finite."""
        self._batch = batch
        parts = self.losses(batch)
        self._require_finite_loss(parts, batch, batch_idx)
        logged = {f"train_{name}": value.detach() for name, value in parts.items()}
        self.log_dict(logged, on_step=False, on_epoch=True, batch_size=len(batch["id"]), sync_dist=True)
        return parts["loss"] * self._share(batch_idx) if self.config.accumulate > 1 else parts["loss"]

    def _share(self, batch_idx: int) -> float:
        """What a part's mean weighs in the mean over its batch; Lightning divides by the number of parts."""
        parts, size = self.config.accumulate, self.config.part_size
        loader = self.trainer.train_dataloader
        assert loader is not None
        images = min(len(loader.sampler), len(loader) * size)  # the last part of an epoch may be smaller
        first = batch_idx // parts * parts
        in_batch = min((first + parts) * size, images) - first * size
        in_part = min((batch_idx + 1) * size, images) - batch_idx * size
        return in_part * parts / in_batch

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient if requested, and stop the run before a non-finite gradient corrupts the weights."""
        limit = self.config.clip if self.config.clip is not None else float("inf")
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        # A step that half precision leaves out moves nothing: it counts as 0.
        logged = norm if self.config.precision != "16-mixed" else torch.where(norm.isfinite(), norm, 0.0)
        self.log("grad_norm", logged, on_step=False, on_epoch=True, batch_size=1, sync_dist=True)
        # In half precision the loss is scaled by trial and error, and such steps are left out.
        if self.config.precision != "16-mixed" and not torch.isfinite(norm):
            where = last_nonfinite_gradient(self.model) or "the sum of all"
            self._stop(f"the gradient became {norm.item()}, first in {where}")

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Move the average of the weights after each step."""
        last = batch_idx + 1 == self.trainer.num_training_batches
        if self.average is not None and (last or (batch_idx + 1) % self.config.accumulate == 0):
            self.average.update(self.model)

    def on_validation_start(self) -> None:
        """Give every process the same running statistics of batch normalization."""
        if self.trainer.world_size > 1:
            for buffer in self.buffers():
                if buffer.is_floating_point():
                    torch.distributed.all_reduce(buffer)
                    buffer /= self.trainer.world_size

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Score at the ground truth's size; images that only pad a process's share are left out."""
        logits, mask = logits_of(self.shipped, batch["image"]), batch["mask"]
        if logits.shape[-2:] != mask.shape[-2:]:
            logits = F.interpolate(logits.float(), mask.shape[-2:], mode="bilinear", align_corners=False)
        keep = batch["counted"].nonzero().flatten()  # (n,)
        if not len(keep):
            return
        logits, mask = logits[keep], mask[keep]  # (n, 1, h, w)
        probability = logits.float().sigmoid()
        ids = [batch["id"][i] for i in keep.tolist()]
        self.val_bce.update(bce_loss(logits, mask), weight=len(keep))
        self.val_dice.update(dice_loss(logits, mask), weight=len(keep))
        self.val_scores.update(probability, mask, ids)

    def on_validation_epoch_end(self) -> None:
        """Log loss and pooled scores of the validation set (A34, A37)."""
        pooled = self.val_scores.compute().pooled()
        bce, dice = self.val_bce.compute(), self.val_dice.compute()
        loss = self.config.w_bce * bce + self.config.w_dice * dice
        scores = {f"val_{name}": pooled[name] for name in ("iou", "dsc", "accuracy")}
        self.log_dict({"val_loss": loss, "val_bce": bce, "val_dice": dice, **scores}, batch_size=1, sync_dist=True)
        for metric in (self.val_scores, self.val_bce, self.val_dice):
            metric.reset()

    def _seed_step(self, batch_idx: int) -> None:
        part = batch_idx % self.config.accumulate
        place = (self.config.seed, self.trainer.global_step, self.trainer.global_rank)
        words = np.random.SeedSequence((*place, part) if part else place)
        torch.manual_seed(int(words.generate_state(1, np.uint64)[0] >> np.uint64(1)))

    def _require_finite_loss(self, parts: dict[str, Tensor], batch: Batch, batch_idx: int) -> None:
        finite = bool(torch.isfinite(parts["loss"]))
        if self.trainer.world_size > 1:
            everywhere = self.trainer.strategy.reduce_boolean_decision(finite, all=True)
            if finite and not everywhere:
                raise SkinlesionError("Training stopped: the loss of another process is not finite; see its message.")
        if finite:
            return

        def run_again() -> object:
            self._seed_step(batch_idx)
            return self.model(batch["image"])

        layer = first_nonfinite_layer(self.model, run_again)
        broken = [name for name, value in parts.items() if not torch.isfinite(value)]
        where = layer or f"the loss itself ({', '.join(broken)}): all layers are finite"
        self._stop(f"the loss became {parts['loss'].item()}; the first place that is not finite: {where}")

    def _stop(self, what: str) -> None:
        trainer, ids = self.trainer, self._batch["id"] if self._batch is not None else ()
        last = self.config.folder / "checkpoints" / "last.ckpt"
        kept = f"The last good checkpoint is kept: {last}." if last.exists() else "No epoch had been completed."
        raise SkinlesionError(
            f"Training stopped at step {trainer.global_step} (epoch {self.current_epoch + 1}): {what}. "
            f"{_listed(ids)} {kept} Try a lower --lr, --clip 1 or --precision 32."
        )


def _listed(ids: Sequence[str]) -> str:
    return f"The batch held the images {', '.join(ids)}."
