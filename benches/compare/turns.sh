#!/bin/bash
# A load that goes on, for so many milliseconds. In each turn a release is unpacked in place of an old one,
# every file of it is edited, it is searched, a file that cannot be compressed is written, and a
# database takes in some rows. No two turns write the same.
# Prints how many turns there were, the microseconds that they took until all was on disk, and the
# bytes that were written.
#   benches/compare/turns.sh FOLDER FILE-SYSTEM DATA FIRST-TURN MILLISECONDS
set -euo pipefail
folder=$1 file_system=$2 data=$3 turn=$4 milliseconds=$5

written() { awk '/^wchar/ { print $2 }' /proc/$$/io; } # by this process and those it has waited for

one_turn() {
    local slot=$folder/slot$((turn % 8))
    rm -rf "$slot"
    mkdir "$slot"
    tar -xf "$data/client.tar" -C "$slot"
    find "$slot" -name '*.rs' -exec sed -i "1i // turn $turn" {} +
    head -c "$(<"$data/object.bytes")" /dev/urandom > "$slot/object"
    ! grep -rq 'there is no such word' "$slot"
    ! command -v sqlite3 > /dev/null ||
        sqlite3 "$folder/db" 'PRAGMA journal_mode=WAL; CREATE TABLE IF NOT EXISTS t(a INTEGER PRIMARY KEY, b);' \
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
             INSERT INTO t(b) SELECT printf('%0100d', $turn * 1000 + i) FROM n;" > /dev/null
}

before=$(written)
first=$turn
began=${EPOCHREALTIME/./}
while [ ${EPOCHREALTIME/./} -lt $((began + milliseconds * 1000)) ]; do
    one_turn
    turn=$((turn + 1))
done
sync -f "$file_system"
ended=${EPOCHREALTIME/./}
echo $((turn - first)) $((ended - began)) $(($(written) - before))
