# Snapshots, first import, restore, browsing, the size of stores, memory; sourced by compare.sh.
# The sides here are programs with a repository each, all on one ext4.

programs="restic borg rustic"
export RESTIC_PASSWORD=x RUSTIC_PASSWORD=x BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes \
    BORG_RELOCATED_REPO_ACCESS_IS_OK=yes

# What each program is called for: its way to make a repository, a backup, and a folder of it again.
# All have the compression and (but borg, which is fastest without) the encryption they come with.
in_restic() { RESTIC_CACHE_DIR=$work/cache quietly "${tool[restic]}" -q -r "$@"; }
in_rustic() { RUSTIC_CACHE_DIR=$work/cache quietly "${tool[rustic]}" -r "$@"; }
in_borg() { BORG_BASE_DIR=$work/cache quietly "${tool[borg]}" "$@"; }
new_repository() { # program, repository
    case $1 in
    borg) in_borg init -e none "$2" ;;
    *) "in_$1" "$2" init ;;
    esac
}
back_up() { # program, repository, folder, name
    case $1 in
    borg) (cd "$3" && in_borg create "$2::$4" .) ;;
    *) (cd "$3" && "in_$1" "$2" backup .) ;;
    esac && sync -f "$past"
}
bring_back() { # program, repository, target, name
    case $1 in
    borg) (cd "$3" && in_borg extract "$2::$4") ;;
    restic) in_restic "$2" restore latest --target "$3" ;;
    rustic) in_rustic "$2" restore latest "$3" ;;
    esac && sync -f "$past"
}

past_image() { [ -d "$past" ] || new_image past $gigabytes ext4; }
# From here on nothing of the image is in the page cache.
cold() {
    sync -f "$past"
    run umount "$past" && mount_image past
}
unwind() { run "$program" umount "$1"; }

take_snapshot() { mkdir "$1/.snapshots/$2" 2> "$work/last.err"; }
take_btrfs_snapshot() {
    quietly btrfs subvolume snapshot -r "$work/btrfs/tree" "$work/btrfs/$1" && run btrfs filesystem sync "$work/btrfs"
}

section_snapshot() {
    past_image
    local sizes=(1000 "$big") size peer round
    [ $mode != smoke ] || sizes=(50 "$big")
    [ $mode != full ] || sizes+=(1000000)
    for size in "${sizes[@]}"; do
        make_tree "$past/tree$size" "$size" 10 3
        rewind "$past/tree$size"
        [ -d "$past/tree$size/.snapshots/first" ] || fail "the first import of $size files is not done"
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
    say "  laid out: $SECONDS s"
    for ((round = 1; round <= rounds; round++)); do
        out_of_time "snapshot, round $round" && break
        for size in "${sizes[@]}"; do
            change_ten "$past/tree$size" "$round"
            clocked snapshot "rewindfs_$size" "$round" take_snapshot "$past/tree$size" "r$round"
            run "$program" sync "$past/tree$size"
        done
        if has mkfs.btrfs; then
            change_ten "$work/btrfs/tree" "$round"
            clocked snapshot btrfs "$round" take_btrfs_snapshot "r$round"
        fi
        [ "$round" -le $slow_rounds ] || continue
        change_ten "$past/plain" "$round"
        for peer in $programs; do
            has "$peer" || continue
            clocked snapshot "$peer" "$round" back_up "$peer" "$past/$peer" "$past/plain" "r$round"
        done
    done
    section_memory "${sizes[-1]}"
    say "  snapshots: $SECONDS s"
    section_browse
    for size in "${sizes[@]}"; do
        rm -rf "$past/tree$size" "$past/.tree$size.rewind"
    done
    [ ! -d "$work/btrfs" ] || { umount "$work/btrfs"; rm -f "$work/btrfs.img"; }
    rm -rf "$past/plain" "$past/restic" "$past/borg" "$past/rustic"
}

# The daemon after a walk over the largest tree: the most it ever held, first import included.
section_memory() { # files
    local daemon
    quietly find "$past/tree$1" -size +1000k
    daemon=$(daemon_of "$past/tree$1")
    note memory "rewindfs_$1" 1 memory "$(awk '/^VmHWM/ { print $2 * 1024 }' "/proc/$daemon/status")"
}

# find over the newest snapshot, nothing of it in memory: the mount is there, the walk is timed.
section_browse() {
    local size peer round on=$work/browse
    mkdir -p "$on"
    for size in "$past"/tree*; do unwind "$size"; done
    for ((round = 1; round <= (slow_rounds + 1) / 2; round++)); do
        out_of_time "browse, round $round" && break
        cold && rewind "$past/tree$big" || { trouble browse rewindfs; return 0; }
        clocked browse rewindfs "$round" quietly find "$past/tree$big/.snapshots/latest/" -size +1000k
        unwind "$past/tree$big"
        for peer in restic borg; do
            has $peer || continue
            cold
            case $peer in
            restic) (RESTIC_CACHE_DIR=$work/cache run "${tool[restic]}" -q -r "$past/restic" mount "$on" > /dev/null 2>&1 &) ;;
            borg) in_borg mount "$past/borg::r1" "$on" ;;
            esac
            for _ in $(seq 100); do
                ! mountpoint -q "$on" || break
                sleep 0.1
            done
            local state=$on
            [ $peer = borg ] || state=$on/snapshots/latest/
            if [ -d "$state" ]; then
                clocked browse $peer "$round" quietly find "$state" -size +1000k
            else
                trouble browse $peer
            fi
            run umount "$on" || umount -l "$on" || true
            sleep 0.5
        done
    done
    say "  browse: $SECONDS s"
}

# Source files, a text as a database dumps it, and bytes that cannot be compressed.
make_import() {
    cp -r "$data/source" "$past/import"
    awk -v lines=$((megabytes * 8192)) 'BEGIN {
        for (i = 0; i < lines; i++)
            printf "INSERT INTO orders VALUES (%d, %d, %08x);\n", i, (i * 7919) % 10007, (i * 16807) % 2147483647
    }' > "$past/import/dump.sql"
    head -c $((megabytes / 2))M /dev/urandom > "$past/import/photos"
    cat "$past/import/dump.sql" "$past/import/photos" > /dev/null
}
first_import() {
    run "$program" mount "$past/import" > /dev/null 2> "$work/last.err" &&
        run "$program" sync "$past/import" && sync -f "$past"
}

section_import() {
    past_image
    [ -d "$past/import" ] || make_import
    local round peer daemon
    for ((round = 1; round <= slow_rounds; round++)); do
        out_of_time "import, round $round" && break
        rm -rf "$past/.import.rewind"
        clocked import rewindfs "$round" first_import
        [ -d "$past/import/.snapshots/first" ] || fail "the first import is not done"
        daemon=$(daemon_of "$past/import")
        cpu_of "$daemon"
        note import rewindfs "$round" cpu "$REPLY"
        note import rewindfs "$round" memory "$(awk '/^VmHWM/ { print $2 * 1024 }' "/proc/$daemon/status")"
        unwind "$past/import"
        for peer in $programs; do
            has "$peer" || continue
            rm -rf "$past/$peer"
            new_repository "$peer" "$past/$peer" || { trouble import "$peer"; continue; }
            clocked import "$peer" "$round" back_up "$peer" "$past/$peer" "$past/import" first
        done
    done
    say "  import: $SECONDS s"
}

copy_back() { quietly cp -a "$past/import/.snapshots/first" "$past/out" && sync -f "$past"; }
restore_back() {
    quietly "$program" restore "$past/import" --at first --target "$past/out" && sync -f "$past"
}

section_restore() {
    [ -d "$past/.import.rewind" ] || section_import
    local round way
    for ((round = 1; round <= slow_rounds; round++)); do
        out_of_time "restore, round $round" && break
        for way in copy_back restore_back; do
            rm -rf "$past/out"
            cold
            run "$program" mount "$past/import" > /dev/null
            run "$program" sync "$past/import"
            mkdir "$past/out"
            clocked restore $way "$round" $way
            unwind "$past/import"
        done
        for way in $programs; do
            has "$way" || continue
            rm -rf "$past/out"
            cold
            mkdir "$past/out"
            clocked restore "$way" "$round" bring_back "$way" "$past/$way" "$past/out" first
        done
        rm -rf "$past/out"
    done
    rm -rf "$past/.import.rewind" "$past/import" "$past/restic" "$past/borg" "$past/rustic"
    say "  restore: $SECONDS s"
}

# Versions of a tree, each in place of the one before. COMPARE_VERSIONS is a folder of real ones.
section_store() {
    past_image
    local number peer source plain=0 folders=()
    if [ -n "${COMPARE_VERSIONS:-}" ]; then
        while read -r source; do folders+=("$source"); done < <(printf '%s\n' "$COMPARE_VERSIONS"/* | sort -V)
        versions=${#folders[@]}
    fi
    mkdir "$past/versions" "$past/version"
    rewind "$past/versions"
    for peer in $programs; do
        ! has "$peer" || new_repository "$peer" "$past/$peer" || trouble store "$peer"
    done
    for ((number = 1; number <= versions; number++)); do
        out_of_time "store, version $number" && break
        if [ ${#folders[@]} -gt 0 ]; then
            rm -rf "$past/version"
            cp -r "${folders[$((number - 1))]}" "$past/version"
        elif [ "$number" = 1 ]; then
            cp -r "$data/source/." "$past/version"
        else
            next_version "$past/version" "$number"
        fi
        plain=$((plain + $(du -s -B1 "$past/version" | cut -f1)))
        find "$past/versions" -mindepth 1 -delete
        cp -a "$past/version/." "$past/versions"
        take_snapshot "$past/versions" "v$number" || trouble store rewindfs
        for peer in $programs; do
            ! has "$peer" || back_up "$peer" "$past/$peer" "$past/version" "v$number" || trouble store "$peer"
        done
    done
    unwind "$past/versions"
    sync -f "$past"
    [ "$number" -gt 1 ] || return 0
    note store "all_versions" 1 bytes "$plain"
    note store rewindfs 1 bytes "$(du -s -B1 "$past/.versions.rewind" | cut -f1)"
    for peer in $programs; do
        ! has "$peer" || note store "$peer" 1 bytes "$(du -s -B1 "$past/$peer" | cut -f1)"
    done
    rm -rf "$past/versions" "$past/version" "$past/.versions.rewind" "$past/restic" "$past/borg" "$past/rustic"
    say "  store: $SECONDS s"
}
