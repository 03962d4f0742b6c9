# Snapshots of trees of several sizes after several numbers of changes, the memory that it takes to
# walk the largest one, and browsing; sourced by compare.sh.

take_btrfs_snapshot() {
    quietly btrfs subvolume snapshot -r "$work/btrfs/tree" "$work/btrfs/$1" && run btrfs filesystem sync "$work/btrfs"
}

# The files that are changed, spread over the tree, are looked for once.
choose_changed() { # folder
    find "$1" -name '*.rs' -printf '%P\n' | sort | awk '
        { path[NR] = $0 }
        END { n = NR < 1000 ? NR : 1000; for (i = 0; i < n; i++) print path[1 + int((i + 0.5) * NR / n)] }
    ' > "$work/changed.${1##*/}"
}
change() { # folder, like which folder chosen, how many, round
    local path chosen=$work/changed.$2
    awk -v wanted="$3" '{ path[NR] = $0 }
        END {
            if (wanted > NR) wanted = NR
            for (i = 0; i < wanted; i++) print path[1 + int((i + 0.5) * NR / wanted)]
        }' "$chosen" > "$work/changed"
    while read -r path; do
        echo "// changed in round $4" >> "$1/$path"
    done < "$work/changed"
}
# The load of so many changes; ten are those that the targets speak of.
snapshot_of() { [ "$1" = 10 ] && echo snapshot || echo "snapshot_of_$1"; }

section_snapshot() {
    past_image
    local sizes=(1000 "$big") size import_peak
    [ $mode != smoke ] || sizes=(50 "$big")
    [ $mode != full ] || sizes+=(1000000)
    lay_out_snapshots
    say "  laid out: $SECONDS s"
    local round count
    for ((round = 1; round <= rounds; round++)); do
        out_of_time "snapshot, round $round" && break
        for count in 0 10 1000; do
            snapshots "$round" $count
        done
    done
    memory_walked "${sizes[-1]}"
    say "  snapshots: $SECONDS s"
    browse
    [ ! -d "$work/btrfs" ] || { umount "$work/btrfs"; rm -rf "$work/btrfs.img" "$work/btrfs"; }
    end_past_image
}

lay_out_snapshots() {
    local peer
    for size in "${sizes[@]}"; do
        make_tree "$past/tree$size" "$size" 10 3
        choose_changed "$past/tree$size"
        rewind "$past/tree$size"
        [ -d "$past/tree$size/.snapshots/first" ] || fail "the first import of $size files is not done"
        daemons[$size]=$(daemon_of "$past/tree$size")
        import_peak=$(peak_of "${daemons[$size]}")
    done
    cp -r "$past/tree$big" "$past/plain"
    if has mkfs.btrfs; then
        new_image btrfs $gigabytes btrfs compress=zstd
        quietly btrfs subvolume create "$work/btrfs/tree"
        cp -r "$past/plain/." "$work/btrfs/tree"
        sync -f "$work/btrfs"
    fi
    for peer in $programs; do
        has "$peer" || continue
        { new_repository "$peer" "$past/$peer" && back_up "$peer" "$past/$peer" "$past/plain" first; } ||
            { trouble "first backup" "$peer"; unset "tool[$peer]"; }
    done
}

snapshots() { # round, how many files are changed
    local peer load
    load=$(snapshot_of "$2")
    for size in "${sizes[@]}"; do
        change "$past/tree$size" "tree$size" "$2" "$1"
        watched=${daemons[$size]} clocked "$load" "rewindfs_$size" "$1" take_snapshot "$past/tree$size" "r$1-$2"
        run "$program" sync "$past/tree$size"
    done
    if has mkfs.btrfs; then
        change "$work/btrfs/tree" "tree$big" "$2" "$1"
        clocked "$load" btrfs "$1" take_btrfs_snapshot "r$1-$2"
    fi
    # They take seconds each.
    [ "$1" -le $slow_rounds ] && { [ "$2" = 10 ] || [ "$1$mode" = 1full ]; } || return 0
    change "$past/plain" "tree$big" "$2" "$1"
    for peer in $programs; do
        has "$peer" || continue
        clocked "$load" "$peer" "$1" back_up "$peer" "$past/$peer" "$past/plain" "r$1-$2"
    done
}

# The most that the daemon of the largest tree held, at its first import or when all of it is walked.
memory_walked() { # files
    local peak
    quietly find "$past/tree$1" -size +1000k
    peak=$(peak_of "${daemons[$1]}")
    note memory "rewindfs_$1" 1 memory $((peak > import_peak ? peak : import_peak))
}

walk_find() { quietly find "$1/" -size +1000k; }
walk_ls() { quietly ls -lR "$1/"; }
walk_cat() { (cd "$1" && quietly xargs -d '\n' cat) < "$work/looked-at"; }

# The state after the first round, nothing of it in memory: the mount is there, the walk is timed.
browse() {
    local size round way on=$work/browse
    mkdir -p "$on"
    for size in "${sizes[@]}"; do unwind "$past/tree$size"; done
    awk 'NR % 5 == 1' "$work/changed.tree$big" > "$work/looked-at"
    for ((round = 1; round <= slow_rounds; round++)); do
        for way in find ls cat; do
            # Only find has a target.
            [ $way = find ] || [ $mode != quick ] || [ "$round" = 1 ] || continue
            out_of_time "browse with $way, round $round" && break 2
            browse_all $way "$round"
        done
    done
    say "  browse: $SECONDS s"
}
browse_all() { # way, round
    local peer state load=browse # find is what has targets
    [ "$1" = find ] || load=browse_$1
    cold && rewind "$past/tree$big" || { trouble $load rewindfs; return 0; }
    watched=$(daemon_of "$past/tree$big") clocked $load rewindfs "$2" "walk_$1" "$past/tree$big/.snapshots/r1-10"
    unwind "$past/tree$big"
    for peer in restic borg; do
        has $peer || continue
        cold
        case $peer in
        restic) (RESTIC_CACHE_DIR=$work/cache run "${tool[restic]}" -q -r "$past/restic" mount "$on" > /dev/null 2>&1 &) ;;
        borg) in_borg mount "$past/borg::r1-10" "$on" ;;
        esac
        for _ in $(seq 100); do
            ! mountpoint -q "$on" || break
            sleep 0.1
        done
        state=$on
        [ $peer = borg ] || state=$on/snapshots/latest
        if [ -d "$state" ]; then
            clocked $load $peer "$2" "walk_$1" "$state"
        else
            trouble $load $peer
        fi
        run umount "$on" || umount -l "$on" || true
        sleep 0.5
    done
}
