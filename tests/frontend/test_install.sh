#!/bin/bash
# What is installed works from where it lies: the program, the library with its pkg-config file, manual pages, completions. The
# library's symbols are those of its header.
set -u
build=$(dirname "$MIXC")
[ -e "$build/libmixc.so" ] || { echo "no libmixc.so"; exit 1; }
ldd "$build/libmixc.so" | grep -q libasan && { echo "not with sanitizers"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export MIXC_CACHE_DIR=$work/cache
bad=0
complain() { echo "FAIL: $*"; bad=1; }

DESTDIR=$work cmake --install "$build" --prefix /usr >"$work/log" 2>&1 || { cat "$work/log"; complain "install"; }
usr=$work/usr
lib=$(dirname "$(find "$usr" -name 'libmixc.so.0' | head -1)")
for file in bin/mixc include/mixc.h share/man/man1/mixc.1 share/man/man1/mixc-train.1 share/mixc/models/gpt.mix \
            share/bash-completion/completions/mixc lib/python3/dist-packages/mixc.py; do
    [ -s "$usr/$file" ] || complain "$file is not installed"
done
"$usr/bin/mixc" check "$usr/share/mixc/models/gpt.mix" || complain "the installed program"
bash -n "$usr/share/bash-completion/completions/mixc" || complain "the completion for bash"
if command -v man >/dev/null; then
    for page in "$usr"/share/man/man1/*.1; do
        warnings=$(LC_ALL=C man --warnings -l "$page" 2>&1 >/dev/null)
        [ -z "$warnings" ] || complain "$page: $warnings"
    done
fi

# public symbols: declared in the header, at most 40
nm -D --defined-only "$lib/libmixc.so.0" | awk '{ print $3 }' | sort >"$work/have"
sed -n 's/^MIXC_API.*[ *]\(mixc_[a-z_]*\)(.*/\1/p' "$usr/include/mixc.h" | sort >"$work/want"
diff "$work/have" "$work/want" || complain "the library's symbols are not the header's"
[ "$(wc -l <"$work/have")" -le 40 ] || complain "more than 40 symbols"

# a program built with pkg-config, as C and, where there is a compiler, as C++
cat >"$work/p.c" <<'C'
#include <mixc.h>
#include <stdio.h>
int main(int n, char **argument)
{
    MixcError error;
    MixcModel *m = n > 1 ? mixc_open(argument[1], NULL, &error) : NULL;
    if (m)
        printf("%d tensors\n", mixc_tensors(m));
    mixc_close(m);
    return m ? 0 : 1;
}
C
export PKG_CONFIG_PATH=$lib/pkgconfig
for compiler in gcc g++; do
    command -v $compiler >/dev/null || continue
    language=$([ $compiler = g++ ] && echo c++ || echo c)
    $compiler -x $language -Wall -Wextra -Werror $(pkg-config --cflags mixc) "$work/p.c" -x none $(pkg-config --libs mixc) -o "$work/p" || complain "$compiler"
    LD_LIBRARY_PATH=$lib "$work/p" "$usr/share/mixc/models/gpt.mix" | grep -q tensors || complain "the program built with $compiler"
done
[ $bad = 0 ] && echo ok
exit $bad
