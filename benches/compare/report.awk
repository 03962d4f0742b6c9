# The files of `part=targets` are targets, those of `part=figures` figures. Prints the tables.

function median(list, n,    i, k, v, sorted) {
    for (i = 1; i <= n; i++) {
        v = list[i]
        for (k = i - 1; k > 0 && sorted[k] > v; k--) sorted[k + 1] = sorted[k]
        sorted[k + 1] = v
    }
    lowest = sorted[1]
    highest = sorted[n]
    return n % 2 ? sorted[(n + 1) / 2] : (sorted[n / 2] + sorted[n / 2 + 1]) / 2
}
# The median of a side's rounds, or "".
function middle(load, side, kind,    r, n, list) {
    n = 0
    for (r = 1; r <= last; r++)
        if ((load, side, kind, r) in figure) list[++n] = figure[load, side, kind, r]
    return n ? median(list, n) : ""
}
# Of several sides the one with the smallest median.
function smallest(load, sides, kind,    n, i, m, best, name, list) {
    n = split(sides, list, ",")
    name = ""
    for (i = 1; i <= n; i++) {
        m = middle(load, list[i], kind)
        if (m != "" && (name == "" || m < best)) { best = m; name = list[i] }
    }
    return name
}
# The median of the ratios of the rounds that both sides have; sets lowest, highest.
function ratio(load, a, b, kind,    r, n, list) {
    n = 0
    for (r = 1; r <= last; r++)
        if ((load, a, kind, r) in figure && (load, b, kind, r) in figure && figure[load, b, kind, r] > 0)
            list[++n] = figure[load, a, kind, r] / figure[load, b, kind, r]
    return n ? median(list, n) : ""
}
function ms(v) { return v == "" ? "" : v < 99950 ? sprintf("%.1f", v / 1000) : sprintf("%d", v / 1000 + 0.5) }
function both(load, side,    w, s) {
    w = middle(load, side, "work")
    s = middle(load, side, "safe")
    return w == "" ? "" : w == s ? ms(w) : ms(w) " / " ms(s)
}
function against(load, a, b, kind,    r) {
    r = ratio(load, a, b, kind)
    return r == "" ? "" : sprintf("%.2f (%.2f-%.2f)", r, lowest, highest)
}

BEGIN { last = 0 }
part == "targets" { target[++targets] = $0; next }
{
    figure[$1, $2, $4, $3] = $5
    if ($3 > last) last = $3
    if (!($1 in seen)) { seen[$1] = 1; load[++loads] = $1 }
    if (!(($1, $2) in side)) { side[$1, $2] = 1; sides[$1] = sides[$1] " " $2 }
    if ($4 == "work") live[$1] = 1
}
END {
    print "### Targets\n"
    print "Each ratio is the median of the ratios within a round; in brackets the smallest and the largest.\n"
    print "| target | ratio | measured | must be | result |\n|---|---|---|---|---|"
    for (t = 1; t <= targets; t++) {
        split(target[t], f, "|")
        b = f[5]
        if (f[5] == "-") {
            v = middle(f[2], f[4], f[3])
            if (v != "") v /= 1048576
            spread = ""
            name = f[4]
        } else {
            b = smallest(f[2], f[5], f[3])
            v = b == "" ? "" : ratio(f[2], f[4], b, f[3])
            spread = sprintf(" (%.2f-%.2f)", lowest, highest)
            name = f[4] " / " (b == "" ? f[5] : b)
        }
        if (v == "") {
            why = middle(f[2], f[4], f[3]) == "" ? f[4] : f[5]
            if (!(f[2] in seen)) why = f[2]
            result = "skipped: no figure of " why
            shown = ""
            count["skipped"]++
        } else {
            result = (f[6] == ">=" ? v >= f[7] : v <= f[7]) ? "met" : "missed"
            shown = sprintf("%.2f", v) spread
            count[result]++
        }
        printf "| %s | %s | %s | %s %s | %s |\n", f[1], name, shown, f[6], f[7], result
    }
    printf "\n%d met, %d missed, %d skipped\n", count["met"], count["missed"], count["skipped"]

    print "\n### Live work, milliseconds\n"
    print "Until the commands returned / until it was on disk as well (medians); `recorded`: until `rewindfs sync`"
    print "returned; CPU: of the daemon, until recorded (all medians). A load that only reads has one figure.\n"
    print "| load | ext4 | passthrough_ll | bindfs | rewindfs nohistory | rewindfs | recorded | CPU | rewindfs writeback | rewindfs / ext4 | rewindfs / passthrough_ll |"
    print "|---|---|---|---|---|---|---|---|---|---|---|"
    for (i = 1; i <= loads; i++) {
        l = load[i]
        if (!(l in live)) continue
        printf "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", l, both(l, "ext4"),
            both(l, "passthrough_ll"), both(l, "bindfs"), both(l, "nohistory"), both(l, "rewindfs"),
            ms(middle(l, "rewindfs", "recorded")), ms(middle(l, "rewindfs", "cpu")), both(l, "writeback"),
            against(l, "rewindfs", "ext4", "safe"), against(l, "rewindfs", "passthrough_ll", "safe")
    }

    print "\n### CPU of live work, milliseconds\n"
    print "Of the commands and of the daemon together, until recorded: what else the machine did changes it less.\n"
    print "| load | ext4 | passthrough_ll | bindfs | rewindfs nohistory | rewindfs | passthrough_ll / rewindfs | rewindfs / nohistory |"
    print "|---|---|---|---|---|---|---|---|"
    for (i = 1; i <= loads; i++) {
        l = load[i]
        if (!(l in live)) continue
        printf "| %s | %s | %s | %s | %s | %s | %s | %s |\n", l, ms(middle(l, "ext4", "spent")),
            ms(middle(l, "passthrough_ll", "spent")), ms(middle(l, "bindfs", "spent")),
            ms(middle(l, "nohistory", "spent")), ms(middle(l, "rewindfs", "spent")),
            against(l, "passthrough_ll", "rewindfs", "spent"), against(l, "rewindfs", "nohistory", "spent")
    }

    print "\n### The past\n"
    print "| what | side | median | smallest | largest |\n|---|---|---|---|---|"
    for (i = 1; i <= loads; i++) {
        l = load[i]
        if (l in live) continue
        n = split(sides[l], s, " ")
        for (k = 1; k <= n; k++) {
            v = middle(l, s[k], "safe")
            if (v != "") printf "| %s | %s | %s ms | %s | %s |\n", l, s[k], ms(v), ms(lowest), ms(highest)
            v = middle(l, s[k], "cpu")
            if (v != "") printf "| %s | %s, CPU of the daemon | %s ms | %s | %s |\n", l, s[k], ms(v), ms(lowest), ms(highest)
            v = middle(l, s[k], "memory")
            if (v != "") printf "| %s | %s, memory of the daemon | %.1f MiB | | |\n", l, s[k], v / 1048576
            v = middle(l, s[k], "bytes")
            if (v != "") printf "| %s | %s | %.2f MiB | | |\n", l, s[k], v / 1048576
        }
    }
}
