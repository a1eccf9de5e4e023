"""The sensor of NVIDIA GPUs, and the process apart in which their library is asked."""
