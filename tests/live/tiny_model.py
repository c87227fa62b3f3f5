"""A tiny Llama with random weights and a made-up tokenizer, for engines that run on a CPU; everything comes from `Shape` and a seed.

Needs numpy alone, and the `gguf` package where a GGUF file is asked for, so that the Python of any engine can run it:
``python tests/live/tiny_model.py hf FOLDER`` writes a Hugging Face checkpoint, ``... gguf FILE`` the same model for llama.cpp.
"""

import argparse
import itertools
import json
import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SPECIAL = ("<|begin|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>", "<|tool|>")
CHAT = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)  # fmt: skip


@dataclass(frozen=True)
class Shape:
    layers: int = 4
    hidden: int = 384
    heads: int = 6
    kv_heads: int = 2
    ffn: int = 1024
    vocabulary: int = 4096
    context_tokens: int = 8192

    @property
    def head(self) -> int:
        return self.hidden // self.heads


def tensors(shape: Shape, seed: int = 0) -> Iterator[tuple[str, np.ndarray]]:
    """Name, as Hugging Face calls it, and float32 values of each weight."""
    draw = np.random.default_rng(seed)
    kv = shape.kv_heads * shape.head
    matrices = {
        "self_attn.q_proj": (shape.hidden, shape.hidden),
        "self_attn.k_proj": (kv, shape.hidden),
        "self_attn.v_proj": (kv, shape.hidden),
        "self_attn.o_proj": (shape.hidden, shape.hidden),
        "mlp.gate_proj": (shape.ffn, shape.hidden),
        "mlp.up_proj": (shape.ffn, shape.hidden),
        "mlp.down_proj": (shape.hidden, shape.ffn),
    }

    def drawn(*size: int) -> np.ndarray:
        return draw.standard_normal(size, dtype=np.float32) * np.float32(0.02)

    yield "model.embed_tokens.weight", drawn(shape.vocabulary, shape.hidden)
    head = drawn(shape.vocabulary, shape.hidden)
    head[: len(SPECIAL) + 256] = 0  # never the likeliest token: marks and single bytes, which may stream as no text at all
    yield "lm_head.weight", head
    yield "model.norm.weight", np.ones(shape.hidden, np.float32)
    for layer in range(shape.layers):
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield f"model.layers.{layer}.{norm}.weight", np.ones(shape.hidden, np.float32)
        for name, size in matrices.items():
            yield f"model.layers.{layer}.{name}.weight", drawn(*size)


def byte_letters() -> list[str]:
    """One printable letter for each of the 256 bytes, as byte-level BPE writes them."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


def vocabulary(size: int) -> tuple[list[str], list[tuple[str, str]]]:
    """Tokens in the order of their ids, and the merges that make the longer ones: ``ab``, then `` ab`` with its space, then ``abcd``."""
    pairs = list(itertools.product(string.ascii_lowercase, repeat=2))
    space = byte_letters()[ord(" ")]
    merges = pairs + [(space, a + b) for a, b in pairs] + [(a + b, c + d) for (a, b), (c, d) in itertools.product(pairs, pairs[::7])]
    tokens = [*SPECIAL, *byte_letters()]
    merges = merges[: size - len(tokens)]
    return tokens + [a + b for a, b in merges], merges


def tokenizer(size: int) -> dict[str, Any]:
    """What ``tokenizer.json`` holds."""
    tokens, merges = vocabulary(size)
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    bpe: dict[str, Any] = dict.fromkeys(("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"))
    bpe |= {"type": "BPE", "fuse_unk": False, "byte_fallback": False, "ignore_merges": False}
    return {
        "version": "1.0",
        "added_tokens": [{"id": i, "content": token} | flags for i, token in enumerate(SPECIAL)],
        "pre_tokenizer": byte_level,
        "decoder": byte_level,
        "model": bpe | {"vocab": {token: i for i, token in enumerate(tokens)}, "merges": [list(pair) for pair in merges]},
    }


def config(shape: Shape) -> dict[str, Any]:
    """What ``config.json`` holds."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.ffn,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head,
        "max_position_embeddings": shape.context_tokens,
        "vocab_size": shape.vocabulary,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "bos_token_id": 0,
        "eos_token_id": 1,
    }


def write_safetensors(path: Path, shape: Shape) -> None:
    header, data, at = {}, [], 0
    for name, values in tensors(shape):
        short = (values.view(np.uint32) >> 16).astype(np.uint16)  # bfloat16: the upper half of a float32
        header[name] = {"dtype": "BF16", "shape": list(values.shape), "data_offsets": [at, at + short.nbytes]}
        data.append(short)
        at += short.nbytes
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for short in data:
            file.write(short.tobytes())


def write_hf(folder: Path, shape: Shape) -> None:
    """A checkpoint as vLLM and SGLang read it."""
    folder.mkdir(parents=True, exist_ok=True)
    tokens = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": shape.context_tokens, "chat_template": CHAT}
    for name, value in (
        ("config.json", config(shape)),
        ("tokenizer.json", tokenizer(shape.vocabulary)),
        ("tokenizer_config.json", tokens | {"bos_token": SPECIAL[0], "eos_token": SPECIAL[1]}),
    ):
        (folder / name).write_text(json.dumps(value), encoding="utf-8")
    write_safetensors(folder / "model.safetensors", shape)


def gguf_name(name: str) -> str:
    """llama.cpp's name of a weight."""
    whole = {"model.embed_tokens": "token_embd", "lm_head": "output", "model.norm": "output_norm"}
    parts = {
        "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v",
        "o_proj": "attn_output", "gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down",
    }  # fmt: skip
    stem = name.removesuffix(".weight")
    return f"{whole[stem]}.weight" if stem in whole else f"blk.{stem.split('.')[2]}.{parts[stem.split('.')[-1]]}.weight"


def write_gguf(path: Path, shape: Shape) -> None:
    """The same model in one file, as llama.cpp reads it: matrices in float16, norms in float32."""
    import gguf

    tokens, merges = vocabulary(shape.vocabulary)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_context_length(shape.context_tokens)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.ffn)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_dimension_count(shape.head)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if token in SPECIAL else gguf.TokenType.NORMAL for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT)
    for name, values in tensors(shape):
        writer.add_tensor(gguf_name(name), values if values.ndim == 1 else values.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a tiny Llama with random weights.")
    parser.add_argument("format", choices=("hf", "gguf"))
    parser.add_argument("out", type=Path, help="folder of the checkpoint, or the GGUF file")
    for name, value in vars(Shape()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value)
    given = vars(parser.parse_args())
    form, out = given.pop("format"), given.pop("out")
    (write_hf if form == "hf" else write_gguf)(out, Shape(**given))


if __name__ == "__main__":
    main()
