"""GGUF by llama.cpp. Where to look:

- reading a file: `reader` (bytes), `split` (parts), `header` (what it says), `soundness` (what would abort llama.cpp),
  `tokenizer`, `vocabulary_only` (the engine's own vocabulary)
- running: `runtime`, `loading`, `batch`, `grouping` (who may share a decode), `library`, `info`, `adapter_check` (LoRA)
- converting: `convert`, `tensor_data`, `vocabulary` with `vocabulary_sentencepiece`, `_bpe`, `_plamo` and `_record`;
  `adapter` (LoRA), `plamo_cure` (other people's PLaMo 2 files)
- importance matrix: `imatrix`, `imatrix_file`, `imatrix_child`, `ggml_tensor`
- quantizing: `quantize`, `quantize_plan`, `quantize_log`, `types`, `imatrix_transfer`, `quantize_child`
- choosing types for a size: `tensor_groups`, `rounding`, `rounding_child`, `ggml_rows`, `cache_size`
- files of the full shape without weights: `full_shape`, `random_blocks`

Modules that end in `_child` are processes of their own, which `child` starts: llama.cpp may abort them.
"""
