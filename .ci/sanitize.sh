#!/usr/bin/env bash
# Build the native library with sanitizers and tests/native/sanitize.cpp, and run that.
#     .ci/sanitize.sh [address,undefined | thread]
set -euo pipefail
cd "$(dirname "$0")/.."
kind=${1:-address,undefined}
command -v "${CXX:-g++}" >/dev/null || { echo "No C++ compiler: skipped"; exit 0; }
folder=build/sanitize-${kind%%,*}
sources=seqkeras/native/src
flags="-std=c++17 -O1 -g -fsanitize=$kind -fno-sanitize-recover=all -ffp-contract=fast"
flags="$flags -Wall -Wextra -Wno-psabi -pthread -I$sources"
compile() { # NAME SOURCE FLAG...
    local name=$1 source=$2
    shift 2
    ${CXX:-g++} $flags "$@" -c "$source" -o "$folder/$name.o" &
}

mkdir -p "$folder"
rm -f "$folder"/*.o
case $(uname -m) in
x86_64)
    isas="avx512 avx2 sse2"
    compile avx512 $sources/isa.cpp -DSQK_ISA=avx512 -DSQK_LANES=16 \
        -mavx512f -mavx512dq -mavx512vl -mavx512bw -mavx2 -mfma
    compile avx2 $sources/isa.cpp -DSQK_ISA=avx2 -DSQK_LANES=8 -mavx2 -mfma
    compile sse2 $sources/isa.cpp -DSQK_ISA=sse2 -DSQK_LANES=4
    ;;
*)
    isas="generic"
    compile generic $sources/isa.cpp -DSQK_ISA=generic -DSQK_LANES=4
    ;;
esac
list=$(printf "X(%s) " $isas)
compile api $sources/api.cpp "-DSQK_ISAS=$list"
compile memory $sources/memory.cpp
compile pool $sources/pool.cpp
compile main tests/native/sanitize.cpp
for job in $(jobs -p); do wait "$job"; done
${CXX:-g++} $flags "$folder"/*.o -o "$folder/run"
UBSAN_OPTIONS=print_stacktrace=1 "$folder/run"
