// The models of the project: published parameter counts at every size, every mode builds legal graphs, and the causal
// gMLP block agrees with another implementation's numbers.
#include "build_run.h"

#include "pass.h"
#include "safetensors.h"

#include <math.h>
#include <stdlib.h>

static const struct { const char *file, *size; int64_t count; } published[] = {
    {"gpt.mix", "gpt2", 124439808},
    {"bert.mix", "base", 109514298}, {"bert.mix", "large", 335174458},
    {"vit.mix", "ti16", 5717416}, {"vit.mix", "s16", 22050664}, {"vit.mix", "b16", 86567656}, {"vit.mix", "l16", 304326632},
    {"gmlp.mix", "ti16", 5867328}, {"gmlp.mix", "s16", 19422656}, {"gmlp.mix", "b16", 73075392},
    {"gmlp_lm.mix", "base", 291911680},
    {"mlp_mixer.mix", "s16", 18528264}, {"mlp_mixer.mix", "b16", 59880472}, {"mlp_mixer.mix", "l16", 208196168},
    {"convmixer.mix", "d768", 21110248}, {"convmixer.mix", "d1536", 51625960},
};

static void published_counts_are_reproduced(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        Run r;
        build_model(&r, published[i].file, &(BuildOptions){.size = published[i].size, .with_loss = true});
        must_build(&r);
        if (count(&r) != published[i].count)
            print_message("%s %s\n", published[i].file, published[i].size);
        assert_int_equal(count(&r), published[i].count);
        finish(&r);
    }
}

static void every_mode_of_the_tiny_sizes_is_legal(void **state)
{
    (void)state;
    static const char *const file[] = {"gpt.mix", "bert.mix", "vit.mix", "gmlp.mix", "gmlp_lm.mix", "mlp_mixer.mix",
                                       "convmixer.mix"};
    for (size_t i = 0; i < sizeof file / sizeof *file; i++)
        for (ModeName mode = MODE_TRAIN; mode < MODE_COUNT; mode++) {
            Run r;
            build_model(&r, file[i], &(BuildOptions){.size = "tiny", .mode = mode, .with_loss = true});
            must_build(&r);
            assert_int_equal(r.diag.n_warnings, 0);
            assert_true(graph_verify(module_graph(r.module, "main"), &r.diag));
            assert_true(graph_verify(module_graph(r.module, "init"), &r.diag));
            assert_int_not_equal(graph_find_output(module_graph(r.module, "main"), OUTPUT_LOSS, "train"), 0);
            assert_true(r.module->has_train);
            finish(&r);
        }
}

static double *read_tensor(Run *r, const Safetensors *st, const char *name)
{
    const StTensor *t = st_find(st, name);
    StatusText why = {{0}};
    assert_non_null(t);
    double *x = arena_array(&r->arena, double, (size_t)t->count);
    assert_int_equal(st_read_f64(st, t, x, &why), STATUS_OK);
    return x;
}

// [rows, cols] -> [cols, rows]
static double *transposed(Run *r, const double *x, size_t rows, size_t cols)
{
    double *y = arena_array(&r->arena, double, rows * cols);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < cols; j++)
            y[j * rows + i] = x[i * cols + j];
    return y;
}

static void causal_gmlp_block_agrees_with_the_golden(void **state)
{
    (void)state;
    Run r;
    Binding bind[] = {{"B", "2", false}, {"N", "9", false}, {"D", "12", false}, {"F", "16", false}};
    build_model(&r, "gmlp_lm.mix", &(BuildOptions){.entry = "Block", .mode = MODE_EVAL, .binding = bind, .n_bindings = 4});
    must_build(&r);
    Safetensors st;
    StatusText why = {{0}};
    const char *path = arena_printf(&r.arena, "%s/goldens/gmlp_block_causal.safetensors", MIXC_SHARED);
    if (st_open(&r.arena, path, &st, &why) != STATUS_OK) {
        finish(&r);
        skip();
    }
    Leaves leaves = {
        {"x", "Block.U", "Block.bu", "Block.Ws", "Block.bs", "Block.LN.gain", "Block.LN.bias", "Block.Wv", "Block.bv"},
        {read_tensor(&r, &st, "input.x"), transposed(&r, read_tensor(&r, &st, "param.proj_in.0.weight"), 16, 12),
         read_tensor(&r, &st, "param.proj_in.0.bias"), read_tensor(&r, &st, "param.sgu.weight"),
         read_tensor(&r, &st, "param.sgu.bias"), read_tensor(&r, &st, "param.sgu.norm.weight"),
         read_tensor(&r, &st, "param.sgu.norm.bias"),
         transposed(&r, read_tensor(&r, &st, "param.proj_out.weight"), 12, 8), read_tensor(&r, &st, "param.proj_out.bias")}};
    const double *y = evaluate(&r, "main", OUTPUT_RESULT, "y", &leaves), *want = read_tensor(&r, &st, "output.y");
    double off = 0, all = 0;
    for (size_t i = 0; i < 2 * 9 * 12; i++) {
        off += (y[i] - want[i]) * (y[i] - want[i]);
        all += want[i] * want[i];
    }
    assert_true(sqrt(off / all) < 1e-6);    // the golden numbers are rounded to float32
    st_close(&st);
    finish(&r);
}

// The proof must not depend on how wide a model is: embeddings times sqrt(D), sums over D.
static void attention_is_causal_at_any_width(void **state)
{
    (void)state;
    static const char *const width[] = {"16", "128", "4096"};
    static const char *const only_causal[] = {"causal"};
    for (size_t i = 0; i < 3; i++) {
        Run r;
        Binding bind[] = {{"D", width[i], false}};
        build_text(&r,
            "mix 1\nuse std.norm\naxis B : batch = 2, T : time = 8, D = 4, H = 4, K = D/H, V = 8\n"
            "layer Attn(x: [B,T,D]) -> [B,T,D] causal over T {\n  param Wq[D,H,K], Wk[D,H,K], Wv[D,H,K], Wo[H,K,D]\n  n = LN(x)\n"
            "  s = mask(n @[D] Wq @[K] (n @[D] Wk).rename(T -> T') / sqrt(K), keep=index(T') <= index(T))\n"
            "  yield x + softmax(s, over=T') @[T'] (n @[D] Wv).rename(T -> T') @[H,K] Wo\n}\n"
            "model M(tokens: int[B,T]) -> logits: [B,T,V] causal over T {\n  param E[V,D], w[D]\n  x = E[V = tokens] * sqrt(D)\n"
            "  repeat i in 3 {\n    p = sigmoid(x @[D] w)\n    x = Attn(x) * p + x * (1 - p)\n  }\n  logits = LN(x) @[D] E\n}\n",
            &(BuildOptions){.binding = bind, .n_bindings = 1});
        must_build(&r);
        const Target target = {.name = "cpu", .vector_floats = 16, .vector_registers = 32, .threads = 1};
        PassContext context = {.arena = &r.arena, .diag = &r.diag, .target = &target};
        if (!passes_run(&context, r.module, only_causal, 1, NULL))
            print_message("D = %s\n%s\n", width[i], messages(&r));
        assert_int_equal(r.diag.n_errors, 0);
        finish(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_counts_are_reproduced),
        cmocka_unit_test(every_mode_of_the_tiny_sizes_is_legal),
        cmocka_unit_test(causal_gmlp_block_agrees_with_the_golden),
        cmocka_unit_test(attention_is_causal_at_any_width),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
