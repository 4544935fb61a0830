"""The steps of the GPU acceptance run; `benchmarks/gpu.py` runs them."""
