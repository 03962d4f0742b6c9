# The clock; sourced by compare.sh. A figure is a line `load side round kind value` of $figures:
# kind is one of
#   work      until the load's commands have returned, in microseconds
#   safe      until what they wrote is on disk as well (syncfs of the file system below each side)
#   recorded  until `rewindfs sync` has returned as well
#   cpu       of the rewindfs daemon, until recorded
#   bytes, memory

note() { echo "$1 $2 $3 $4 $5" >> "$figures"; } # load, side, round, kind, value

# Each section has a share of the time, so that all are begun.
out_of_time() { # of what
    [ "$SECONDS" -gt "$until" ] || return 1
    leave_out "$1" "no time was left for it"
}

is_rewindfs() { [ "$1" = rewindfs ] || [ "$1" = writeback ] || [ "$1" = nohistory ]; }

daemon_of() { # folder; that something needs a person is not asked here
    { run "$program" status "$1" --json || true; } | grep -o '"pid":[0-9]*' | sed -n 1p | cut -d: -f2
}
cpu_of() { # process; microseconds
    awk '{ print ($14 + $15) * 10000 }' "/proc/$1/stat"
}

# Nothing is under way: what came before is recorded and on disk. The other sides are so already.
quiet() { # side, file system
    [ "$1" != rewindfs ] && [ "$1" != writeback ] || run "$program" sync "${place[$1]}"
    sync -f "$2"
}

# One round of a load on sides. `prepare_LOAD` is not timed; a load that has its own clock sets
# `took`. A load that only reads has no sync.
compare() { # round, reads|writes, load, sides...
    local round=$1 kind=$2 load=$3 side turn folder began worked safe daemon cpu
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
        "prepare_$load" "$folder" || { trouble "$load" "$side"; continue; }
        quiet "$side" "$work/live"
        if is_rewindfs "$side"; then
            daemon=$(daemon_of "$folder")
            cpu=$(cpu_of "$daemon")
        fi
        began=${EPOCHREALTIME/./}
        "load_$load" "$folder" || { trouble "$load" "$side"; continue; }
        worked=${EPOCHREALTIME/./}
        safe=$worked
        if [ "$kind" = writes ]; then
            sync -f "$work/live"
            safe=${EPOCHREALTIME/./}
        fi
        note "$load" "$side" "$round" work "${took:-$((worked - began))}"
        note "$load" "$side" "$round" safe $((${took:-$((worked - began))} + safe - worked))
        if is_rewindfs "$side"; then
            if [ "$kind" = writes ] && [ "$side" != nohistory ]; then
                run "$program" sync "$folder"
                note "$load" "$side" "$round" recorded $((${took:-$((worked - began))} + ${EPOCHREALTIME/./} - worked))
            fi
            note "$load" "$side" "$round" cpu $(($(cpu_of "$daemon") - cpu))
        fi
    done
}

trouble() { # load, side
    troubles=$((troubles + 1))
    say "FAILED: $1 on $2: $(head -n 1 "$work/last.err" 2> /dev/null)"
}

# One command of the history part: load, side, round, command...
clocked() {
    local load=$1 side=$2 round=$3 began
    shift 3
    began=${EPOCHREALTIME/./}
    if "$@"; then
        note "$load" "$side" "$round" safe $((${EPOCHREALTIME/./} - began))
    else
        trouble "$load" "$side"
    fi
}
