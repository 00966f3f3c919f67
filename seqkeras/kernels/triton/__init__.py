"""The fused kernel on a GPU, written in Triton."""
