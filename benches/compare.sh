#!/bin/bash
# Measures rewindfs and what people would use instead of it side by side in one run, and says of each
# target whether it is met. A load is done on one side after the other, several rounds, each round
# beginning with another side; what is compared is the ratio within a round. Run it as root.
#
# benches/compare.sh [--quick | --smoke] [--keep FOLDER] [--write] [SECTION...]
# benches/compare.sh --merge FOLDER [--write]
#   --quick  smaller trees and fewer rounds: ends within 15 minutes; without it, about 70
#   --smoke  50 files, one round: whether the harness works, nothing about speed
#   --keep   puts the results of each section into FOLDER when it ends, in place of older ones
#   --merge  measures nothing: the table is made of the results in FOLDER
#   --write  also puts the result into docs/performance.md
# Sections, all without one: live (one load after the other), long (one that goes on), busy (work
# beside an import and a prune), snapshot (and browse), states (many checkpoints), import, restore,
# store.
#
# TMPDIR    where the work goes (default /var/tmp; up to 15 GiB, 40 for the full run)
# REWINDFS  the program; RESTIC, BORG, RUSTIC, BINDFS, PASSTHROUGH_LL: those of the peers
# COMPARE_TARGETS  further targets, a line each, as in benches/compare/targets
# COMPARE_COMMIT   what the program was built from, if not from what is checked out here
# COMPARE_VERSIONS a folder of real versions of something, for the section store
# COMPARE_SECONDS  how long all sections together may take; what does not fit in is left out, and said
#
# Exit code: 0 every target that could be judged is met, 1 one is missed or something failed.
set -Eeuo pipefail
cd "$(dirname "$0")/.."
source tests/parts.sh
for file in data peers measure live long busy past snapshot states report; do
    source "benches/compare/$file.sh"
done

usage() {
    sed -n '2,27s/^# \{0,1\}//p' benches/compare.sh >&2
    exit 2
}

mode=full
write=
keep=
merge=
all_sections=(live long busy snapshot states import restore store)
sections=()
command="benches/compare.sh $*"
while [ $# -gt 0 ]; do
    case $1 in
    --quick) mode=quick ;;
    --smoke) mode=smoke ;;
    --write) write=1 ;;
    --keep | --merge)
        [ -n "${2:-}" ] || usage
        declare "${1#--}=$(realpath -m "$2")"
        shift
        ;;
    *)
        [[ " ${all_sections[*]} " == *" $1 "* ]] || usage
        sections+=("$1")
        ;;
    esac
    shift
done
[ -z "$merge" ] || [ ${#sections[@]}$keep = 0 ] || usage
[ ${#sections[@]} -gt 0 ] || sections=("${all_sections[@]}")

# How much of everything. `seconds`: nothing is begun after them; each section has its share.
declare -A share
case $mode in
full)
    rounds=5 slow_rounds=3 files=2500 big=100000 versions=30 megabytes=256 gigabytes=60
    long=ten_minutes long_seconds=600 states=10000 state_files=100000 asked=200 busy_files=20000
    seconds=4100
    share=([live]=850 [long]=1320 [busy]=120 [snapshot]=720 [states]=450 [import]=160 [restore]=180 [store]=200)
    ;;
quick)
    rounds=4 slow_rounds=3 files=2500 big=20000 versions=10 megabytes=128 gigabytes=16
    long=one_minute long_seconds=60 states=1000 state_files=10000 asked=200 busy_files=10000
    seconds=790
    share=([live]=250 [long]=160 [busy]=50 [snapshot]=120 [states]=60 [import]=50 [restore]=50 [store]=50)
    ;;
smoke)
    rounds=1 slow_rounds=1 files=50 big=60 versions=2 megabytes=1 gigabytes=1
    long=five_seconds long_seconds=5 states=12 state_files=200 asked=10 busy_files=2000
    seconds=600
    share=([live]=4 [long]=3 [busy]=1 [snapshot]=1 [states]=1 [import]=1 [restore]=1 [store]=1)
    ;;
esac
seconds=${COMPARE_SECONDS:-$seconds}
longest=$([ $mode = full ] && echo 3600 || echo 120)

work=$(mktemp -d "${TMPDIR:-/var/tmp}/rewindfs-compare.XXXXXX")
results=$work/results
chmod 755 "$work"
mkdir "$results"
tell() {
    report > "$work/report.md"
    cat "$work/report.md"
}
clean_up() {
    trap "" INT TERM HUP
    # What was measured before something failed is told as well.
    [ -e "$work/report.md" ] || [ -z "$(ls "$results")" ] || tell || true
    take_off_below "$work"
    for _ in $(seq 50); do
        grep -qs "$work" /proc/self/mountinfo || losetup -l -n -O BACK-FILE | grep -q "^$work" || break
        sleep 0.1
    done
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT
trap 'say "FAILED: $BASH_COMMAND (${BASH_SOURCE[0]}:$LINENO)" >&2' ERR
trap 'exit 130' INT TERM HUP

if [ -n "$merge" ]; then
    cp "$merge"/*.result "$results" 2> /dev/null || fail "$merge has no results: benches/compare.sh --keep $merge"
    tell
    [ -z "$write" ] || write_document
    ! grep -q '| missed' "$work/report.md"
    exit
fi

[ "$(id -u)" = 0 ] || fail "run it as root: it mounts loop devices"
[ -c /dev/fuse ] || fail "there is no /dev/fuse: modprobe fuse"
program=${REWINDFS:-${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/rewindfs/target}/release/rewindfs}
[ -x "$program" ] || fail "$program is not there: cargo build --release, or REWINDFS=PATH"
program=$(realpath "$program")
export LC_ALL=C PATH=$PATH:${XDG_CACHE_HOME:-$HOME/.cache}/rewindfs/tools/bin:/usr/sbin:/sbin
unset REWINDFS_STORE REWINDFS_SEED
ulimit -n "$(ulimit -Hn)"
mountpoint -q /sys/fs/fuse/connections || mount -t fusectl none /sys/fs/fuse/connections 2> /dev/null || true


past=$work/past
skipped=$work/skipped
figures=$work/figures
: > "$skipped"
troubles=0
find_peers
take_kept
make_data
[ $mode != quick ] || for part in ten_minutes rewindfs_100000 rewindfs_1000000 rewindfs_10000; do
    leave_out $part "the full run measures it"
done
cp "$skipped" "$work/always-skipped"
shares=0
for section in "${sections[@]}"; do shares=$((shares + share[$section])); done
until=$SECONDS
seconds=$((seconds - SECONDS))
for section in "${sections[@]}"; do
    say "== $section"
    until=$((until + seconds * share[$section] / shares))
    begin_result "$section"
    "section_$section"
    end_result "$section"
done

tell
[ -z "$write" ] || write_document
say "took $SECONDS s"
[ $troubles = 0 ] || say "$troubles loads failed: see above"
[ $troubles = 0 ] && ! grep -q '| missed' "$work/report.md"
