#!/bin/bash
# How long a program that writes 4 KiB at a time waits, with and without a snapshot of 1 GB that is
# being recorded. ROUNDS times: three writers at once, one of a file of its own, one that overwrites
# what the snapshot holds, one of a file beside the mount (what the disk itself does); first with
# nothing to be recorded, then from the snapshot's instant until it is recorded.
#
# tests/soak/stall.sh ROUNDS [MEGABYTES [PROGRAM [FOLDER]]]
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/parts.sh

rounds=${1:?usage: tests/soak/stall.sh ROUNDS [MEGABYTES [PROGRAM [FOLDER]]]}
megabytes=${2:-1024}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/rewindfs
program=${3:-${CARGO_TARGET_DIR:-$cache/target}/release/rewindfs}
seed=${REWINDFS_SEED:-$RANDOM}
say "stall: $rounds rounds, $megabytes MB, REWINDFS_SEED=$seed"

work=$(mktemp -d "${4:-${TMPDIR:-/var/tmp}}/stall.XXXXXX")
clean_up() {
    touch "$work/stop"
    take_off_below "$work"
    wait
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT

# Writes until the file `stop` is there; then prints how long the writes took.
writer() { # what, file, bytes of it that are written over
    perl -MTime::HiRes=time -MFcntl -e '
        my ($what, $path, $size, $seed, $stop) = @ARGV;
        srand($seed);
        sysopen(my $file, $path, O_WRONLY | O_CREAT) or die "$path: $!";
        my ($piece, @times) = (chr(65 + int rand 26) x 4096);
        while (@times < 200 || !-e $stop) {
            sysseek($file, 4096 * int(rand($size / 4096)), 0);
            my $began = time;
            syswrite($file, $piece) == 4096 or die "$path: $!";
            push @times, 1000 * (time - $began);
            select(undef, undef, undef, 0.0005);
        }
        @times = sort { $a <=> $b } @times;
        printf "  %-26s %7d writes   p50 %8.3f ms   p99 %8.3f ms   max %8.3f ms\n", $what,
            scalar @times, $times[@times * 0.5], $times[@times * 0.99], $times[-1];
    ' "$1" "$2" "$3" "$seed" "$work/stop"
}

writers() {
    rm -f "$work/stop"
    writer "a file of its own" "$work/dir/own" 1048576 &
    writer "what is to be recorded" "$work/dir/data/1" $((megabytes * 1048576 / 16)) &
    writer "beside the mount" "$work/beside" 1048576 &
}

# Nothing that the store has already, and nothing that can be compressed.
new_data() {
    local n
    for n in $(seq 16); do
        head -c $((megabytes * 1048576 / 16)) /dev/urandom > "$work/dir/data/$n"
    done
}

mkdir "$work/dir"
bounded 60 "$program" mount "$work/dir" -o interval=1h,settle=1h
bounded 60 "$program" sync "$work/dir"
mkdir "$work/dir/data"
for round in $(seq "$rounds"); do
    new_data
    bounded 600 "$program" sync "$work/dir"
    say "round $round, nothing is being recorded:"
    writers
    sleep 5
    touch "$work/stop"
    wait
    new_data
    writers
    began=$EPOCHREALTIME
    bounded 600 "$program" snapshot "$work/dir" "s$round" > /dev/null
    ended=$EPOCHREALTIME
    touch "$work/stop"
    wait
    say "round $round, during a snapshot of $megabytes MB, which took" \
        "$(((${ended/./} - ${began/./}) / 1000)) ms"
    bounded 60 "$program" delete "$work/dir" "s$round"
done
say "what operations waited for, by powers of two of milliseconds:"
bounded 60 "$program" status --json "$work/dir" | grep -o '"waits":{[^}]*}'
bounded 300 "$program" umount "$work/dir"
