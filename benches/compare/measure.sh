# The clock; sourced by compare.sh. A figure is a line `load side round kind value` of $figures:
# kind is one of
#   work      until the load's commands have returned, in microseconds
#   safe      until what they wrote is on disk as well (syncfs of the file system below each side)
#   recorded  until `rewindfs sync` has returned as well
#   cpu       of the daemon, until recorded
#   spent     CPU of the commands as well: what else the machine does changes it less
#   bytes, memory
#   turn      of a load that goes on: for each turn, until what all of them wrote is on disk
#   written, cpu_of_gib: its bytes, and the CPU of the daemon for each GiB of them
#   files, seconds: what was not recorded then, and how old it was

note() { echo "$1 $2 $3 $4 $5" >> "$figures"; } # load, side, round, kind, value

# Each section has a share of the time, so that all are begun.
out_of_time() { # of what
    [ "$SECONDS" -gt "$until" ] || return 1
    leave_out "$1" "no time was left for it"
}

records() { [ "$1" = rewindfs ] || [ "$1" = writeback ]; }

daemon_of() { # folder; that something needs a person is not asked here
    { run "$program" status "$1" --json || true; } | grep -o '"pid":[0-9]*' | sed -n 1p | cut -d: -f2
}
cpu_of() { # process; sets REPLY, microseconds
    local stat
    stat=$(< "/proc/$1/stat")
    set -- ${stat##*) }
    REPLY=$(((${12} + ${13}) * 10000))
}
# The most memory that a process has held since fresh_peak, in bytes.
fresh_peak() { echo 5 > "/proc/$1/clear_refs"; } # process
peak_of() { awk '/^VmHWM/ { printf "%.0f", $2 * 1024 }' "/proc/$1/status"; } # process
# CPU of all commands that have ended; sets REPLY, microseconds. Starts no process.
cpu_of_commands() {
    local own user system
    times > "$work/times"
    { read -r own; read -r user system; } < "$work/times"
    user=${user%s} system=${system%s}
    user=${user/m/.} system=${system/m/.}
    local IFS=.
    set -- $user $system
    REPLY=$(((10#$1 + 10#$4) * 60000000 + (10#$2 + 10#$5) * 1000000 + (10#$3 + 10#$6) * 1000))
}

# Nothing is under way: what came before is recorded and on disk. The other sides are so already.
quiet() { # side, file system
    ! records "$1" || run "$program" sync "${place[$1]}"
    sync -f "$2"
}

# Nothing is in the page cache, and no name or inode in that of the kernel; but the program of the
# load has been started. Twice: what a daemon of FUSE held, it lets go after the first time. Once for
# all sides of a load: none of them reads what another one has.
forget_cached() { # load
    echo 3 > /proc/sys/vm/drop_caches
    sleep 0.5
    echo 3 > /proc/sys/vm/drop_caches
    mkdir -p "$work/nothing/tree"
    "load_$1" "$work/nothing"
}

# One round of a load on sides. `prepare_LOAD` is not timed; a load that has its own clock sets
# `took`. A load that only reads has no sync. What follows a - in its name is for the load to read.
compare() { # round, reads|cold|writes, load, sides...
    local round=$1 kind=$2 load=$3 action=${3%%-*} side turn folder began worked safe daemon cpu commands
    shift 3
    ! out_of_time "$load, round $round" || return 0
    local sides=()
    for side in "$@"; do
        [ -z "${place[$side]:-}" ] || sides+=("$side")
    done
    for ((turn = 0; turn < ${#sides[@]}; turn++)); do
        side=${sides[$(((turn + round) % ${#sides[@]}))]}
        folder=${place[$side]}
        took=
        daemon=
        "prepare_$action" "$folder" "$load" || { trouble "$load" "$side"; continue; }
        quiet "$side" "$work/live"
        [ "$kind" != cold ] || [ $turn != 0 ] || forget_cached "$action"
        daemon=${daemons[$side]:-}
        cpu=0
        [ -z "$daemon" ] || { fresh_peak "$daemon" && cpu_of "$daemon" && cpu=$REPLY; }
        cpu_of_commands
        commands=$REPLY
        began=${EPOCHREALTIME/./}
        "load_$action" "$folder" "$load" || { trouble "$load" "$side"; continue; }
        worked=${EPOCHREALTIME/./}
        safe=$worked
        if [ "$kind" = writes ]; then
            sync -f "$work/live"
            safe=${EPOCHREALTIME/./}
        fi
        cpu_of_commands
        commands=$((REPLY - commands))
        note "$load" "$side" "$round" work "${took:-$((worked - began))}"
        note "$load" "$side" "$round" safe $((${took:-$((worked - began))} + safe - worked))
        if [ "$kind" = writes ] && records "$side"; then
            run "$program" sync "$folder"
            note "$load" "$side" "$round" recorded $((${took:-$((worked - began))} + ${EPOCHREALTIME/./} - worked))
        fi
        [ -z "$daemon" ] || { cpu_of "$daemon" && cpu=$((REPLY - cpu)); }
        [ -z "$daemon" ] || note "$load" "$side" "$round" cpu "$cpu"
        [ -z "$daemon" ] || note "$load" "$side" "$round" memory "$(peak_of "$daemon")"
        note "$load" "$side" "$round" spent $((commands + cpu))
    done
}

trouble() { # load, side
    troubles=$((troubles + 1))
    say "FAILED: $1 on $2: $(head -n 1 "$work/last.err" 2> /dev/null)"
}

# One command of the history part: load, side, round, command... With watched=PROCESS before it,
# what that one needs is noted as well.
clocked() {
    local load=$1 side=$2 round=$3 began took cpu
    shift 3
    [ -z "${watched:-}" ] || { fresh_peak "$watched" && cpu=$(nanoseconds_of "$watched"); }
    began=${EPOCHREALTIME/./}
    "$@" || { trouble "$load" "$side"; return 0; }
    took=$((${EPOCHREALTIME/./} - began))
    note "$load" "$side" "$round" safe $took
    if [ -n "${watched:-}" ]; then
        note "$load" "$side" "$round" cpu $((($(nanoseconds_of "$watched") - cpu) / 1000))
        note "$load" "$side" "$round" memory "$(peak_of "$watched")"
    fi
}
nanoseconds_of() { # process: the CPU that its threads have used, finer than cpu_of
    cat "/proc/$1"/task/*/schedstat 2> /dev/null | awk '{ sum += $1 } END { printf "%.0f", sum }'
}
