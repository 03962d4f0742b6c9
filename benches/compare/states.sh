# A day of many checkpoints, and what a look into the past costs after it: two folders with the same
# files, one with ten checkpoints and one with many, asked by turns; sourced by compare.sh.

section_states() {
    past_image
    local few=rewindfs_10 many=rewindfs_$states side
    checkpoints_and_lookups || trouble checkpoints rewindfs
    take_off_below "$past"
    for side in $few $many; do
        rm -rf "${past:?}/$side" "$past/.$side.rewind"
    done
    say "  states: $SECONDS s"
}
checkpoints_and_lookups() {
    local round
    for side in $few $many; do
        make_tree "$past/$side" $state_files 10 3
        find "$past/$side" -name '*.rs' -printf '%P\n' > "$work/$side.files"
        rewind "$past/$side" interval=100ms,settle=50ms || return 1
        daemons[$side]=$(daemon_of "$past/$side")
    done
    say "  laid out: $SECONDS s"
    for side in $few $many; do
        make_states $side ${side#*_} || return 1
        [ $made -ge ${side#*_} ] || return 0
    done
    say "  $states checkpoints: $SECONDS s"
    for ((round = 1; round <= rounds; round++)); do
        out_of_time "lookups, round $round" && break
        if [ $((round % 2)) = 1 ]; then
            ask_the_past "$round" $few $many
        else
            ask_the_past "$round" $many $few
        fi
    done
    note checkpoints $many 1 memory "$(peak_of "${daemons[$many]}")"
}

# One file is changed for each state: always another of the first hundred. Sets made, which is
# smaller when the time has ended.
make_states() { # side, how many
    local folder=$past/$1 batch cpu bytes began
    made=0
    head -n 100 "$work/$1.files" > "$work/changed"
    bytes=$(du -s -B1 "$past/.$1.rewind" | cut -f1)
    while [ $made -lt "$2" ]; do
        if [ "$SECONDS" -gt "$until" ]; then
            leave_out "$1" "no time was left for it: $made checkpoints were made"
            return 0
        fi
        batch=$(($2 - made < 250 ? $2 - made : 250))
        cpu_of "${daemons[$1]}"
        cpu=$REPLY
        began=${EPOCHREALTIME/./}
        run bash -c 'mapfile -t file < "$1"
            for ((n = $4; n < $4 + $5; n++)); do
                echo "// state $n" >> "$3/${file[$((n % ${#file[@]}))]}" && "$2" sync "$3" > /dev/null || exit
            done' states "$work/changed" "$program" "$folder" $made $batch 2> "$work/last.err" || return 1
        note checkpoints "$1" $((made / 250 + 1)) safe $(((${EPOCHREALTIME/./} - began) / batch))
        cpu_of "${daemons[$1]}"
        note checkpoints "$1" $((made / 250 + 1)) cpu $(((REPLY - cpu) / batch))
        made=$((made + batch))
    done
    note checkpoints "$1" 1 bytes $(($(du -s -B1 "$past/.$1.rewind" | cut -f1) - bytes))
    made=$(run "$program" status "$folder" --json | grep -o '"checkpoints":[0-9]*' | cut -d: -f2)
    [ "$made" -ge "$2" ] || { echo "$made checkpoints, not $2" > "$work/last.err"; return 1; }
}

# Each round asks about other files, none of which was ever changed.
ask_the_past() { # round, sides...
    local round=$1 side folder
    shift
    for side in "$@"; do
        folder=$past/$side
        awk -v round="$round" -v rounds="$rounds" -v asked=$asked '
            NR > 100 { path[++n] = $0 }
            END { for (i = 0; i < asked; i++) print path[1 + int(n * (i + round / (rounds + 1)) / asked)] }
        ' "$work/$side.files" > "$work/asked"
        asked_of lookups "$side" xargs -d '\n' stat -c '' < <(sed "s|^|$folder/.snapshots/first/|" "$work/asked")
        asked_of lookups_newest "$side" xargs -d '\n' stat -c '' < <(sed "s|^|$folder/.snapshots/latest/|" "$work/asked")
        asked_of history "$side" xargs -d '\n' ls < <(sed "s|^|$folder/.snapshots/.history/|" "$work/asked")
        head -n 10 "$work/asked" > "$work/logged"
        asked_of log "$side" xargs -d '\n' -n 1 "$program" log < <(sed "s|^|$folder/|" "$work/logged")
    done
}
# The paths come in; noted is what each of them cost.
asked_of() { # load, side, command...
    local load=$1 side=$2 count=$asked began before ended
    [ "$load" != log ] || count=$(wc -l < "$work/logged")
    shift 2
    before=$(nanoseconds_of "${daemons[$side]}")
    began=${EPOCHREALTIME/./}
    quietly "$@" || { trouble "$load" "$side"; return 0; }
    ended=${EPOCHREALTIME/./}
    note "$load" "$side" "$round" safe $(((ended - began) / count))
    note "$load" "$side" "$round" cpu $((($(nanoseconds_of "${daemons[$side]}") - before) / count / 1000))
}
