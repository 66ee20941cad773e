#!/bin/bash
# A routed layer goes forward in at most four kernels: the choice, the places or the order of the rows, and two products. What
# adds up a token's choices is in the second product or in the loop behind it.
set -u
tests=${MIXC_TESTS:-$(cd "$(dirname "$0")/.." && pwd)}
mixc=${MIXC:-$tests/../build/mixc}
[ -x "$mixc" ] || { echo "no mixc at $mixc"; exit 77; }
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
bad=0

# check MODEL LAYER: of the launches, those of the routed layers: all that the layer itself has, and products by groups that follow
# it, which the loop behind them may have lent its name. Layers are counted by their kernels of choice, or by their pairs of products.
check() {
    "$mixc" dump "$tests/../models/$1.mix" --mode eval --after codegen -o "$work/$1" > /dev/null 2> "$work/err" || { cat "$work/err"; bad=1; return; }
    cat "$work/$1"/*codegen.ir | awk -v layer="$2" -v model="$1" '
        /^kernel %/ { family[$2] = $5 }
        /^launch %/ {
            name = $NF; gsub(/"/, "", name)
            mine = name ~ layer "$"
            if (family[$2] == "grouped" && (mine || (inside && $0 !~ /work 1 /)))
                products++
            if (mine || (inside && family[$2] == "grouped"))
                n++
            inside = mine || (inside && family[$2] == "grouped")
            orders += mine && family[$2] == "grouped" && / work 1 /
        }
        END {
            layers = (products - orders)/2
            if (layers < 1 || layers != int(layers)) { print model ": " products " products and " orders " orders"; exit 1 }
            if (n > 4*layers) { print model ": " n " kernels in " layers " routed layers"; exit 1 }
        }' || bad=1
}

check switch '\\.Switch'
check gshard '\\.GShard'
check sigma_moe '\\.SigmaMoE'
check moeut '\\.SigmaMoE'
check widenet '\\.moe'
check widenet_text '\\.moe'
check vmoe '\\.MoE'
check vit_moe '\\.MoE'
check base '\\.Base'
check hash '\\.Hash'
check smlp '\\.Tmoe'
exit $bad
