#!/bin/bash
# Large numbers on a file system of its own: a tree of FILES files imported, found, read; then one
# directory of FILES entries made, listed, looked at and removed, also in a snapshot; then SNAPSHOTS
# snapshots. Prints the daemon's memory (peak and now) and the seconds of each step. Fails where an
# operation fails, or the daemon's memory goes beyond MIB.
#   tests/soak/limits.sh [FILES [SNAPSHOTS [MIB [DESCRIPTORS]]]]
set -euo pipefail
files=${1:-1000000} snapshots=${2:-10000} mib=${3:-300} descriptors=${4:-20000}
program=${REWINDFS:-${CARGO_TARGET_DIR:-$(dirname "$0")/../../target}/release/rewindfs}
export PATH=$PATH:/usr/sbin:/sbin
folder=$(mktemp -d "${TMPDIR:-/var/tmp}/rewindfs-limits.XXXXXXXX")
disk=$folder/disk
work=$disk/work
clean_up() {
    set +e
    timeout 60 "$program" umount --force "$work" > /dev/null 2>&1
    umount -l "$disk" 2> /dev/null
    rm -rf --one-file-system "$folder"
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

truncate -s 6G "$folder/image"
mkfs.ext4 -q -N $((files * 5 / 2)) -O inline_data "$folder/image"
mkdir "$disk"
mount -o loop "$folder/image" "$disk"
mkdir "$work"
ulimit -n "$descriptors"
echo "$files files, $snapshots snapshots, $descriptors descriptors"

make='my ($n, $per, $i) = ($ARGV[0], $ARGV[1], 0);
    for (my $d = 0; $i < $n; $d++) {
        my $dir = sprintf("%s/dir%05d", $ARGV[2], $d);
        mkdir $dir or die "$dir: $!";
        for (my $k = 0; $k < $per && $i < $n; $k++, $i++) {
            open my $f, ">", sprintf("%s/file-%07d", $dir, $i) or die "$!";
            print $f "content of $i\n" or die "$!";
            close $f or die "$!";
        }
    }'
began=$SECONDS
step() { # what was done since the last step
    local daemon memory
    # Its exit code is about what a person should see to: an alarm, after so much was removed.
    daemon=$({ timeout 20 "$program" status --json "$work" || true; } | grep -o '"pid":[0-9]*' | head -n 1 | cut -d: -f2)
    memory=$(awk '/VmHWM/ { h = $2 } /VmRSS/ { r = $2 } END { printf "%d %d", h / 1024, r / 1024 }' "/proc/$daemon/status")
    printf '%-44s %5d s   peak %s MiB, now %s MiB\n' "$1" $((SECONDS - began)) ${memory}
    [ "${memory%% *}" -le "$mib" ] || { echo "beyond $mib MiB" >&2; exit 1; }
    began=$SECONDS
}
must() { # what, expected, found
    [ "$2" = "$3" ] || { echo "$1: $3 instead of $2" >&2; exit 1; }
}

perl -e "$make" "$files" 1000 "$work"
echo "made in $((SECONDS - began)) s"
began=$SECONDS
timeout 60 "$program" mount "$work" > /dev/null
step "mounted"
timeout 3000 "$program" sync "$work" > /dev/null
step "imported"
must "find" "$files" "$(find "$work" -type f -printf x | wc -c)"
step "find with stat"
must "grep" 1 "$(grep -rhx "content of $((files - 1))" "$work" | wc -l)"
step "grep -r"
must "find in first" "$files" "$(find "$work/.snapshots/first" -type f -printf x | wc -c)"
step "find in a snapshot"
find "$work" -type f -exec chmod 600 {} +
step "chmod of all"
timeout 3000 "$program" sync "$work" > /dev/null
step "recorded"
find "$work" -mindepth 1 -maxdepth 1 -exec rm -r {} +
step "rm -r of all"
timeout 3000 "$program" sync "$work" > /dev/null
step "recorded"

perl -e "$make" "$files" "$files" "$work"
step "one directory of $files entries made"
timeout 3000 "$program" snapshot "$work" full > /dev/null
step "snapshot of it"
must "ls" "$files" "$(find "$work/dir00000" -type f -printf x | wc -c)"
step "listed and looked at"
must "ls in full" "$files" "$(find "$work/.snapshots/full/dir00000" -type f -printf x | wc -c)"
step "listed and looked at in the snapshot"
rm -r "$work/dir00000"
step "removed"
timeout 3000 "$program" sync "$work" > /dev/null
step "recorded"

for ((n = 0; n < snapshots; n++)); do
    echo $n > "$work/file"
    mkdir "$work/.snapshots/s$n"
done
step "$snapshots snapshots made"
# `first` and `full` are among them, and what an alarm put on hold before so much was removed.
must "ls .snapshots" $((snapshots + 2)) "$(ls "$work/.snapshots" | grep -cvxE 'latest|alarm-.*')"
step "ls .snapshots"
for ((n = 0; n < snapshots; n += 100)); do
    must "s$n" $n "$(cat "$work/.snapshots/s$n/file")"
done
step "one file read in every 100th"
timeout 600 "$program" list "$work" > /dev/null
step "list"
timeout 600 "$program" umount "$work" > /dev/null
echo "store: $(du -sh "$disk"/.work.rewind | cut -f1)"
