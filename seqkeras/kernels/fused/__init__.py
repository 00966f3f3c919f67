"""The fused kernel on a CPU: the native library, with an adapter for each backend."""
