#!/bin/sh
# No instruction set leaks: the object files of one keep to themselves, everything else is for any CPU, and the program
# runs on a CPU without AVX. Speaks TAP.
# Environment: ISOFLOP; the object files are looked for beside it.
. "$(dirname "$0")/lib.sh"
OBJ=$(dirname "$ISOFLOP")
# none NAME FILE: passes if the file is empty; its first lines are the reason if not.
none() { ok "$1" sh -c 'head -5 "$0"; [ ! -s "$0" ]' "$2"; }

[ "$(uname -m)" = x86_64 ] || { echo "ok 1 - x86 instruction sets # SKIP another architecture"; echo 1..1; exit 0; }
for tool in nm objdump; do
  command -v $tool >/dev/null || { echo "not ok 1 - $tool is missing (package binutils)"; echo 1..1; exit 1; }
done
command -v "$ISOFLOP" >/dev/null || { echo "not ok 1 - no $ISOFLOP"; echo 1..1; exit 1; }
sanitized() { nm "$OBJ/kernels/gemm_avx512.o" | grep -qE '__(asan|ubsan|tsan|gcov)'; }

# ---- What an object of one instruction set gives and takes. Anything else that it defines for all (an inline function
# of a header, say) might be the copy that the linker keeps for the rest of the program.
for isa in avx2 avx512 avx512bf16 avx512amx; do
  for o in "$OBJ"/kernels/*_$isa.o; do
    [ -e "$o" ] || continue
    nm -g --defined-only "$o" | grep -vE " [TD] [a-z0-9_]+_$isa\$" >"$T/gives"
    none "$(basename "$o") defines only *_$isa" "$T/gives"
    nm -u "$o" | awk '{print $2}' |
      grep -vE "^(tiles_$isa|log|sqrtf|memcpy|memset|_GLOBAL_OFFSET_TABLE_|__(asan|ubsan|tsan|gcov|stack).*)\$" >"$T/takes"
    none "$(basename "$o") calls only libm and memcpy" "$T/takes"
  done
done

# ---- Everything else: no register and no instruction that AVX brought.
for o in "$OBJ"/src/*.o "$OBJ"/kernels/*.o; do
  case $o in *_avx2.o|*_avx512.o|*_avx512bf16.o|*_avx512amx.o) continue ;; esac
  objdump -d --no-show-raw-insn "$o" | grep -E '%[yz]mm|[[:space:]]v[a-z0-9]+[[:space:]].*%(xmm|k[0-7])' |
    sed "s|^|$(basename "$o"): |"
done >"$T/leaks"
none "no other object has an AVX instruction" "$T/leaks"
ok "while objdump shows it in gemm_avx512.o" sh -c 'objdump -d "$0" | grep -q "%zmm"' "$OBJ/kernels/gemm_avx512.o"

# ---- Left to itself the program takes the widest table that this CPU can run.
can() { for flag; do grep -qw "$flag" /proc/cpuinfo || return 1; done; }
best=scalar
if can avx2 fma; then best=avx2; fi
if can avx512f avx512bw avx512dq avx512vl; then best=avx512; fi
if [ $best = avx512 ] && can amx_tile amx_bf16 avx512_bf16; then best=avx512amx; fi
ok "the kernels are $best" sh -c 'env -u KERNELS "$0" --version | grep -q "kernels $1 "' "$ISOFLOP" $best

# ---- An old CPU (2008: SSE4.2), emulated. OpenBLAS chooses for itself too, unless the environment says otherwise.
qemu=$(command -v qemu-x86_64 || command -v qemu-x86_64-static)
if [ -z "$qemu" ]; then skip "runs on a CPU without AVX" "no qemu-x86_64 (package qemu-user)"
elif sanitized; then skip "runs on a CPU without AVX" "a sanitizer's build"
else
  unset OPENBLAS_CORETYPE KERNELS
  old() { "$qemu" -cpu Nehalem-v1 "$@"; }
  says_scalar() { old "$ISOFLOP" --version | grep "kernels scalar"; }
  ok "--version on a CPU without AVX says scalar" says_scalar
  tiny() { "$@" train --set corpus=synthetic --set d_model=16 --set n_layers=1 --set n_heads=2 --set seq_len=16 \
    --set budget=0 --set tokens=1024 --set batch_tokens=32 --set eval_tokens=512 --set threads=1 --out "$out"; }
  out=$T/old; ok "trains on a CPU without AVX" tiny old "$ISOFLOP"
  out=$T/new; ok "trains here with the scalar kernels" tiny env KERNELS=scalar "$ISOFLOP"
  ok "with the same bytes as the scalar kernels here" cmp "$T/old/model.bin" "$T/new/model.bin"
fi
echo "1..$n"
