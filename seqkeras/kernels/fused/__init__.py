"""The fused kernel: layers of each backend on the native library, on a CPU."""
