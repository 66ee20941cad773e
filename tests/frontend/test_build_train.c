// Sections: the train section as numbers, fields for the runtime, overrides from the command line, the loss.
#include "build_run.h"

#include <math.h>

#define HEAD "mix 1\nuse std.norm\naxis B : batch in 1..8, D = 4, V = 3\nconst c = 2\n"
#define MODEL "model M(x: [B,D]) -> logits: [B,V], h: [B,D] {\n  param W[D,V]\n  h = LN(x)\n  logits = h @[D] W\n}\n"

static const char *field(const Field *f, size_t n, const char *key)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(f[i].key, key) == 0)
            return f[i].value;
    return NULL;
}

static const Param *param(Run *r, const char *name)
{
    for (size_t i = 0; i < r->module->n_params; i++)
        if (strcmp(r->module->param[i].name, name) == 0)
            return &r->module->param[i];
    fail();
    return NULL;
}

static const char *const text = HEAD MODEL
    "data d { source = \"a b.txt\"  tokens = bpe(\"v.json\", merges=\"m\")  windows = mlm(D, rate=0.15)\n"
    "  augment = (flip, crop(2*c)) }\n"
    "train M on d {\n  loss = cross_entropy(logits, labels, over=V)\n"
    "  optimizer = lamb(lr=c/1000, decay=0.1, clip=1, correct=0)  schedule = cosine(warmup=10, steps=100, floor=0.1)\n"
    "  batch = 4*c  batch = 5 in eval  grad_accum = 2  precision = bf16(master=f32)  ema = 0.99  seed = 3\n"
    "  groups = (group(\"*.LN*\", decay=0, trust=0), group(\"*.W\", lr=5))\n}\n"
    "generate M { sampler = greedy  max_tokens = 7*c }\n";

static void sections_become_numbers_and_fields(void **state)
{
    (void)state;
    Run r;
    build_text(&r, text, &(BuildOptions){.mode = MODE_TRAIN, .with_loss = true});
    must_build(&r);
    const Module *m = r.module;
    const TrainSpec *t = &m->train;
    assert_true(m->has_train);
    assert_int_equal(t->optimizer, OPTIMIZER_LAMB);
    assert_true(t->lr == 0.002 && t->decay == 0.1 && t->clip == 1 && t->correct == 0 && t->beta1 == 0.9);
    assert_int_equal(t->schedule, SCHEDULE_COSINE);
    assert_true(t->warmup == 10 && t->steps == 100 && t->floor == 0.1 && t->start == 0);
    assert_true(t->batch == 8 && t->grad_accum == 2 && t->bf16 && t->ema == 0.99);
    assert_true(param(&r, "M.LN.gain")->decay == 0 && param(&r, "M.LN.gain")->trust == 0);
    assert_true(isnan(param(&r, "M.W")->decay) && param(&r, "M.W")->lr == 5);
    assert_string_equal(field(m->data, m->n_data, "source"), "a b.txt");
    assert_string_equal(field(m->data, m->n_data, "tokens.name"), "bpe");
    assert_string_equal(field(m->data, m->n_data, "tokens.0"), "v.json");
    assert_string_equal(field(m->data, m->n_data, "tokens.merges"), "m");
    assert_string_equal(field(m->data, m->n_data, "windows.0"), "4");
    assert_string_equal(field(m->data, m->n_data, "windows.rate"), "0.15");
    assert_string_equal(field(m->data, m->n_data, "augment.count"), "2");
    assert_string_equal(field(m->data, m->n_data, "augment.0"), "flip");
    assert_string_equal(field(m->data, m->n_data, "augment.1.name"), "crop");
    assert_string_equal(field(m->data, m->n_data, "augment.1.0"), "4");
    assert_string_equal(field(m->generate, m->n_generate, "max_tokens"), "14");
    assert_string_equal(field(m->run, m->n_run, "seed"), "3");
    assert_null(field(m->run, m->n_run, "batch"));
    finish(&r);
}

static void keys_for_a_mode_are_used_in_it_and_above(void **state)
{
    (void)state;
    static const int64_t want[] = {8, 5, 8};    // the key without a mode goes before a fallback
    for (ModeName mode = MODE_TRAIN; mode < MODE_COUNT; mode++) {
        Run r;
        build_text(&r, text, &(BuildOptions){.mode = mode});
        must_build(&r);
        assert_int_equal(r.module->train.batch, want[mode]);
        finish(&r);
    }
}

static void the_command_line_overrides_keys_axes_and_constants(void **state)
{
    (void)state;
    Run r;
    Binding bind[] = {{"train.batch", "3", false}, {"train.lr", "1e-2", false}, {"train.steps", "7*c", false},
                      {"train.seed", "9", false}, {"data.source", "other/file.txt", false},
                      {"data.windows.rate", "0.3", false}, {"data.tokens", "chars", false}, {"c", "5", false},
                      {"D", "6", false}, {"generate.temperature", "0.5", false}, {"nonsense", "1", false}};
    const size_t n = sizeof bind / sizeof *bind;
    build_text(&r, text, &(BuildOptions){.mode = MODE_TRAIN, .with_loss = true, .binding = bind, .n_bindings = n});
    must_build(&r);
    const Module *m = r.module;
    assert_true(m->train.batch == 3 && m->train.lr == 0.01 && m->train.steps == 35);
    assert_string_equal(field(m->run, m->n_run, "seed"), "9");
    assert_string_equal(field(m->data, m->n_data, "source"), "other/file.txt");
    assert_string_equal(field(m->data, m->n_data, "windows.rate"), "0.3");
    assert_string_equal(field(m->data, m->n_data, "windows.0"), "6");
    assert_string_equal(field(m->data, m->n_data, "tokens.name"), "chars");
    assert_string_equal(field(m->generate, m->n_generate, "max_tokens"), "35");
    assert_string_equal(field(m->generate, m->n_generate, "temperature"), "0.5");
    assert_int_equal(count(&r), 6 * 3 + 12);
    for (size_t i = 0; i + 1 < n; i++)
        assert_true(bind[i].used);
    assert_false(bind[n - 1].used);         // the caller reports it
    finish(&r);
}

static void a_large_batch_is_computed_in_pieces(void **state)
{
    (void)state;
    static const struct { const char *batch; int64_t pieces; } cases[] = {{"8", 1}, {"9", 3}, {"64", 8}, {"17", 17}};
    for (size_t i = 0; i < 4; i++) {
        Run r;
        Binding bind[] = {{"train.batch", cases[i].batch, false}};      // B is in 1..8
        build_text(&r, HEAD MODEL "train M on d { loss = mean(h, over=B*D) }\n",
                   &(BuildOptions){.binding = bind, .n_bindings = 1});
        must_build(&r);
        assert_int_equal(r.module->train.grad_accum, cases[i].pieces);
        finish(&r);
    }
}

static void data_fields_are_typed_by_their_use(void **state)
{
    (void)state;
    Run r;
    build_text(&r, HEAD MODEL
        "train M on d { loss = cross_entropy(logits, labels, over=V, where=real) + mean((h - wanted)^2, over=B*D) }\n",
        &(BuildOptions){.with_loss = true});
    must_build(&r);
    const Graph *g = module_graph(r.module, "main");
    static const char *const name[] = {"labels", "real", "wanted"}, *const want[] = {"int[B]", "f32[B]", "f32[B,D]"};
    for (size_t k = 0; k < 3; k++) {
        bool found = false;
        for (size_t i = 1; i < g->n_nodes; i++)
            if (g->node[i].op == OP_ARG && strcmp(g->node[i].attr[0].name, name[k]) == 0) {
                Text t = text_make(&r.arena);
                type_print(g, &g->node[i].type, &t);
                assert_string_equal(text_str(&t), want[k]);
                found = true;
            }
        assert_true(found);
    }
    finish(&r);
}

static void the_loss_is_there_in_every_mode_and_aux_in_training(void **state)
{
    (void)state;
    const char *penalised = "mix 1\naxis B = 2\nmodel M(x: [B]) -> y: [B] {\n  param w[B]\n  y = x * w\n  penalty p = mean(y, over=B)\n}\n"
                            "train M on d { loss = mean(y*y, over=B) + aux }\n";
    for (ModeName mode = MODE_TRAIN; mode < MODE_COUNT; mode++) {
        Run r;
        build_text(&r, penalised, &(BuildOptions){.mode = mode, .with_loss = true});
        must_build(&r);
        const Graph *g = module_graph(r.module, "main");
        assert_int_not_equal(graph_find_output(g, OUTPUT_LOSS, "train"), 0);
        assert_int_equal(graph_find_output(g, OUTPUT_LOSS, "aux") != 0, mode == MODE_TRAIN);
        assert_int_equal(graph_find_output(g, OUTPUT_TERM, "M.p") != 0, mode == MODE_TRAIN);
        finish(&r);
    }
}

static void sizes_replace_axes_constants_and_upper_bounds(void **state)
{
    (void)state;
    const char *sized = "mix 1\nconst n = 2\naxis T : time in 1..8, D = 2*n, F\n"
                        "model M(x: [T,D]) -> y: [T,F] {\n  param W[D,F], p[T,F]\n  y = x @[D] W + p\n}\n"
                        "size a { F = 3  n = 7 }\nsize b { F = 5  n = 3  T = 4 }\n";
    static const struct { const char *size; int64_t count; } cases[] = {
        {NULL, 4 * 3 + 8 * 3},              // written sizes; the first section gives F, which has none
        {"a", 14 * 3 + 8 * 3}, {"b", 6 * 5 + 4 * 5}};
    for (size_t i = 0; i < 3; i++) {
        Run r;
        build_text(&r, sized, &(BuildOptions){.size = cases[i].size});
        must_build(&r);
        assert_int_equal(count(&r), cases[i].count);
        finish(&r);
    }
    Run r;
    build_text(&r, sized, &(BuildOptions){.size = "c"});
    assert_null(r.module);
    finish(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sections_become_numbers_and_fields),
        cmocka_unit_test(keys_for_a_mode_are_used_in_it_and_above),
        cmocka_unit_test(the_command_line_overrides_keys_axes_and_constants),
        cmocka_unit_test(a_large_batch_is_computed_in_pieces),
        cmocka_unit_test(data_fields_are_typed_by_their_use),
        cmocka_unit_test(the_loss_is_there_in_every_mode_and_aux_in_training),
        cmocka_unit_test(sizes_replace_axes_constants_and_upper_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
