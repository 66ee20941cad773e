# What the text of a compiled program says about expert layers (test_expert_layers.sh). Needs -v layer=PATH, and reads
# `mixc dump --after codegen`. Prints one line: launches of the layer, bytes kept for the backward pass, bytes that X, H and the
# indices are, and how many values hold a row of the width `wide` for each choice before the experts' results do; then launches on a GPU:
# those that choose, give places and order rows, the experts' products before the loss, and those behind it.
#   X: [tokens, D], once       H: [tokens, choice, F], made by the first grouped product
#   indices: what is kept and holds neither D nor F: choices, weights, slots, scores, sums of rows
/^kernel / {
    is_order[$2] = $3 ~ /_order$/
    list = $0; sub(/.*writes \[/, "", list); sub(/\].*/, "", list)
    writes[$2] = list; family[$2] = $5
}
/^buffer / {
    kind[$2] = $5
    type = $0; sub(/.* : [a-z]+ [a-z0-9]+\[/, "", type); sub(/\].*/, "", type); axes[$2] = type
    for (i = 1; i < NF; i++) if ($i == "bytes") bytes[$2] = $(i + 1)
    if ($3 == "\"loss.train\"") loss = $2
}
/^launch / {
    n++
    list = $0; sub(/^[^[]*\[/, "", list); sub(/\].*/, "", list)
    n_args = split(list, arg, /, */)
    name = ""
    if (match($0, /layer "[^"]*"/)) name = substr($0, RSTART + 7, RLENGTH - 8)
    named = name == layer || index(name, layer ".") == 1
    inside = named || (inside && family[$2] == "grouped")       # a product whose result goes on bears the name of where it goes
    if (inside) launches++
    blocks = match($0, /blocks [0-9]+/) ? substr($0, RSTART + 7, RLENGTH - 7) + 0 : 0
    if (inside && blocks > 0) {
        if ((family[$2] == "route" || is_order[$2]) && !turn) choosing++
        else if (family[$2] == "grouped") { if (turn) backward++; else forward++ }
    }
    n_writes = split(writes[$2], place, /, */)
    for (i = 1; i <= n_writes; i++) {
        b = arg[place[i] + 1]
        if (!(b in born)) { born[b] = n; maker[b] = named || (inside && axes[b] ~ /choice/); by[b] = family[$2] }
        if (b == loss) turn = n
    }
    for (i = 1; i <= n_args; i++) last[arg[i]] = n
}
function has(b, axis) { return match(", " axes[b] ",", ", " axis " = ") > 0 }
function choices(b) { return match(axes[b], /choice[^ ,]* = [0-9]+/) ? substr(axes[b], RSTART + index(substr(axes[b], RSTART), "=")) + 0 : 1 }
END {
    for (b in born) {
        if (kind[b] != "temp" || !maker[b] || (turn && born[b] > turn)) continue
        if (has(b, wide) && axes[b] ~ /choice/ && by[b] != "grouped") copies++
        if (!turn || last[b] <= turn) continue
        kept += bytes[b]
        if (has(b, hidden)) { if (bytes[b] > h) h = bytes[b] }
        else if (has(b, wide)) { if (bytes[b]/choices(b) > x) x = bytes[b]/choices(b) }
        else rest += bytes[b]
    }
    print launches + 0, kept + 0, x + h + rest, copies + 0, choosing + 0, forward + 0, backward + 0
}
