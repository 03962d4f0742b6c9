# Work in the live tree; sourced by compare.sh. Each load has two functions, both of the folder of
# a side: what comes before and the load itself.

all_sides="ext4 passthrough_ll bindfs nohistory rewindfs"

emptied() { quietly rm -rf "$1" && mkdir "$1"; }

prepare_untar() { emptied "$1/untar"; }
load_untar() { quietly tar -xf "$data/source.tar" -C "$1/untar"; }

prepare_copy() { quietly rm -rf "$1/copy"; }
load_copy() { quietly cp -r "$1/tree/source" "$1/copy"; }

prepare_remove() { quietly rm -rf "$1/gone" && quietly cp -r "$1/tree/source" "$1/gone"; }
load_remove() { quietly rm -rf "$1/gone"; }

prepare_clone() { quietly rm -rf "$1/clone"; }
load_clone() { quietly git clone -q --no-hardlinks "$data/repo" "$1/clone"; }

# Warm: the same was done just before. Five times over, because once is too short for the clock.
five_times() {
    quietly bash -c 'for n in 1 2 3 4 5; do "$@" || [ $? = 1 ] || exit; done' five_times "$@"
}
prepare_find() { load_find "$1"; }
load_find() { five_times find "$1/tree" -size +1000k; }
prepare_grep() { load_grep "$1"; }
load_grep() { five_times grep -rc "let bababa" "$1/tree"; }
prepare_status() { load_status "$1"; }
load_status() { five_times git -C "$1/repo" status --porcelain; }

prepare_compile() { quietly rm -rf "$1/c" && quietly cp -r "$data/c" "$1/c"; }
load_compile() {
    (cd "$1/c" && ls ./*.c | sed 's/\.c$//' | run xargs -P 2 -I{} gcc -O1 -c {}.c -o {}.o) 2> "$work/last.err"
}

prepare_sqlite_wal() { emptied "$1/db"; }
load_sqlite_wal() { quietly sqlite3 "$1/db/wal" ".read $data/wal.sql"; }
prepare_sqlite_rollback() { emptied "$1/db"; }
load_sqlite_rollback() { quietly sqlite3 "$1/db/rollback" ".read $data/rollback.sql"; }

# Cold: only once, because then it is warm.
prepare_find_cold() { :; }
load_find_cold() { quietly find "$1/tree" -size +1000k; }
prepare_grep_cold() { :; }
load_grep_cold() { quietly grep -rc "let bababa" "$1/tree" || [ $? = 1 ]; }

# fio-HOW-BLOCK[-fsync]. It has a clock of its own, which leaves out its start; an fsync at the end
# is within it. With fsync: one after each block, and fewer blocks.
prepare_fio() { # folder, load
    case $2 in
    fio-write-*) quietly rm -f "$1/new" ;;
    *) [ -e "$1/laid-out" ] || quietly dd if=/dev/zero of="$1/laid-out" bs=1M count="$megabytes" conv=fsync ;;
    esac
}
load_fio() { # folder, load
    local how block fsync kilobytes line file=laid-out options=()
    IFS=- read -r _ how block fsync <<< "$2"
    [ "$how" != write ] || file=new
    case $how$block in
    *1m) kilobytes=$((megabytes * 1024)) ;;
    *64k) kilobytes=$((megabytes * 512)) ;;
    rand*) kilobytes=$((megabytes * 128)) ;;
    *) kilobytes=$((megabytes * 256)) ;;
    esac
    if [ -n "$fsync" ]; then
        options=(--fsync=1)
        kilobytes=$((kilobytes / 32))
        case $block in 4k) kilobytes=$((kilobytes / 32)) ;; 64k) kilobytes=$((kilobytes / 8)) ;; esac
    fi
    line=$(run "${tool[fio]}" --minimal --name=x --filename="$1/$file" --rw="$how" --bs="$block" --size="$megabytes"M \
        --io_size="$((kilobytes > 1024 ? kilobytes : 1024))"k "${options[@]}" --end_fsync=1 --fallocate=none \
        2> "$work/last.err" | tail -n 1) || return 1
    took=$(awk -F';' '{ print ($9 + $50) * 1000 }' <<< "$line")
    [ "${took:-0}" -gt 0 ]
}

prepare_clients() {
    local n
    for n in 1 2 3 4 5 6 7 8; do emptied "$1/client$n" || return 1; done
}
load_clients() {
    local n clients=()
    for n in 1 2 3 4 5 6 7 8; do
        run tar -xf "$data/client.tar" -C "$1/client$n" 2> "$work/last.err" &
        clients+=($!)
    done
    for n in "${clients[@]}"; do wait "$n" || return 1; done
}

section_live() {
    mount_live_sides $all_sides writeback
    live_loads
    end_live_sides
}

live_loads() {
    local side
    for side in $all_sides; do
        [ -n "${place[$side]:-}" ] || continue
        mkdir "${place[$side]}/tree"
        tar -xf "$data/source.tar" -C "${place[$side]}/tree"
        quietly git clone -q --no-hardlinks "$data/repo" "${place[$side]}/repo"
    done
    [ $mode = smoke ] || sleep 2 # what is younger than its look at it, git looks at again
    # The rounds are the outer loop: when the time ends, every load has had some.
    local round load
    for ((round = 1; round <= rounds; round++)); do
        for load in untar copy remove clone; do
            compare $round writes $load $all_sides
        done
        for load in find grep status; do
            compare $round reads $load $all_sides
        done
        [ "$round" -gt $slow_rounds ] || slow_loads "$round"
        say "  round $round: $SECONDS s"
    done
}
slow_loads() { # round
    compare "$1" cold find_cold $all_sides
    compare "$1" cold grep_cold $all_sides
    compare "$1" writes compile $all_sides
    compare "$1" writes clients $all_sides
    if has sqlite3; then
        compare "$1" writes sqlite_wal $all_sides writeback
        compare "$1" writes sqlite_rollback $all_sides
    fi
    ! has fio || fio_loads "$1"
}
# What has a target comes first.
fio_loads() { # round
    local how block
    compare "$1" writes fio-write-1m $all_sides
    compare "$1" reads fio-read-1m $all_sides
    compare "$1" writes fio-write-4k $all_sides writeback
    compare "$1" writes fio-randwrite-4k $all_sides writeback
    compare "$1" reads fio-randread-4k $all_sides
    compare "$1" writes fio-write-64k $all_sides
    compare "$1" writes fio-write-4k-fsync $all_sides
    if [ $mode != full ]; then
        leave_out "fio with other blocks, and with fsync" "the full run does it"
        return 0
    fi
    for how in read randread; do
        for block in 4k 64k 1m; do
            case $how-$block in read-1m | randread-4k) continue ;; esac
            compare "$1" reads fio-$how-$block $all_sides
        done
    done
    for how in write randwrite; do
        for block in 4k 64k 1m; do
            case $how-$block in write-* | randwrite-4k) ;; *) compare "$1" writes fio-$how-$block $all_sides ;; esac
            [ $how-$block = write-4k ] || compare "$1" writes fio-$how-$block-fsync $all_sides
        done
    done
}
