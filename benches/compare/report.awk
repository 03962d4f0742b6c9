# The files of `part=targets` are targets, those of `part=skipped` what was left out and why, those of
# `part=figures` figures. Prints the tables.

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
function ms(v) { return v == "" ? "" : v < 9950 ? sprintf("%.2f", v / 1000) : v < 99950 ? sprintf("%.1f", v / 1000) : sprintf("%d", v / 1000 + 0.5) }
function both(load, side,    w, s) {
    w = middle(load, side, "work")
    s = middle(load, side, "safe")
    return w == "" ? "" : w == s ? ms(w) : ms(w) " / " ms(s)
}
function with_spread(load, side, kind,    m) {
    m = ms(middle(load, side, kind))
    return m == "" ? "" : sprintf("%s (%s-%s)", m, ms(lowest), ms(highest))
}
function mib(v) { return v == "" ? "" : sprintf("%.1f", v / 1048576) }
function against(load, a, b, kind,    r) {
    r = ratio(load, a, b, kind)
    return r == "" ? "" : sprintf("%.2f (%.2f-%.2f)", r, lowest, highest)
}

# Why a target cannot be judged.
function reason(l, kind, a, b,    side) {
    side = middle(l, a, kind) == "" ? a : b
    if (side in because) return because[side]
    if (l in because) return because[l]
    if ((l ", round 1") in because) return because[l ", round 1"]
    if (b in because) return because[b]
    return "no figure of " (l in seen ? side : l)
}
# One load after the other in the live tree.
function live_work(    i, l) {
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
    print "Of the commands and of the daemon together, until recorded: what else the machine did changes it less;"
    print "memory: the most that the daemon held meanwhile, MiB.\n"
    print "| load | ext4 | passthrough_ll | bindfs | rewindfs nohistory | rewindfs | passthrough_ll / rewindfs | rewindfs / nohistory | memory |"
    print "|---|---|---|---|---|---|---|---|---|"
    for (i = 1; i <= loads; i++) {
        l = load[i]
        if (!(l in live)) continue
        printf "| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", l, ms(middle(l, "ext4", "spent")),
            ms(middle(l, "passthrough_ll", "spent")), ms(middle(l, "bindfs", "spent")),
            ms(middle(l, "nohistory", "spent")), ms(middle(l, "rewindfs", "spent")),
            against(l, "passthrough_ll", "rewindfs", "spent"), against(l, "rewindfs", "nohistory", "spent"),
            mib(middle(l, "rewindfs", "memory"))
    }
}

# The load that goes on.
function goes_on(l,    n, k, s, b) {
    b = l "_not_recorded"
    print "\n### A load without a pause: " l "\n"
    print "Milliseconds of a turn, of ten parts of the time: the median, the smallest and the largest. Recorded: the mean of all,"
    print "until `rewindfs sync` returned at the end. CPU: of the daemon.\n"
    print "| side | a turn | recorded | written, MiB | CPU seconds for each GiB | memory, MiB |\n|---|---|---|---|---|---|"
    n = split(sides[l], s, " ")
    for (k = 1; k <= n; k++)
        printf "| %s | %s | %s | %s | %.2f | %s |\n", s[k], with_spread(l, s[k], "turn"), ms(middle(l, s[k], "recorded")),
            mib(middle(l, s[k], "written")), middle(l, s[k], "cpu_of_gib") / 1000000, mib(middle(l, s[k], "memory"))
    if (!(b in seen)) return
    print "\n| not recorded yet, the mean of a tenth of the time | files and names | the oldest, seconds |\n|---|---|---|"
    printf "| the second | %.0f | %.2f |\n", middle(b, "after_a_tenth", "files"), middle(b, "after_a_tenth", "seconds")
    printf "| the last | %.0f | %.2f |\n", middle(b, "at_the_end", "files"), middle(b, "at_the_end", "seconds")
}

# Work while the daemon has much else to do.
function beside(    i, l, head) {
    for (i = 1; i <= loads; i++) {
        l = load[i]
        if (l !~ /^beside_/) continue
        if (!head++) {
            print "\n### Live work beside an import and a prune\n"
            print "Milliseconds until a release was unpacked, synced and removed again; CPU: of the daemon, with what it did besides.\n"
            print "| beside | meanwhile | at rest on the same mount | meanwhile / at rest | CPU meanwhile |\n|---|---|---|---|---|"
        }
        printf "| %s | %s | %s | %s | %s |\n", substr(l, 8), with_spread(l, "meanwhile", "turn"), with_spread(l, "at_rest", "turn"),
            against(l, "meanwhile", "at_rest", "turn"), ms(middle(l, "meanwhile", "cpu"))
    }
}

BEGIN { last = 0 }
part == "targets" { split($0, f, "|"); if (f[8] == "" || f[8] == mode) target[++targets] = $0; next }
part == "skipped" { k = index($0, ": "); because[substr($0, 1, k - 1)] = substr($0, k + 2); next }
{
    figure[$1, $2, $4, $3] = $5
    if ($3 > last) last = $3
    if (!($1 in seen)) { seen[$1] = 1; load[++loads] = $1 }
    if (!(($1, $2) in side)) { side[$1, $2] = 1; sides[$1] = sides[$1] " " $2 }
    if ($4 == "work") { live[$1] = 1; one_by_one = 1 }
    if ($4 == "recorded" && !($1 in live)) going[$1] = 1
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
            if (v != "" && (f[3] == "memory" || f[3] == "bytes")) v /= 1048576
            spread = ""
            name = f[4]
        } else {
            b = smallest(f[2], f[5], f[3])
            v = b == "" ? "" : ratio(f[2], f[4], b, f[3])
            spread = sprintf(" (%.2f-%.2f)", lowest, highest)
            name = f[4] " / " (b == "" ? f[5] : b)
        }
        if (v == "") {
            result = "skipped: " reason(f[2], f[3], f[4], f[5])
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

    if (one_by_one) live_work()
    for (i = 1; i <= loads; i++)
        if (load[i] in going) goes_on(load[i])
    beside()
    print "\n### The past\n"
    print "| what | side | median | smallest | largest |\n|---|---|---|---|---|"
    for (i = 1; i <= loads; i++) {
        l = load[i]
        if ((l in live) || (l in going) || l ~ /_not_recorded$/ || l ~ /^beside_/) continue
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
