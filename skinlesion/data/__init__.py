"""Data: reading, folder layouts, splits, caching, augmentation and loading.

One idea a file: :mod:`~skinlesion.data.images` reads, :mod:`~skinlesion.data.layouts` finds image and mask pairs,
:mod:`~skinlesion.data.splits` assigns images to training and testing, :mod:`~skinlesion.data.cache` decodes
once, :mod:`~skinlesion.data.transforms` augments, :mod:`~skinlesion.data.datamodule` feeds training,
:mod:`~skinlesion.data.synthetic` draws lesions and :mod:`~skinlesion.data.download` fetches the official archives.
Import what is needed from the file that holds it: nothing heavy is loaded here.
"""
