# Results, medians, ratios, targets; sourced by compare.sh. The result of a section is a file of lines
#   of WHAT         what must be the same for results to stand in one table
#   versions WHAT   of the peers
#   when WHAT       and how much else the machine did
#   skipped WHAT: WHY
#   figure LOAD SIDE ROUND KIND VALUE

identity() {
    local cpu memory
    cpu=$(awk -F': ' '/^model name/ { print $2; exit }' /proc/cpuinfo)
    memory=$(awk '/^MemTotal/ { printf "%d GiB", $2 / 1048576 + 0.5 }' /proc/meminfo)
    echo "of $(nproc) cores ($cpu), $memory of memory, Linux $(uname -r | cut -d- -f1); ${version[rewindfs]}; $mode run"
}

begin_result() { # section
    : > "$figures"
    cp "$work/always-skipped" "$skipped"
    about=
    began_at="$(date -u '+%F %H:%M') UTC"
    began_after=$SECONDS
    load_at_start=$(cut -d' ' -f1 /proc/loadavg)
    identity > "$results/$1.result"
}
# A section that has measured nothing, and does not say why, has failed.
end_result() { # section
    local side
    if [ ! -s "$figures" ] && cmp -s "$skipped" "$work/always-skipped"; then
        echo "it has measured nothing" > "$work/last.err"
        trouble "$1" rewindfs
    fi
    {
        identity
        for side in "${!version[@]}"; do
            [ "$side" = rewindfs ] || echo "versions $side: ${version[$side]}"
        done
        echo "when $1: $began_at, $((SECONDS - began_after)) s, load average $load_at_start when it began," \
            "$(cut -d' ' -f1 /proc/loadavg) when it ended${about:+; $about}"
        sed 's/^/skipped /' "$skipped"
        sed 's/^/figure /' "$figures"
    } > "$results/$1.result"
    [ -z "$keep" ] || { mkdir -p "$keep" && cp "$results/$1.result" "$keep"; }
}
# Results of other sections that were kept before go into the same table.
take_kept() {
    local other
    [ -n "$keep" ] || return 0
    for other in "$keep"/*.result; do
        [ -e "$other" ] || continue
        [ "$(sed -n 1p "$other")" = "$(identity)" ] ||
            fail "$other is of another machine, commit or mode: keep the results in another folder"
        cp "$other" "$results"
    done
}

# The lines of one kind of all results, in the order of the sections, each once.
lines() { # kind
    local section
    for section in "${all_sections[@]}"; do
        [ ! -e "$results/$section.result" ] || sed -n "s/^$1 //p" "$results/$section.result"
    done | awk '!seen[$0]++'
}

report() {
    [ "$(lines of | wc -l)" = 1 ] || fail "these results are of several machines, commits or modes: $(lines of | tr '\n' '|')"
    local of
    of=$(lines of)
    echo "### The machine and the run"
    echo
    echo "- $of"
    echo "- Versions: $(lines versions | sed 's/ compiled with.*//; s/\(3\.[0-9.]*\) 20[0-9][0-9]-.*/\1/' | sort | paste -sd';' | sed 's/;/; /g')"
    echo "- Command: \`${command% }\`"
    lines when | sed 's/^/- Section /'
    lines skipped | sed 's/^/- Skipped: /'
    echo
    # How fast 50 files are means nothing: a smoke run judges only what it is told to.
    {
        [[ $of == *"smoke run" ]] || grep -v "^#" benches/compare/targets
        [ -z "${COMPARE_TARGETS:-}" ] || echo "$COMPARE_TARGETS"
    } > "$work/targets"
    lines skipped > "$work/left-out"
    lines figure > "$work/all-figures"
    awk -v mode="$(sed 's/.* \(.*\) run$/\1/' <<< "$of")" -f benches/compare/report.awk part=targets "$work/targets" \
        part=skipped "$work/left-out" part=figures "$work/all-figures"
}

# The part of docs/performance.md between its two marks.
write_document() {
    awk -v report="$work/report.md" '
        /^<!-- table: begin/ { print; print ""; while ((getline line < report) > 0) print line; print ""; off = 1 }
        /^<!-- table: end/ { off = 0 }
        !off
    ' docs/performance.md > "$work/performance.md"
    cp "$work/performance.md" docs/performance.md
    say "written: docs/performance.md"
}
