#!/bin/bash
# The harness of the measurements works: it prints its tables, a target that cannot be met makes it
# end with 1, a peer that is not there is skipped, results of several runs come together, and however
# it ends nothing stays behind. With REWINDFS_QUICK: two of its sections, without it all.
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
    COMPARE_TARGETS=$targets timeout 200 benches/compare.sh --smoke "$@" > "$folder.log" 2>&1 || code=$?
    [ $code = "$expected" ] || { cat "$folder.log"; fail "compare.sh --smoke $* ended with $code, not with $expected"; }
    nothing_left
}
nothing_left() {
    # Daemons and loop devices go a moment after what was mounted.
    for _ in $(seq 300); do
        if ! grep -q " $folder/" /proc/self/mountinfo &&
            ! losetup -l -n -O BACK-FILE | grep -q "^$folder/" && [ -z "$(ls "$folder")" ]; then
            return
        fi
        sleep 0.1
    done
    ! grep -q " $folder/" /proc/self/mountinfo || fail "something is still mounted: $(grep " $folder/" /proc/self/mountinfo)"
    ! losetup -l -n -O BACK-FILE | grep -q "^$folder/" || fail "a loop device is left"
    [ -z "$(ls "$folder")" ] || fail "left behind: $(ls "$folder")"
}
printed() {
    grep -qE -- "$1" "$folder.log" || { cat "$folder.log"; fail "compare.sh does not print: $1"; }
}

# All of it goes through; that which takes longest not in the quick run of the tests.
sections=()
[ -z "${REWINDFS_QUICK:-}" ] || sections=(states import)
smoke 0 'easy|lookups|safe|rewindfs_12|rewindfs_10|<=|1000000' --keep "$folder.kept" "${sections[@]}"
printed "^skipped: restic: $folder/no-restic is not there \(apt-get install restic\)\$"
printed '^\| easy \| rewindfs_12 / rewindfs_10 \| [0-9.]+ \([0-9.]+-[0-9.]+\) \| <= 1000000 \| met \|$'
printed '^1 met, 0 missed, 0 skipped$'
printed '^\| import \| rewindfs \| [0-9.]+ ms \|'
if [ -z "${REWINDFS_QUICK:-}" ]; then
    printed '^\| untar \| [0-9.]+ / [0-9.]+ \|'
    printed '^\| rewindfs \| [0-9.]+ \([0-9.]+-[0-9.]+\) \| [0-9.]+ \| [0-9.]+ \| [0-9.]+ \| [0-9.]+ \|$'
    printed '^\| the last \| [0-9]+ \| [0-9.]+ \|$'
    for load in snapshot snapshot_of_0 snapshot_of_1000 browse browse_ls browse_cat checkpoints lookups restore; do
        printed "^\\| $load \\| [a-z_0-9]+ \\| [0-9.]+ ms \\|"
    done
    printed '^\| store \| rewindfs \| [0-9.]+ MiB \|'
fi

# What was kept is told again with what another run measured, but not with that of another commit.
smoke 1 'impossible|lookups|safe|rewindfs_12|rewindfs_10|<=|0
no such peer|lookups|safe|restic|rewindfs_10|>=|0' --keep "$folder.kept" import
printed '^\| impossible \| .* \| missed \|$'
printed '^\| no such peer \| .* \| skipped: .*no-restic is not there .* \|$'
printed '^0 met, 1 missed, 1 skipped$'
benches/compare.sh --merge "$folder.kept" > "$folder.log" 2>&1 || { cat "$folder.log"; fail "compare.sh --merge ended with $?"; }
printed '^\| lookups \| rewindfs_12 \| [0-9.]+ ms \|'
printed '^\| import \| rewindfs \| [0-9.]+ ms \|'
nothing_left
COMPARE_COMMIT=other smoke 1 '' --keep "$folder.kept" import
printed '^FAILED: .* is of another machine, commit or mode'
rm -r "$folder.kept"

# Stopped in the middle, when everything is mounted.
benches/compare.sh --smoke live > "$folder.log" 2>&1 &
harness=$!
mounted=
while kill -0 $harness 2> /dev/null; do
    if grep -q " $folder/.*/live/writeback " /proc/self/mountinfo; then
        mounted=1
        break
    fi
    sleep 0.05
done
[ -n "$mounted" ] || fail "it never mounted"
kill -TERM $harness
wait $harness || true
nothing_left
say "the harness measures, judges and cleans up"
