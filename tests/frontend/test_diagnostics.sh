#!/bin/bash
# Every code that a diagnostic can carry has a case in diagnostics/: CODE*.mix, which `mixc check` answers with exactly the
# text of CODE*.expected. Beside it, CODE*.args may hold further arguments, or CODE*.run another command altogether.
# Every code in the sources has a case here and a row in codes.def, and every row is reported by somebody.
# `test_diagnostics.sh --update` writes the expected texts; read their diff.
set -u
tests=${MIXC_TESTS:-$(cd "$(dirname "$0")/.." && pwd)}
mixc=${MIXC:-$tests/../build/mixc}
[ -x "$mixc" ] || { echo "no mixc at $mixc"; exit 77; }
cd "$tests/frontend/diagnostics" || exit 1
bad=0
for f in [EW]*.mix [EW]*.ir; do
    name=${f%.*} code=${f:0:5}
    command=(check "$f")
    [ -f "$name.args" ] && read -r -a more < "$name.args" && command+=("${more[@]}")
    [ -f "$name.run" ] && read -r -a command < "$name.run"
    got=$("$mixc" "${command[@]}" --color never 2>&1 >/dev/null)
    status=$?
    if [ "${1:-}" = --update ]; then
        printf '%s\n' "$got" > "$name.expected"
        continue
    fi
    case $code in E*) wanted=1 ;; *) wanted=0 ;; esac
    if [ $status -ne $wanted ]; then
        echo "$f: exit status $status, expected $wanted"
        bad=1
    fi
    if ! diff -u "$name.expected" <(printf '%s\n' "$got"); then
        echo "$f: not what $name.expected says"
        bad=1
    fi
    case $got in *"[$code]"*) ;; *) echo "$f: does not report $code"; bad=1 ;; esac
done

codes=$tests/../frontend/syntax/codes.def
used=$(cd "$tests/.." && grep -hoE '"[EW]0[0-9]{3}"' frontend/*/*.c passes/*.c ir/*.c 2>/dev/null | tr -d '"' | sort -u)
for code in $used; do
    grep -q "^CODE(\"$code\"" "$codes" || { echo "$code has no row in frontend/syntax/codes.def"; bad=1; }
    ls "$code"*.expected >/dev/null 2>&1 || { echo "$code has no case in tests/frontend/diagnostics"; bad=1; }
    "$mixc" explain "$code" | grep -q "$code" || { echo "mixc explain $code says nothing"; bad=1; }
done
for code in $(grep -oE '^CODE\("[EW]0[0-9]{3}"' "$codes" | grep -oE '[EW]0[0-9]{3}'); do
    echo "$used" | grep -q "$code" || { echo "$code has a row in codes.def, but nothing reports it"; bad=1; }
done
exit $bad
