# A load that goes on without a pause: putting the work of history off does not save it here. On
# nohistory first and last, on rewindfs between them, so that a machine that gets slower or faster
# weighs on both; sourced by compare.sh.

# The load has ten parts. That it is called after its length keeps a short one apart from a long one.
section_long() {
    local part=$((long_seconds * 100)) sides="nohistory rewindfs" side
    if [ $((SECONDS + 2 * long_seconds)) -gt "$until" ] && [ $mode != smoke ]; then
        leave_out "$long" "no time was left for it"
        return 0
    fi
    mount_live_sides $sides
    declare -A turns=() microseconds=() bytes=() cpu=()
    for side in $sides; do
        turns[$side]=0 microseconds[$side]=0 bytes[$side]=0
        fresh_peak "${daemons[$side]}"
        cpu_of "${daemons[$side]}"
        cpu[$side]=$REPLY
    done
    long_parts nohistory 1 5 && long_parts rewindfs 1 10 && all_recorded && long_parts nohistory 6 10 ||
        { trouble "$long" rewindfs; end_live_sides; return 0; }
    for side in $sides; do
        cpu_of "${daemons[$side]}"
        note "$long" "$side" 1 written "${bytes[$side]}"
        note "$long" "$side" 1 cpu_of_gib \
            "$(awk -v cpu=$((REPLY - cpu[$side])) -v bytes="${bytes[$side]}" 'BEGIN { printf "%.0f", cpu * 1073741824 / bytes }')"
        note "$long" "$side" 1 memory "$(peak_of "${daemons[$side]}")"
        note "$long" "$side" 1 recorded $((microseconds[$side] / turns[$side]))
    done
    backlog
    end_live_sides
    say "  $long: $SECONDS s"
}

# Some of the parts on a side; while they last, what is not recorded is asked for again and again.
long_parts() { # side, first part, last part
    local side=$1 number watcher result count took wrote samples=$work/samples.$1
    touch "$work/watched"
    watch_backlog "${place[$side]}" "$samples" &
    watcher=$!
    for ((number = $2; number <= $3; number++)); do
        result=$(run benches/compare/turns.sh "${place[$side]}" "$work/live" "$data" \
            $((turns[$side] + 1)) $part 2> "$work/last.err") || break
        read -r count took wrote <<< "$result"
        [ $count -gt 0 ] || break
        note "$long" "$side" $number turn $((took / count))
        turns[$side]=$((turns[$side] + count))
        microseconds[$side]=$((microseconds[$side] + took))
        bytes[$side]=$((bytes[$side] + wrote))
    done
    rm "$work/watched"
    wait $watcher
    [ $number -gt "$3" ]
}

all_recorded() {
    local began=${EPOCHREALTIME/./}
    run "$program" sync "${place[rewindfs]}" 2> "$work/last.err" || return 1
    microseconds[rewindfs]=$((microseconds[rewindfs] + ${EPOCHREALTIME/./} - began))
}

# Lines of milliseconds since the beginning, files and names not recorded, age of the oldest in seconds.
watch_backlog() { # folder, where to
    local began=${EPOCHREALTIME/./} answer
    local wanted='"not_recorded":\{"files":([0-9]+),.*"states":[0-9]+,"seconds":([0-9.]+)'
    while [ -e "$work/watched" ]; do
        answer=$(run "$program" status "$1" --json) || true
        [[ ! $answer =~ $wanted ]] ||
            echo $(((${EPOCHREALTIME/./} - began) / 1000)) "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}" >> "$2"
        sleep 0.2
    done
}

# What was not recorded comes and goes with every state, so it is the mean of a part of the time: of
# the second tenth, and of the last.
backlog() {
    local when from kind column mean
    for when in after_a_tenth at_the_end; do
        from=$part
        [ $when = after_a_tenth ] || from=$((9 * part))
        for kind in files seconds; do
            column=$([ $kind = files ] && echo 2 || echo 3)
            mean=$(awk -v from=$from -v to=$((from + part)) -v column=$column '
                $1 >= from && $1 < to { sum += $column; n++ }
                END { if (n) printf "%.2f", (sum > 0.01 * n ? sum / n : 0.01) }' "$work/samples.rewindfs")
            if [ -n "$mean" ]; then
                note "${long}_not_recorded" $when 1 $kind "$mean"
            else
                echo "status told nothing of it" > "$work/last.err"
                trouble "not recorded, $when" rewindfs
            fi
        done
    done
}
