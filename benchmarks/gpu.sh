#!/usr/bin/env bash
# The full-shape benches of the claims on a bare NVIDIA machine without a network.
#
#   benchmarks/gpu.sh kit KIT [PYTHON_VERSION]   where packages can be fetched: put what the other machine lacks into KIT
#   benchmarks/gpu.sh build KIT                  there: install the packages, compile llama-cpp-python with CUDA
#   benchmarks/gpu.sh run KIT RESULTS [MODEL…]   there: make each model's file, bench it, remove it
#   benchmarks/gpu.sh check                      anywhere: the same steps on a processor, with two layers of each model
#
# KIT holds llama-cpp-python's sources without `.git`, documents and media (6 MB), and the wheels that a Python with
# PyTorch or CuPy does not bring along. nvcc, cmake, ninja and scikit-build-core are taken to be there. One file of at
# most 22 GB is on the disk at a time. Every step may be run again: what is done is not done twice, so a step that was
# cut off goes on. The models are those of `edgellm synth`: true shape and types, random weights.
#
# PYTHON: the interpreter (python3). ARCH: compute capability of the GPU (from nvidia-smi). MODELS: a folder on a disk
# with 60 GB (KIT/models).
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
llama=0.3.36 # as pyproject.toml pins it
# What edgellm needs at run time beyond what an image with PyTorch holds; the others come from the image.
wheels=(gguf llguidance pydantic pydantic-core annotated-types typing-inspection platformdirs diskcache httptools
  starlette uvicorn)
models=(llm-jp-4-8b llm-jp-4-32b-a3b llm-jp-4-32b-a3b-stock llm-jp-4-33b)

say() { echo "gpu.sh: $*" >&2; }
fail() {
  say "$*"
  exit 1
}

kit() {
  local kit=$1 version=${2:-$($python -c 'import sys; print("%d.%d" % sys.version_info[:2])')} place
  mkdir -p "$kit/wheels"
  kit=$(cd "$kit" && pwd)
  if [ ! -f "$kit/llama.tar.xz" ]; then
    place=$(mktemp -d)
    "$python" -m pip download --quiet --no-deps --no-binary llama-cpp-python --dest "$place" "llama-cpp-python==$llama"
    tar -xzf "$place"/*.tar.gz -C "$place"
    (cd "$place"/llama_cpp_python-$llama && rm -rf .git .github docs docker examples vendor/llama.cpp/{.git,.github} \
      vendor/llama.cpp/{docs,media,models,tests,examples,benches,ci,gguf-py,tools/ui,tools/server/public*,tools/server/webui*})
    tar -cJf "$kit/llama.tar.xz.part" -C "$place" "llama_cpp_python-$llama"
    mv "$kit/llama.tar.xz.part" "$kit/llama.tar.xz"
    rm -rf "$place"
  fi
  local -a platforms=()
  for glibc in 17 24 27 28 31 34; do platforms+=(--platform "manylinux_2_${glibc}_x86_64"); done
  "$python" -m pip download --quiet --no-deps --only-binary :all: --implementation cp --python-version "$version" \
    "${platforms[@]}" --platform manylinux2014_x86_64 --platform any --dest "$kit/wheels" "${wheels[@]}"
  du -sh "$kit" >&2
}

# One folder of packages in front of the image's own: nothing of the image is changed.
site() { echo "$1/site-$("$python" -c 'import sys; print("%d%d" % sys.version_info[:2])')"; }

build() {
  local kit arch place
  kit=$(cd "$1" && pwd)
  place=$(site "$kit")
  [ -f "$place/.ready" ] && return
  command -v nvcc >/dev/null || fail "nvcc is not on the PATH; install CUDA's compiler or add its folder to PATH"
  arch=${ARCH:-$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d .)}
  rm -rf "$place.part" && mkdir -p "$place.part"
  "$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$place.part" "$kit"/wheels/*.whl
  tar -xJf "$kit/llama.tar.xz" -C "$kit"
  CMAKE_ARGS="-DGGML_CUDA=on -DCMAKE_CUDA_ARCHITECTURES=$arch-real -DGGML_NATIVE=on -DLLAVA_BUILD=off" \
    CMAKE_BUILD_PARALLEL_LEVEL=$(nproc) "$python" -m pip install --no-index --no-deps --no-build-isolation \
    --no-compile --config-settings=build-dir="$kit/cmake" --target "$place.part" "$kit/llama_cpp_python-$llama"
  touch "$place.part/.ready" && mv "$place.part" "$place"
  say "built for compute capability $arch in $place"
}

edgellm() { PYTHONPATH="$place:$here/src" EDGELLM_OFFLINE=1 "$python" -m edgellm "$@"; }

# One model: its file, its benches at 512 and 8,192 tokens of context, and away with the file.
bench_model() {
  local name=$1 results=$2 folder=$3 parallel=1,8,32 file
  shift 3
  local -a how=()
  case $name in
  *-stock) how=(--stock) ;;
  *-33b) parallel=1,8 ;; # its KV cache takes 2 GB a sequence at 8,192 tokens
  esac
  file=$folder/$name.gguf
  if [ -f "$results/.$name.done" ]; then
    say "$name is done already"
    return
  fi
  [ -f "$file" ] || edgellm synth "${name%-stock}" "${how[@]}" "${layers[@]}" --out "$file"
  edgellm bench "$file" --prompt-tokens 512 --decode-tokens 128 --depth 0,7680 --parallel "$parallel" --repeat 5 \
    --save "$results" "$@"
  rm -f "$file"
  touch "$results/.$name.done"
}

run() {
  local kit=$1 results=$2 folder=${MODELS:-$1/models} place name
  shift 2
  place=$(site "$(cd "$kit" && pwd)")
  [ -f "$place/.ready" ] || fail "nothing is built in $kit; run benchmarks/gpu.sh build $kit first"
  mkdir -p "$results" "$folder"
  local -a layers=()
  edgellm doctor --json >"$results/doctor.json"
  for name in "${@:-${models[@]}}"; do bench_model "$name" "$results" "$folder" --flash-attention on --gpu-layers all; done
  edgellm claims --results "$results" >&2
}

# What a processor can show: that files are made, benched, saved and read by `claims`. Speeds here mean nothing.
check() {
  local results name place=$here/src
  folder=$(mktemp -d) # not local: it is removed when the script ends
  trap 'rm -rf "$folder"' EXIT
  results=$folder/results
  mkdir "$results"
  local -a layers=(--layers 1)
  for name in "${models[@]}"; do
    edgellm synth "${name%-stock}" $([[ $name == *-stock ]] && echo --stock) "${layers[@]}" --out "$folder/$name.gguf"
    edgellm bench "$folder/$name.gguf" --prompt-tokens 16 --decode-tokens 4 --depth 0,32 --parallel 1,2 --repeat 1 \
      --no-ceilings --save "$results"
    rm "$folder/$name.gguf"
  done
  edgellm claims --results "$results"
}

case ${1:-} in
kit | build | run | check) "$@" ;;
*) fail "the first word is kit, build, run or check; the head of this file explains them" ;;
esac
