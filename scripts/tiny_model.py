"""tiny_model.py FILE: writes a random language model of half a megabyte, for a real llama.cpp.

It says nothing sensible, at some thousand tokens a second, and never wants to end by itself: the
first number of each token's vector is the same large one and reaches the last layer nearly
unchanged, so that the output's first column is a bias; by it words are likely, and what ends a
text or is no text (bytes, control tokens) is not. The same file comes out each time.
"""

from __future__ import annotations

import sys
from typing import Any

import gguf
import numpy as np

WIDTH, HEADS, HIDDEN, LAYERS = 64, 4, 128, 2
CONTEXT = 131072
SPECIAL = ("<unk>", "<s>", "</s>")
WORDS = [f"▁{a}{b}" for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "am", "ik", "ol")]
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + ' ' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)
STEADY = 4.0
UNLIKELY = -8.0


def vocabulary(writer: Any) -> int:  # noqa: ANN401 - gguf has no types that are worth naming
    """Write the tokens; give how many there are."""
    kinds = gguf.TokenType
    tokens = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *WORDS]
    types = [kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL]
    types += [kinds.BYTE] * 256 + [kinds.NORMAL] * len(WORDS)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types([int(each) for each in types])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    writer.add_chat_template(TEMPLATE)
    return len(tokens)


def weights(writer: Any, count: int) -> None:  # noqa: ANN401
    """Write the tensors, all of them random but for the column that serves as a bias."""
    chance = np.random.default_rng(7)

    def some(*shape: int, scale: float) -> Any:  # noqa: ANN401
        return (chance.standard_normal(shape) * scale).astype(np.float32)

    embedding = some(count, WIDTH, scale=0.5)
    embedding[:, 0] = STEADY
    output = some(count, WIDTH, scale=0.3)
    output[:, 0] = 0.0
    output[: len(SPECIAL) + 256, 0] = UNLIKELY
    writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    writer.add_tensor("output.weight", output)
    for layer in range(LAYERS):
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", np.ones(WIDTH, np.float32))
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", some(WIDTH, WIDTH, scale=0.05))
        for name in ("ffn_gate", "ffn_up"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", some(HIDDEN, WIDTH, scale=0.05))
        writer.add_tensor(f"blk.{layer}.ffn_down.weight", some(WIDTH, HIDDEN, scale=0.05))


def main() -> int:
    """Write the file."""
    writer = gguf.GGUFWriter(sys.argv[1], "llama")
    writer.add_name("tiny and random")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    count = vocabulary(writer)
    writer.add_vocab_size(count)
    weights(writer, count)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
