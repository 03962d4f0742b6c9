# Medians, ratios, targets; sourced by compare.sh.

report() {
    echo "### The machine and the run"
    echo
    echo "- $(nproc) cores ($(awk -F': ' '/^model name/ { print $2; exit }' /proc/cpuinfo)), $(awk '/^MemTotal/ { printf "%d GiB", $2 / 1048576 + 0.5 }' /proc/meminfo) of memory, Linux $(uname -r | cut -d- -f1)"
    echo "- Load average when it began $load_at_start, when it ended $(cut -d' ' -f1 /proc/loadavg)"
    local side
    printf -- '- Versions:'
    for side in "${!version[@]}"; do
        printf ' %s;' "$(printf '%s' "$side: ${version[$side]}" | sed 's/ compiled with.*//')"
    done | sed 's/;$//'
    echo
    echo "- Command: \`${command% }\`"
    [ ! -s "$skipped" ] || sed 's/^/- Skipped: /' "$skipped"
    echo
    # How fast 50 files are means nothing: a smoke run judges only what it is told to.
    {
        [ $mode = smoke ] || grep -v "^#" benches/compare/targets
        [ -z "${COMPARE_TARGETS:-}" ] || echo "$COMPARE_TARGETS"
    } > "$work/targets"
    awk -f benches/compare/report.awk part=targets "$work/targets" part=figures "$figures"
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
