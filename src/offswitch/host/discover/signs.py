"""By what an AI process is told from others: one table, which people may read and correct.

A sign is met by the name of the program or of the script that an interpreter runs (`python
/opt/bin/vllm`), by the module behind `-m`, by a word anywhere among the arguments, or by a library
that is mapped. The first that is met counts, so the particular stand above the general. These are
heuristics over what a process says of itself: who hides is not found by them, and who boasts is
listed without being what he says. Environments are never read: they hold secrets.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["GPU_DEVICES", "INTERPRETERS", "LIBRARIES", "SHARED_UNITS", "SIGNS", "Sign", "met"]


@dataclass(frozen=True, slots=True)
class Sign:
    """One kind of program."""

    name: str
    """Of the program; it begins the name of a target."""
    kind: str
    """What it is: `model-server`, `agent`, `mcp-server`, `training`, `ai`."""
    programs: tuple[str, ...] = ()
    """Names of the executable or script, without a folder or `.py`."""
    modules: tuple[str, ...] = ()
    """What follows `-m`; what lies below is meant, too."""
    words: tuple[str, ...] = ()
    """Regular expressions, one of which a whole argument matches."""


INTERPRETERS = re.compile(r"(?:python|pypy)[\d.]*|node|nodejs|bun|deno|npx|uvx|uv|tsx|npm exec|sh")
SHARED_UNITS = re.compile(
    r"(?:session-.*\.scope|user@.*\.service|init\.scope|(?:cron|crond|atd|anacron|ssh|sshd|ssh@.*"
    r"|dbus.*|systemd-.*|containerd|docker|podman|crio|getty@.*|serial-getty@.*|gdm.*|sddm|lightdm"
    r"|tmux.*|vte-spawn-.*|screen.*)\.(?:service|scope))"
)
"""Units that hold what people and other programs start: none of them is an AI system itself."""
GPU_DEVICES = ("/dev/nvidia", "/dev/kfd", "/dev/accel/", "/dev/neuron", "/dev/davinci")

_SERVER, _AGENT, _MCP, _TRAINING = "model-server", "agent", "mcp-server", "training"

SIGNS = (
    Sign("vllm", _SERVER, ("vllm",), ("vllm",)),
    Sign("sglang", _SERVER, ("sglang",), ("sglang",)),
    Sign("llama-server", _SERVER, ("llama-server", "llamafile"), ("llama_cpp.server",)),
    Sign("ollama", _SERVER, ("ollama",)),
    Sign("tgi", _SERVER, ("text-generation-launcher", "text-generation-router")),
    Sign("triton", _SERVER, ("tritonserver",)),
    Sign("tensorrt-llm", _SERVER, ("trtllm-serve",)),
    Sign("lmdeploy", _SERVER, ("lmdeploy",), ("lmdeploy",)),
    Sign("mlc-llm", _SERVER, ("mlc_llm",), ("mlc_llm",)),
    Sign("tabbyapi", _SERVER, ("tabby",)),
    Sign("koboldcpp", _SERVER, ("koboldcpp",)),
    Sign("localai", _SERVER, ("local-ai", "localai")),
    Sign("lm-studio", _SERVER, ("lms", "lm-studio", "llmster")),
    Sign("xinference", _SERVER, ("xinference", "xinference-local"), ("xinference",)),
    Sign("infinity", _SERVER, ("infinity_emb",)),
    Sign("whisper", _SERVER, ("whisper-server",)),
    Sign("comfyui", _SERVER, (), (), (r".*/ComfyUI/main\.py",)),
    Sign("litellm", _SERVER, ("litellm",), ("litellm",)),
    Sign(
        "mcp-server",
        _MCP,
        (),
        ("fastmcp", "mcp"),
        (
            r"(?:.*[/@_-])?mcp[-_]server(?:[-_@/.].*)?",
            r"(?:.*[/_-])?[a-z0-9]+[-_]mcp(?:\.py|\.js)?(?:@.*)?",
            r"@modelcontextprotocol/server-.*",
            r".*/node_modules/@modelcontextprotocol/server-.*",
        ),
    ),
    Sign("claude", _AGENT, ("claude",), (), (r".*/@anthropic-ai/claude-code/.*",)),
    Sign("codex", _AGENT, ("codex",), (), (r".*/@openai/codex/.*",)),
    Sign("gemini", _AGENT, ("gemini",), (), (r".*/@google/gemini-cli/.*",)),
    Sign("aider", _AGENT, ("aider",), ("aider",)),
    Sign("opencode", _AGENT, ("opencode",)),
    Sign("goose", _AGENT, ("goose", "goosed")),
    Sign("cursor-agent", _AGENT, ("cursor-agent",)),
    Sign("copilot", _AGENT, ("copilot",), (), (r".*/@github/copilot/.*",)),
    Sign("qwen", _AGENT, ("qwen",), (), (r".*/@qwen-code/.*",)),
    Sign("openhands", _AGENT, ("openhands",), ("openhands",)),
    Sign("open-interpreter", _AGENT, ("interpreter",), ("interpreter",)),
    Sign("autogpt", _AGENT, ("autogpt",), ("autogpt", "autogpt_platform")),
    Sign("crewai", _AGENT, ("crewai",), ("crewai",)),
    Sign("langgraph", _AGENT, ("langgraph",), ("langgraph_cli", "langgraph_api")),
    Sign(
        "torchrun", _TRAINING, ("torchrun",), ("torch.distributed.run", "torch.distributed.launch")
    ),
    Sign("accelerate", _TRAINING, ("accelerate",), ("accelerate.commands.launch",)),
    Sign("deepspeed", _TRAINING, ("deepspeed",), ("deepspeed.launcher",)),
    Sign("axolotl", _TRAINING, ("axolotl",), ("axolotl",)),
    Sign("llamafactory", _TRAINING, ("llamafactory-cli",), ("llamafactory",)),
)
"""The programs that we know."""

LIBRARIES = (
    ("torch", ("/libtorch_cpu.so", "/libtorch.so", "/libtorch_python.so")),
    ("tensorflow", ("/libtensorflow_framework.so", "/libtensorflow_cc.so")),
    ("jax", ("/jaxlib/", "/libjax_common.so")),
    ("llama.cpp", ("/libllama.so", "/libggml.so", "/libggml-base.so")),
    ("onnxruntime", ("/libonnxruntime.so", "/onnxruntime_pybind11_state")),
    ("transformers", ("/tokenizers/tokenizers.",)),
    ("cuda", ("/libcudart.so", "/libcuda.so", "/libcublas.so")),
)
"""Libraries that give a program away which bears none of these names, and parts of their paths."""


def met(argv: Sequence[str], comm: str = "") -> Sign | None:
    """Give the first sign that a command line meets; `comm` stands in for an empty one."""
    words = [word for word in argv if word] or [comm]
    named, module = _names(words)
    for sign in SIGNS:
        if named & set(sign.programs):
            return sign
        if module and any(f"{module}.".startswith(f"{each}.") for each in sign.modules):
            return sign
        if any(re.fullmatch(each, word) for each in sign.words for word in words[:_LOOKED_AT]):
            return sign
    return None


_LOOKED_AT = 24


def _names(words: Sequence[str]) -> tuple[set[str], str]:
    """Give what the program may be called, and its module."""
    first = _stem(words[0])
    if not INTERPRETERS.fullmatch(first):
        return {first}, ""
    module = ""
    for at, word in enumerate(words[1:], 1):
        if word == "-m" and at + 1 < len(words):
            module = words[at + 1]
            break
        if word == "-c":
            break
        if not word.startswith("-"):
            return {first, _stem(word)}, ""
    return {first}, module


def _stem(word: str) -> str:
    name = os.path.basename(word.split(" ", maxsplit=1)[0].rstrip(":"))
    return name.removesuffix(".py").removesuffix(".js").removesuffix(".mjs")
