#!/bin/bash
# fsx through a mount: seeds of random reads, writes, mappings, truncations, holes and copies, each
# read compared with what was written. Once write-through, once with -o writeback.
# usage: tests/fsx.sh PROGRAM TEMPORARY-FOLDER SEEDS OPERATIONS
set -euo pipefail

program=$(realpath "$1")
folder=$2/fsx
seeds=$3
operations=$4
source "$(dirname "$0")/parts.sh"

mkdir -p "$folder/dir"
cat > "$folder/fsx.toml" <<'END'
flen = 1048576

[opsize]
max = 131072

[weights]
close_open = 1
read = 10
write = 10
mapread = 5
mapwrite = 5
invalidate = 1
truncate = 5
fsync = 0.1
fdatasync = 0.1
posix_fallocate = 2
punch_hole = 3
sendfile = 2
posix_fadvise = 1
copy_file_range = 4
END

for mode in through writeback; do
    options=interval=500ms
    [ $mode = through ] || options+=,writeback
    bounded 60 "$program" mount "$folder/dir" -o $options
    for seed in $(seq "$seeds"); do
        # In writeback mode a third of the work is enough: its paths are the kernel's.
        count=$operations
        [ $mode = through ] || count=$((operations / 3))
        timeout 900 fsx -f "$folder/fsx.toml" -N "$count" -S "$seed" -P "$folder" "$folder/dir/file$seed" \
            > "$folder/log" 2>&1 || {
            tail -40 "$folder/log"
            fail "fsx -S $seed -N $count fails on the mount ($mode)"
        }
        # And history went on beside it: the newest state holds the file as it is.
        mkdir "$folder/dir/.snapshots/fsx-$mode-$seed"
        cmp "$folder/dir/file$seed" "$folder/dir/.snapshots/fsx-$mode-$seed/file$seed" ||
            fail "the snapshot after fsx -S $seed ($mode) is not the file"
        say "fsx: $count operations of seed $seed, $mode"
    done
    bounded 120 "$program" umount "$folder/dir"
done
