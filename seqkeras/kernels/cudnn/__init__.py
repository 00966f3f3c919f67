"""The recurrent kernels of cuDNN, and of PyTorch on a CPU."""
