"""The kernels of the backends: cuDNN on a GPU, and PyTorch's own on a CPU."""
