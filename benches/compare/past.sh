# First import, restore, the size of stores; sourced by compare.sh. The sides here, as those of
# snapshot.sh, are programs with a repository each, all on one ext4.

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
# Faster than to remove very many files.
end_past_image() { take_off_below "$past" && run umount "$past" && rmdir "$past" && rm "$work/past.img"; }
# From here on nothing of the image is in the page cache.
cold() {
    sync -f "$past"
    run umount "$past" && mount_image past
}
take_snapshot() { mkdir "$1/.snapshots/$2" 2> "$work/last.err"; }
unwind() { run "$program" umount "$1"; }

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
        note import rewindfs "$round" memory "$(peak_of "$daemon")"
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
    # What is restored is what was imported; alone, this section does that first, and does not count it.
    [ -d "$past/.import.rewind" ] || { slow_rounds=1 section_import && sed -i '/^import /d' "$figures"; }
    local round way
    for ((round = 1; round <= slow_rounds; round++)); do
        out_of_time "restore, round $round" && break
        for way in copy_back restore_back; do
            rm -rf "$past/out"
            cold
            run "$program" mount "$past/import" > /dev/null
            run "$program" sync "$past/import"
            mkdir "$past/out"
            watched=$(daemon_of "$past/import") clocked restore $way "$round" $way
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
    local number peer source plain=0 folders=() real=${COMPARE_VERSIONS:-}
    if [ -z "$real" ] && [ $mode = full ]; then
        real=$work/versions
        benches/compare/versions.sh "$real" 2> "$work/last.err" ||
            { real=; leave_out "releases of a crate" "cargo cannot fetch them; versions made here take their place"; }
    fi
    if [ -n "$real" ]; then
        while read -r source; do folders+=("$source"); done < <(printf '%s\n' "$real"/* | sort -V)
        versions=${#folders[@]}
        [ -d "${folders[0]}" ] || fail "$real has no folders of versions"
        about="$versions versions, ${folders[0]##*/} to ${folders[-1]##*/}"
    else
        about="$versions versions made here"
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
    [ "$number" -gt "$versions" ] || about="$((number - 1)) of $about"
    note store "all_versions" 1 bytes "$plain"
    note store rewindfs 1 bytes "$(du -s -B1 "$past/.versions.rewind" | cut -f1)"
    for peer in $programs; do
        ! has "$peer" || note store "$peer" 1 bytes "$(du -s -B1 "$past/$peer" | cut -f1)"
    done
    rm -rf "$past/versions" "$past/version" "$past/.versions.rewind" "$past/restic" "$past/borg" "$past/rustic"
    say "  store: $SECONDS s"
}
