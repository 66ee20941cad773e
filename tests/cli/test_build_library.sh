# mixc build: what it writes, that it compiles alone as C99 and C++, what it refuses. (The numbers: tests/frontend/test_library.c.)
. "$MIXC_TESTS/cli/lib.sh"
model=$here/tiny.mix
strict="-Wall -Wextra -Wpedantic -Werror"

expect 0 "$MIXC" build "$model" -o lib/net --init --train --sources
for file in net.h libnet.a libnet.so net.c net_kernels_1.c net.weights; do [ -s lib/$file ] || complain "no $file"; says out "lib/$file"; done
says err "cc prog.c -Ilib -Llib -lnet"

# the header alone, and a program that includes it
echo '#include "net.h"' >alone.c
expect 0 cc -std=c99 $strict -Ilib -c alone.c -o alone.o
cat >prog.c <<'C'
#include "net.h"
#include <stdio.h>
#include <stdlib.h>
int main(void)
{
    const char *why;
    int n = 0;
    net_model *m = net_create(1, &why);
    int32_t *tokens = (int32_t *)calloc(NET_TOKENS_COUNT, 4);
    float *logits = (float *)malloc(NET_LOGITS_COUNT * 4);
    if (!m || !tokens || !logits || net_set_tokens(m, tokens) != NET_OK || net_run(m) != NET_OK) {
        puts(m ? net_error(m) : why);
        return 1;
    }
    net_get_logits(m, logits);
    printf("%s %d %g\n", net_weights(&n)->name, n, logits[0]);
    net_destroy(m);
    free(tokens);
    free(logits);
    return 0;
}
C
expect 0 cc -std=c99 $strict -Ilib prog.c lib/libnet.a -lm -lpthread -o prog
expect 0 ./prog; says out "param."; cp out first
expect 0 cc -std=c99 $strict -Ilib prog.c -Llib -lnet -lm -lpthread -o prog
expect 0 env LD_LIBRARY_PATH=lib ./prog; cmp -s out first || complain "the archive and the shared library differ"
if command -v c++ >/dev/null; then
    cp prog.c prog.cc
    expect 0 c++ $strict -Ilib prog.cc lib/libnet.a -lm -lpthread -o prog
    expect 0 ./prog; cmp -s out first || complain "C++ sees something else"
fi

# the sources compile alone, without a warning
for file in lib/net.c lib/net_kernels_1.c; do expect 0 cc -std=gnu17 -Wall -Wextra -Werror -O0 -Ilib -c $file -o alone.o; done

# every symbol begins with the name, and those that others see are the header's
nm -g --defined-only lib/libnet.a | awk 'NF == 3 { print $3 }' | grep -v '^net_' && complain "symbols of others"
nm -D --defined-only lib/libnet.so | awk '{ print $3 }' | sort >have
grep '^NET_API' lib/net.h | sed -n 's/^NET_API.*[ *]\(net_[A-Za-z_]*\)(.*/\1/p' | sort >want
diff have want >&2 || complain "the library's symbols are not the header's"

# the same text makes the same bytes
expect 0 "$MIXC" build "$model" -o again/net --init --train
cmp -s lib/libnet.a again/libnet.a || complain "two builds differ"
[ ! -e again/net.c ] || complain "sources were kept unasked"

# a run, with its weights; names; JSON
yes "the sea saw the sailor" | head -400 >text.txt
expect 0 "$MIXC" train "$model" --data text.txt --steps 2 --out run
expect 0 "$MIXC" build run -o named/ --json
says out '"name": "tiny"'; says out '"header": "named/tiny.h"'; says out '"embedded": true'; says out '"train": false'
expect 0 "$MIXC" build run; [ -s tiny.h ] || complain "no name, no folder: tiny.h is missing"

# other verbs of one model take a run, too, with its sizes
expect 0 "$MIXC" train "$model" --data text.txt --steps 2 --out narrow D=8 train.batch=2
expect 0 "$MIXC" show narrow --json; says out '"sizes": [28, 8]'
expect 0 "$MIXC" show narrow --json D=16; says out '"sizes": [28, 16]'
expect 0 "$MIXC" plan narrow; says out "D=8"
expect 0 "$MIXC" profile narrow --steps 1; says out "one step"
expect 0 "$MIXC" graph narrow -o narrow.svg
expect 0 "$MIXC" dump narrow --after cse -o narrow.ir
expect 0 "$MIXC" emit narrow -o narrow.c
expect 2 "$MIXC" show narrow DD=8; says err 'did you mean `D`?'
expect 6 "$MIXC" show lib; says err run.json

# without weights the library says so
expect 0 "$MIXC" build "$model" -o bare/net
expect 0 cc -Ibare prog.c bare/libnet.a -lm -lpthread -o prog
expect 1 ./prog; says out 'has no value yet: call net_load, or net_write_weight'

# another processor: what is not there is said, not crashed into
if [ "$(uname -m)" = x86_64 ]; then
    expect 0 "$MIXC" build "$model" -o old/net --init --march x86-64
    expect 0 cc -Iold prog.c old/libnet.a -lm -lpthread -o prog; expect 0 ./prog
    if ! grep -q avx512_bf16 /proc/cpuinfo; then
        expect 0 "$MIXC" build "$model" -o new/net --init --march sapphirerapids
        expect 0 cc -Inew prog.c new/libnet.a -lm -lpthread -o prog
        expect 1 ./prog; says out "compiled for processors with"
    fi
fi

# names that C or C++ would mistake, or that differ in their case only
cat >odd.mix <<'MIX'
mix 1
axis B : batch = 3, D = 4, F = 2
model Odd(class: [B,D], x: [B,F], X: [B,D]) -> x2: [B,D], new: [B,F] {
  x2 = class + X
  new = 2 * x
}
MIX
expect 0 "$MIXC" build odd.mix -o lib/odd
says lib/odd.h "odd_set_class("; says lib/odd.h "odd_get_new("; says lib/odd.h "odd_set_X_"
echo '#include "odd.h"' >alone.c; cp alone.c alone.cc
expect 0 cc -std=c99 $strict -Ilib -c alone.c -o alone.o
! command -v c++ >/dev/null || expect 0 c++ $strict -Ilib -c alone.cc -o alone.o

# token by token: the header alone, and what has no such form says why
mkdir -p texts
expect 0 "$MIXC" build "$model" --mode generate --init -o texts/net --json --sources; says out '"texts": true'
expect 0 cc -std=gnu17 -Wall -Wextra -Werror -O0 -Itexts -c texts/net.c -o alone.o
echo '#include "net.h"' >alone.c; cp alone.c alone.cc
expect 0 cc -std=c99 $strict -Itexts -c alone.c -o alone.o
! command -v c++ >/dev/null || expect 0 c++ $strict -Itexts -c alone.cc -o alone.o
nm -D --defined-only texts/libnet.so | awk '{ print $3 }' | sort >have
grep '^NET_API' texts/net.h | sed -n 's/^NET_API.*[ *]\(net_[A-Za-z_]*\)(.*/\1/p' | sort >want
diff have want >&2 || complain "the library's symbols are not the header's"
says want net_text_next
expect 0 "$MIXC" build odd.mix --mode generate -o texts/odd; says err "whole windows only, no texts token by token"; says err "no scores"
[ "$(grep -c odd_text texts/odd.h)" = 0 ] || complain "texts without steps"
expect 2 "$MIXC" build "$model" --mode generate --train -o lib/x; says err "build two"

# refusals
expect 2 "$MIXC" build "$model" -o lib/2net; says err 'cannot be called `2net`'
expect 2 "$MIXC" build "$model" -o lib/net --march pentium99; says err 'pentium99'
expect 2 "$MIXC" build "$model" --weights w --init; says err "two answers"
expect 2 "$MIXC" build "$model" --mode train; says err "--train adds"
expect 2 "$MIXC" build "$model" --device cuda; says err "runs on the processor"
expect 2 "$MIXC" build "$model" DD=8 -o lib/x; says err 'did you mean `D`?'
expect 1 "$MIXC" build "$model" --train train.batch=8 train.grad_accum=2 -o lib/x; says err "train.grad_accum is 2"
expect 1 "$MIXC" build "$model" --entry Mlp --train -o lib/x; says err '`train` section'
expect 6 "$MIXC" build "$model" --weights missing.safetensors -o lib/x; says err missing.safetensors
expect 6 "$MIXC" build "$model" -o text.txt/net; says err text.txt
AR=/nowhere/ar expect 3 "$MIXC" build "$model" -o lib/x; says err "there is no archiver"
CC=/nowhere/cc expect 3 "$MIXC" build "$model" -o lib/x; says err "no C compiler"
ls lib | grep -q '^libx\|^x\.\|tmp$' && complain "a failed build left files: $(ls lib)"
expect 0 cc -Ilib prog.c lib/libnet.a -lm -lpthread -o prog; expect 0 ./prog; cmp -s out first || complain "a failed build changed the library"
finish
