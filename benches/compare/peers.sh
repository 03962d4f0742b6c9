# The sides that are compared: images, mounts, programs; sourced by compare.sh.
# A side that is not there is left out with a line that says so.

declare -A place=()   # of a live side: the folder to work in
declare -A tool=()    # of a side that is a program: the program
declare -A version=()
declare -A daemons=() # of a side that is served by a process: its number

leave_out() { # side, why
    say "skipped: $1: $2"
    echo "$1: $2" >> "$skipped"
}

# A file system of its own in a file: the page cache of the file below it is not used, so that what
# is cold is cold.
new_image() { # name, gigabytes, kind of file system, mount options
    truncate -s "$2G" "$work/$1.img"
    case $3 in
    ext4) mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 "$work/$1.img" ;;
    btrfs) quietly mkfs.btrfs -q "$work/$1.img" ;;
    esac
    mkdir -p "$work/$1"
    mount_image "$1" "${4:-}"
}
mount_image() {
    mount -o "loop${2:+,$2}" "$work/$1.img" "$work/$1"
    losetup --direct-io=on "$(findmnt -no SOURCE "$work/$1")" 2> /dev/null || true
}

find_peers() {
    say "== peers"
    local examples=/usr/share/doc/libfuse3-dev/examples/passthrough_ll.c
    tool[passthrough_ll]=${PASSTHROUGH_LL:-$work/passthrough_ll}
    if [ -z "${PASSTHROUGH_LL:-}" ] && [ -e $examples ]; then
        gcc -O2 -o "$work/passthrough_ll" $examples $(pkg-config --cflags --libs fuse3) 2> /dev/null || true
    fi
    [ -x "${tool[passthrough_ll]}" ] || {
        leave_out passthrough_ll "no $examples to build it from (apt-get install libfuse3-dev gcc pkg-config)"
        unset "tool[passthrough_ll]"
    }
    find_tool bindfs "${BINDFS:-bindfs}" "apt-get install bindfs" --version
    find_tool restic "${RESTIC:-restic}" "apt-get install restic" version
    find_tool borg "${BORG:-borg}" "apt-get install borgbackup" --version
    find_tool rustic "${RUSTIC:-rustic}" "cargo install rustic-rs" --version
    find_tool mkfs.btrfs mkfs.btrfs "apt-get install btrfs-progs" --version
    find_tool fio fio "apt-get install fio" --version
    find_tool sqlite3 sqlite3 "apt-get install sqlite3" --version
    version[rewindfs]="$("$program" --version), commit ${COMPARE_COMMIT:-$(git describe --always --dirty 2> /dev/null || echo unknown)}"
    ! has passthrough_ll || version[passthrough_ll]="libfuse $(pkg-config --modversion fuse3 2> /dev/null || true)"
}
find_tool() { # side, program, how to get it, argument that prints the version
    if command -v "$2" > /dev/null; then
        tool[$1]=$(command -v "$2")
        version[$1]=$("${tool[$1]}" "$4" 2>&1 | sed -n 1p | cut -c1-40)
    else
        leave_out "$1" "$2 is not there ($3)"
    fi
}
has() { [ -n "${tool[$1]:-}" ]; }

# Every command of the harness is bounded.
run() { timeout --kill-after=5 "$longest" "$@"; }
quietly() { run "$@" > /dev/null 2> "$work/last.err"; }

# rewindfs over a folder, until all that is there is recorded.
rewind() { # folder, options
    run "$program" mount "$1" ${2:+-o "$2"} > /dev/null 2> "$work/last.err" && run "$program" sync "$1"
}

# The folders of all live sides lie on one ext4, so that a sync is the same for each.
mount_live_sides() { # sides...
    new_image live $gigabytes ext4
    local side
    for side in "$@"; do
        mkdir -p "$work/live/$side"
        place[$side]=$work/live/$side
        case $side in
        passthrough_ll) serve_over $side -f -o "source=$work/live/$side" ;;
        bindfs) serve_over $side -f "$work/live/$side" ;;
        nohistory) run "$program" mount "${place[$side]}" -o nohistory > /dev/null ;;
        rewindfs) rewind "${place[$side]}" ;;
        writeback) rewind "${place[$side]}" writeback ;;
        esac
        case $side in
        nohistory | rewindfs | writeback) daemons[$side]=$(daemon_of "${place[$side]}") ;;
        esac
    done
}
end_live_sides() {
    local side
    take_off_below "$work/live"
    for side in "$work"/on-* "$work/live"; do
        ! mountpoint -q "$side" || umount -l "$side"
    done
    place=()
    sleep 1
    rm -f "$work/live.img"
}

# A peer in the foreground, so that we know which process it is.
serve_over() { # side, arguments without where it mounts
    local side=$1
    shift
    place[$side]=$work/on-$side
    mkdir -p "${place[$side]}"
    if ! has "$side"; then
        unset "place[$side]"
        return 0
    fi
    "${tool[$side]}" "$@" "${place[$side]}" > /dev/null 2>&1 &
    daemons[$side]=$!
    for _ in $(seq 100); do
        ! mountpoint -q "${place[$side]}" || return 0
        sleep 0.05
    done
    leave_out "$side" "it does not mount"
    unset "place[$side]" "daemons[$side]"
}
