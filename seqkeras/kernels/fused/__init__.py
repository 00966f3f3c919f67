"""The compiled CPU kernels of `seqkeras.native`, bound to each backend."""
