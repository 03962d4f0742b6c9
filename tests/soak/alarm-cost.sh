#!/bin/bash
# What the alarm costs those who work: files are overwritten, then removed, in rounds that have it on
# and off by turns. Prints for each the medians of the seconds that this took, and of the processor
# time that the daemon spent on it until all was recorded, and the ratio.
#   tests/soak/alarm-cost.sh [ROUNDS [FILES]]
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-5}
files=${2:-20000}
program=$PWD/${CARGO_TARGET_DIR:-target}/release/rewindfs
case ${CARGO_TARGET_DIR:-target} in /*) program=$CARGO_TARGET_DIR/release/rewindfs ;; esac
folder=$(mktemp -d "${REWINDFS_TEST_DIR:-/var/tmp}/rewindfs-alarm-cost-XXXXXX")
work=$folder/work
trap 'cd /; "$program" umount --force "$work" > /dev/null 2>&1 || true; rm -rf "$folder"' EXIT
mkdir "$work"
"$program" mount "$work" > /dev/null 2>&1
"$program" sync "$work"
daemon=$("$program" status "$work" --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["mounted"]["pid"])' || true)
[ -n "$daemon" ]

spent() { # ticks of the daemon so far
    awk '{ print $14 + $15 }' "/proc/$daemon/stat"
}
# In one process, as an actor that does it all.
write_all() {
    perl -e 'for $n (1..$ARGV[1]) { open(F, ">", "$ARGV[0]/f$n") or die; print F "$ARGV[2] $n\n" x 8; close F }' "$work/d" "$files" "$1"
}
unlink_all() {
    perl -e 'for $n (1..$ARGV[1]) { unlink "$ARGV[0]/f$n" or die }' "$work/d" "$files"
}
timed() { # alarm, what, command...
    local alarm=$1 what=$2 ticks began ended
    shift 2
    ticks=$(spent)
    began=$(date +%s.%N)
    "$@"
    ended=$(date +%s.%N)
    "$program" sync "$work"
    echo "$alarm $what $began $ended $ticks $(spent)" >> "$folder/times"
}
for round in $(seq "$rounds"); do
    # Which one comes first changes, too.
    order='1000 off'
    [ $((round % 2)) = 0 ] || order='off 1000'
    for alarm in $order; do
        "$program" policy "$work" --alarm "$alarm" > /dev/null
        mkdir "$work/d"
        write_all old
        "$program" sync "$work"
        sleep 2
        timed "$alarm" overwrite write_all new
        timed "$alarm" unlink unlink_all
        rmdir "$work/d"
        "$program" sync "$work"
    done
done
echo "$rounds rounds of $files files; $("$program" list "$work" --log | grep -c 'alarm: ') alarms"
python3 - "$folder/times" << 'END'
import statistics, sys
seconds, ticks = {}, {}
for line in open(sys.argv[1]):
    alarm, what, began, ended, before, after = line.split()
    seconds.setdefault((what, alarm), []).append(float(ended) - float(began))
    ticks.setdefault((what, alarm), []).append((int(after) - int(before)) / 100)
for what in ("overwrite", "unlink"):
    for name, all in (("seconds", seconds), ("the daemon's processor seconds", ticks)):
        on, off = (statistics.median(all[what, alarm]) for alarm in ("1000", "off"))
        pairs = [a / b for a, b in zip(all[what, "1000"], all[what, "off"]) if b]
        print(f"{what}: {name}: with {on:.2f}, without {off:.2f}, ratio {statistics.median(pairs):.2f}"
              f" ({min(pairs):.2f} to {max(pairs):.2f})")
END
