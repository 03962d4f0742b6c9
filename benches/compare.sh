#!/bin/bash
# Measures rewindfs and what people would use instead of it side by side in one run, and says of each
# target whether it is met. A load is done on one side after the other, several rounds, each round
# beginning with another side; what is compared is the ratio within a round. Run it as root.
#
# benches/compare.sh [--quick | --smoke] [--write] [SECTION...]
#   --quick  smaller trees and fewer rounds: ends within 15 minutes
#   --smoke  50 files, one round: whether the harness works, nothing about speed
#   --write  also puts the result into docs/performance.md
# Sections: live snapshot import restore store; without one: all.
#
# TMPDIR    where the work goes (default /var/tmp; up to 10 GiB, 40 for the full run)
# REWINDFS  the program; RESTIC, BORG, RUSTIC, BINDFS, PASSTHROUGH_LL: those of the peers
# COMPARE_TARGETS  further targets, a line each, as in benches/compare/targets
# COMPARE_COMMIT   what the program was built from, if not from what is checked out here
# COMPARE_VERSIONS a folder of real versions of something, for the section store
#
# Exit code: 0 every target that could be judged is met, 1 one is missed or something failed.
set -Eeuo pipefail
cd "$(dirname "$0")/.."
source tests/parts.sh
for file in data peers measure live past report; do
    source "benches/compare/$file.sh"
done

usage() {
    sed -n '2,20s/^# \{0,1\}//p' benches/compare.sh >&2
    exit 2
}

mode=full
write=
sections=()
command="benches/compare.sh $*"
while [ $# -gt 0 ]; do
    case $1 in
    --quick) mode=quick ;;
    --smoke) mode=smoke ;;
    --write) write=1 ;;
    live | snapshot | import | restore | store) sections+=("$1") ;;
    *) usage ;;
    esac
    shift
done
if [ ${#sections[@]} = 0 ]; then
    sections=(live snapshot import restore store)
    [ $mode != smoke ] || sections=(live import restore)
fi

# How much of everything. `seconds`: nothing is begun after them; each section has its share.
case $mode in
full) rounds=9 slow_rounds=5 files=2500 big=100000 versions=30 megabytes=512 seconds=14400 gigabytes=60 ;;
quick) rounds=4 slow_rounds=3 files=2500 big=20000 versions=10 megabytes=128 seconds=780 gigabytes=16 ;;
smoke) rounds=1 slow_rounds=1 files=50 big=60 versions=2 megabytes=1 seconds=60 gigabytes=1 ;;
esac
longest=$([ $mode = full ] && echo 3600 || echo 120)

[ "$(id -u)" = 0 ] || fail "run it as root: it mounts loop devices"
[ -c /dev/fuse ] || fail "there is no /dev/fuse: modprobe fuse"
program=${REWINDFS:-${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/rewindfs/target}/release/rewindfs}
[ -x "$program" ] || fail "$program is not there: cargo build --release, or REWINDFS=PATH"
program=$(realpath "$program")
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
unset REWINDFS_STORE REWINDFS_SEED
ulimit -n "$(ulimit -Hn)"
mountpoint -q /sys/fs/fuse/connections || mount -t fusectl none /sys/fs/fuse/connections 2> /dev/null || true

work=$(mktemp -d "${TMPDIR:-/var/tmp}/rewindfs-compare.XXXXXX")
figures=$work/figures
chmod 755 "$work"
tell() {
    report > "$work/report.md"
    cat "$work/report.md"
}
clean_up() {
    trap "" INT TERM HUP
    # What was measured before something failed is told as well.
    [ -e "$work/report.md" ] || [ ! -s "$figures" ] || tell || true
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

past=$work/past
skipped=$work/skipped
: > "$figures"
: > "$skipped"
troubles=0
load_at_start=$(cut -d' ' -f1 /proc/loadavg)

make_data
find_peers
declare -A share=([live]=55 [snapshot]=20 [import]=8 [restore]=8 [store]=9)
shares=0
for section in "${sections[@]}"; do shares=$((shares + share[$section])); done
until=0
for section in "${sections[@]}"; do
    say "== $section"
    until=$((until + seconds * share[$section] / shares))
    "section_$section"
done

tell
[ -z "$write" ] || write_document
say "took $SECONDS s"
[ $troubles = 0 ] || say "$troubles loads failed: see above"
[ $troubles = 0 ] && ! grep -q '| missed' "$work/report.md"
