# The live tree while the daemon has much else to do: its first import, and a prune. Against the same
# work on the same mount when it has not; sourced by compare.sh.

section_busy() {
    past_image
    local folder=$past/busy round
    make_tree "$folder" $busy_files 60 5
    head -c $((megabytes * 2))M /dev/urandom > "$folder/photos"
    for ((round = 1; round <= slow_rounds; round++)); do
        out_of_time "busy, round $round" && break
        import_and_prune || { trouble busy rewindfs; break; }
    done
    take_off_below "$past"
    rm -rf "$folder" "$past/.busy.rewind"
    say "  busy: $SECONDS s"
}
import_and_prune() {
    local number pruning
    rm -rf "$past/.busy.rewind"
    sync -f "$past"
    quietly "$program" mount "$folder" || return 1
    daemons[busy]=$(daemon_of "$folder")
    beside import importing || return 1

    # What can be dropped: states of which each had a large file, and many small ones, of its own.
    for number in $(seq 20); do
        head -c $((megabytes * 256))k /dev/urandom > "$folder/photos"
        small_work && run "$program" sync "$folder" || return 1
    done
    quietly "$program" policy "$folder" --keep-all 0h --keep-hourly 0h --keep-daily 0h --keep-weekly 0h || return 1
    run "$program" prune "$folder" --json > "$work/pruned" 2> "$work/last.err" &
    pruning=$!
    beside prune kill -0 $pruning && wait $pruning || return 1
    grep -q '"bytes":[1-9]' "$work/pruned" || { echo "prune: $(< "$work/pruned")" > "$work/last.err"; return 1; }
    unwind "$folder"
}

importing() { run "$program" status "$folder" --json | grep '"scan":{' > /dev/null; }

# A release is unpacked, and removed again.
small_work() {
    mkdir "$folder/work" && quietly tar -xf "$data/client.tar" -C "$folder/work" && sync -f "$past" &&
        quietly rm -rf "$folder/work"
}

# Small work again and again as long as something is under way, and as often when it is done.
beside() { # what, how to know that it is under way...
    local what=$1 count=0 number began took cpu
    shift
    while "$@" 2> /dev/null; do
        cpu_of "${daemons[busy]}"
        cpu=$REPLY
        began=${EPOCHREALTIME/./}
        small_work || return 1
        took=$((${EPOCHREALTIME/./} - began))
        cpu_of "${daemons[busy]}"
        # What was only begun meanwhile says nothing.
        "$@" 2> /dev/null && [ $count -lt 50 ] || break
        count=$((count + 1))
        note "beside_$what" meanwhile $((100 * round + count)) turn $took
        note "beside_$what" meanwhile $((100 * round + count)) cpu $((REPLY - cpu))
    done
    while "$@" 2> /dev/null; do sleep 0.2; done
    run "$program" sync "$folder" || return 1
    if [ $count = 0 ]; then
        [ $mode = smoke ] || { echo "the $what was over too soon" > "$work/last.err"; return 1; }
        leave_out "beside_$what" "it was over too soon"
    fi
    for ((number = 1; number <= count; number++)); do
        began=${EPOCHREALTIME/./}
        small_work || return 1
        note "beside_$what" at_rest $((100 * round + number)) turn $((${EPOCHREALTIME/./} - began))
    done
}
