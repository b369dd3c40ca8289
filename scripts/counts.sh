#!/usr/bin/env bash
# Counts what a sample in real time costs: system calls, of which more blocks may not make more, and instructions, which
# may not be 5 % more than benches/instructions.txt says. Times would say less on a machine that others use.
#
#   scripts/counts.sh            checks; needs strace and valgrind, and the example `real_time` built with --release
#   scripts/counts.sh --update   writes benches/instructions.txt anew
#
# Valgrind has vectors of 256 bits at most, so these are the instructions of a processor with AVX2. Another compiler
# makes other instructions: they are held against the file only where it was written with the same one.
set -euo pipefail
cd "$(dirname "$0")/.."

program=${CARGO_TARGET_DIR:-target}/release/examples/real_time
kept=benches/instructions.txt
block=64

calls() { strace -f -qq -o "$trace" "$program" --blocks "$1" --block $block >/dev/null && wc -l <"$trace"; }

instructions() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" --cell "$1" --hidden "$2" --blocks "$3" \
        --block $block 2>&1 >/dev/null | sed -n 's/.*Collected : //p'
}

trace=$(mktemp)
trap 'rm -f "$trace"' EXIT
few=$(calls 100)
many=$(calls 110)
echo "system calls with 100 and 110 blocks: $few, $many"
[ "$few" -gt 10 ] && [ "$few" = "$many" ] || { echo "more blocks are more system calls"; exit 1; }

compiler="$(rustc --version) $(uname -m)"
counted="# Instructions a sample of $program, blocks of $block, by scripts/counts.sh --update
# $compiler"
counted=${counted/"$program"/real_time}
for cell in elman lstm gru; do
    for hidden in 8 24 40 64; do
        few=$(instructions $cell $hidden 20)
        many=$(instructions $cell $hidden 120)
        counted+=$'\n'"$cell $hidden $(((many - few) / (100 * block)))"
    done
done
if [ "${1:-}" = --update ]; then
    echo "$counted" | tee "$kept"
    exit
fi
if ! grep -qxF "# $compiler" "$kept"; then
    echo "$counted"
    echo "counts.sh: $kept was written with another compiler, and is not held against this one ($compiler)"
    exit
fi
join -j 1 <(grep -v '^#' "$kept" | sed 's/ /-/' | sort) <(grep -v '^#' <<<"$counted" | sed 's/ /-/' | sort) |
    awk '{ worse = $3 > 1.05 * $2; bad += worse; print $1, $2, "->", $3, worse ? "more than 5 % more" : "" }
         END { if (NR != 12) { print "expected 12 rows, found", NR; exit 1 } exit bad > 0 }'
