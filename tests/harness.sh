#!/bin/bash
# The harness of the measurements works: it prints its tables, a target that cannot be met makes it
# end with 1, a peer that is not there is skipped, and however it ends nothing stays behind.
# usage: tests/harness.sh PROGRAM TEMPORARY-FOLDER
set -euo pipefail
cd "$(dirname "$0")/.."
source tests/parts.sh

folder=$2/harness
mkdir -p "$folder"
export REWINDFS=$1 TMPDIR=$folder RESTIC=$folder/no-restic BORG=$folder/no-borg RUSTIC=$folder/no-rustic

smoke() { # expected exit code, targets, sections...
    local code=0 expected=$1 targets=$2
    shift 2
    COMPARE_TARGETS=$targets timeout 120 benches/compare.sh --smoke "$@" > "$folder.log" 2>&1 || code=$?
    [ $code = "$expected" ] || { cat "$folder.log"; fail "compare.sh --smoke $* ended with $code, not with $expected"; }
    nothing_left
}
nothing_left() {
    ! grep -q " $folder/" /proc/self/mountinfo || fail "something is still mounted: $(grep " $folder/" /proc/self/mountinfo)"
    ! losetup -l -n -O BACK-FILE | grep -q "^$folder/" || fail "a loop device is left"
    [ -z "$(ls "$folder")" ] || fail "left behind: $(ls "$folder")"
}
printed() {
    grep -qE -- "$1" "$folder.log" || { cat "$folder.log"; fail "compare.sh does not print: $1"; }
}

smoke 0 'easy|untar|safe|rewindfs|ext4|<=|1000000' live import
printed "^skipped: restic: $folder/no-restic is not there \(apt-get install restic\)\$"
printed '^\| easy \| rewindfs / ext4 \| [0-9.]+ \([0-9.]+-[0-9.]+\) \| <= 1000000 \| met \|$'
printed '^1 met, 0 missed, 0 skipped$'
printed '^\| untar \| [0-9.]+ / [0-9.]+ \|'
printed '^\| import \| rewindfs \| [0-9.]+ ms \|'

smoke 1 'impossible|untar|safe|rewindfs|ext4|<=|0
no such peer|untar|safe|restic|rewindfs|>=|0' live
printed '^\| impossible \| .* \| missed \|$'
printed '^\| no such peer \| .* \| skipped: no figure of restic \|$'
printed '^0 met, 1 missed, 1 skipped$'

# Stopped in the middle, when everything is mounted.
benches/compare.sh --smoke live > "$folder.log" 2>&1 &
harness=$!
for _ in $(seq 200); do
    ! grep -q " $folder/.*/live/writeback " /proc/self/mountinfo || break
    sleep 0.05
done
grep -q " $folder/.*/live/writeback " /proc/self/mountinfo || fail "it never mounted"
kill -TERM $harness
wait $harness || true
nothing_left
say "the harness measures, judges and cleans up"
