"""Metrics that people already have, and what they mean: vLLM, llama.cpp, DCGM, node exporter.

For hints: `sensor probe` says what it found, a configuration's error says which name was meant.
Counters are read as how much is new, by the same name with `:new` behind it.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

__all__ = ["KNOWN", "Known", "meaning", "nearest"]


@dataclass(frozen=True, slots=True)
class Known:
    """What a metric means."""

    of: str
    """Whose it is."""
    kind: str
    """`gauge`, `counter` or `histogram`."""
    means: str
    """In few words."""


def _all(of: str, rows: str) -> dict[str, Known]:
    found = {}
    for row in rows.strip().splitlines():
        name, kind, means = row.split(None, 2)
        found[name] = Known(of, kind, means)
    return found


KNOWN: dict[str, Known] = {
    **_all(
        "vLLM",
        """
vllm:num_requests_running gauge requests in the batch now
vllm:num_requests_waiting gauge requests that wait for room
vllm:kv_cache_usage_perc gauge share of the key-value cache in use, 1 = full
vllm:gpu_cache_usage_perc gauge the same, as older versions call it
vllm:num_preemptions_total counter requests put back for want of memory
vllm:prompt_tokens_total counter tokens read
vllm:generation_tokens_total counter tokens written
vllm:request_success_total counter requests that ended, by finished_reason
vllm:time_to_first_token_seconds histogram until the first token
vllm:time_per_output_token_seconds histogram from token to token
vllm:inter_token_latency_seconds histogram the same, as newer versions call it
vllm:e2e_request_latency_seconds histogram from arrival to the last token
vllm:request_prompt_tokens histogram tokens of a prompt
vllm:request_generation_tokens histogram tokens of an answer
vllm:prefix_cache_queries_total counter tokens looked for in the prefix cache
vllm:prefix_cache_hits_total counter tokens found there
""",
    ),
    **_all(
        "llama.cpp",
        """
llamacpp:prompt_tokens_total counter tokens read
llamacpp:prompt_seconds_total counter seconds spent on reading
llamacpp:tokens_predicted_total counter tokens written
llamacpp:tokens_predicted_seconds_total counter seconds spent on writing
llamacpp:prompt_tokens_seconds gauge tokens read a second
llamacpp:predicted_tokens_seconds gauge tokens written a second
llamacpp:kv_cache_usage_ratio gauge share of the key-value cache in use, 1 = full
llamacpp:kv_cache_tokens gauge tokens in it
llamacpp:requests_processing gauge requests that are worked on
llamacpp:requests_deferred gauge requests that wait
llamacpp:n_decode_total counter calls of the decoder
llamacpp:n_busy_slots_per_decode gauge slots in use at a call
""",
    ),
    **_all(
        "DCGM",
        """
DCGM_FI_DEV_GPU_UTIL gauge percent of the time that a kernel ran
DCGM_FI_DEV_MEM_COPY_UTIL gauge percent of the time that memory was copied
DCGM_FI_DEV_FB_USED gauge MiB of memory in use
DCGM_FI_DEV_FB_FREE gauge MiB of memory free
DCGM_FI_DEV_POWER_USAGE gauge watts
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION counter millijoules since the driver was loaded
DCGM_FI_DEV_GPU_TEMP gauge degrees Celsius
DCGM_FI_DEV_MEMORY_TEMP gauge degrees Celsius of the memory
DCGM_FI_DEV_SM_CLOCK gauge MHz
DCGM_FI_DEV_MEM_CLOCK gauge MHz of the memory
DCGM_FI_DEV_XID_ERRORS gauge the number of the last error
DCGM_FI_DEV_PCIE_REPLAY_COUNTER counter packets sent again
DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL counter bytes between GPUs
DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS counter rows of memory that are lost
DCGM_FI_PROF_GR_ENGINE_ACTIVE gauge share of the time that anything ran
DCGM_FI_PROF_PIPE_TENSOR_ACTIVE gauge share of the time that tensor cores worked
DCGM_FI_PROF_DRAM_ACTIVE gauge share of the time that memory was busy
DCGM_FI_PROF_PCIE_TX_BYTES counter bytes sent to the host
DCGM_FI_PROF_PCIE_RX_BYTES counter bytes received from the host
""",
    ),
    **_all(
        "node exporter",
        """
node_cpu_seconds_total counter seconds by cpu and mode
node_load1 gauge the load average of a minute
node_memory_MemAvailable_bytes gauge memory that can be had
node_memory_MemTotal_bytes gauge memory in all
node_filesystem_avail_bytes gauge room on a file system
node_filesystem_readonly gauge 1 = it went read-only
node_disk_read_bytes_total counter bytes read, by device
node_disk_written_bytes_total counter bytes written, by device
node_network_receive_bytes_total counter bytes received, by device
node_network_transmit_bytes_total counter bytes sent, by device
node_procs_running gauge processes that can run
node_procs_blocked gauge processes that wait for a disk
node_vmstat_oom_kill counter processes killed for want of memory
node_filefd_allocated gauge open files
node_context_switches_total counter switches between processes
node_timex_offset_seconds gauge how far the clock is off
node_boot_time_seconds gauge when it was started
""",
    ),
}


def meaning(name: str) -> str:
    """Say what a metric means, by its own name or a derived one; empty: not known."""
    base = name.partition(":new")[0] if name.endswith(":new") else name
    for suffix in ("_count", "_sum", "_bucket", ":p50", ":p99", ""):
        known = KNOWN.get(base.removesuffix(suffix)) if suffix else KNOWN.get(base)
        if known is not None:
            return f"{known.of}: {known.means}"
    return ""


def nearest(name: str) -> str:
    """Give the known name that was probably meant; empty: none is near."""
    near = difflib.get_close_matches(name, KNOWN, 1, 0.8)
    return near[0] if near and near[0] != name else ""
