#!/bin/sh
# Says in one sentence what is missing on this machine, with the command that brings it.
python="${1:-python3}"
say() {
    echo "edgellm: $1" >&2
    exit 1
}
command -v "$python" >/dev/null 2>&1 ||
    say "there is no $python; install Python 3.11 or newer (Debian, Ubuntu: sudo apt-get install python3 python3-venv; macOS: brew install python)"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    say "$("$python" --version) is too old; install Python 3.11 or newer and run make with PYTHON=python3.11"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    say "$python has no venv module; install it (Debian, Ubuntu: sudo apt-get install python3-venv)"
command -v c++ >/dev/null 2>&1 || command -v g++ >/dev/null 2>&1 || command -v clang++ >/dev/null 2>&1 ||
    say "there is no C++ compiler, which llama-cpp-python needs; install one (Debian, Ubuntu: sudo apt-get install g++; macOS: xcode-select --install)"
command -v cmake >/dev/null 2>&1 ||
    say "there is no cmake, which llama-cpp-python needs; install it (Debian, Ubuntu: sudo apt-get install cmake; macOS: brew install cmake)"
