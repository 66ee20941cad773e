// Products left to cuBLASLt, to a library that is not there (blas_fake.h) on the simulator: every layout and type, with and without something
// before and after the product, compared with the evaluator on whole numbers, bit for bit; what is said when the library fails; and a
// search whose clock lets it win for one shape and lose for the other. Skipped where there is no NVRTC.
#include "sim_graph.h"

#include "../runtime/blas_fake.h"
#include "build.h"
#include "engine.h"
#include "tune.h"
#include "tuned.h"

#include "scheduled.h"

static void compile_with_library(Ran *r, const char *text, const char *schedule)
{
    compile_scheduled(r, text, schedule, 4);
    evaluate(r);
    r->ops = &device_cuda;
}

typedef struct Try {
    LtFake         lt;
    Device        *device;
    LoadedProgram *loaded;
    Ran            ran;
    StatusText     why;
    LoadStats      stats;
} Try;

static void begin(Try *t, bool is_idle, bool with_library)
{
    memset(t, 0, sizeof *t);
    assert_true(lt_open(&t->lt, is_idle));
    const DeviceOptions options = {.threads = 1, .cache_dir = "", .driver = &t->lt.fake.driver, .nvrtc = is_idle ? &t->lt.fake.nvrtc : NULL,
                                   .blas = with_library ? &t->lt.blas : NULL};
    if (device_cuda.open(&options, &t->device, &t->why) != STATUS_OK)
        fail_msg("%s", t->why.text);
}

static Status load(Try *t, const char *graph, const char *schedule)
{
    compile_with_library(&t->ran, graph, schedule);
    const Status status = device_cuda.load(t->device, t->ran.program, &t->loaded, &t->why);
    if (status == STATUS_OK)
        device_cuda.stats(t->loaded, &t->stats);
    return status;
}

static void end(Try *t)
{
    device_cuda.unload(t->loaded);
    device_cuda.close(t->device);
    assert_int_equal(t->lt.balance, 0);
    assert_int_equal(t->lt.n_created, t->lt.n_destroyed);
    fake_close(&t->lt.fake);
    arena_free(&t->ran.arena);
}

static void run_exactly(Try *t, const char *name)
{
    uint64_t bits = 1;
    write_leaves(&t->ran, t->loaded);
    if (device_cuda.run(t->loaded, &t->why) != STATUS_OK)
        fail_msg("%s: %s", name, t->why.text);
    const double error = compare_outputs(&t->ran, t->loaded, &bits);
    if (error != 0)
        fail_msg("%s: error %g", name, error);
}

// --- forms

typedef enum Kind { PLAIN, AFTER, BEFORE, BATCHED, SHARED, ROUNDED, HALVES, SHORT_RESULT, KINDS } Kind;
static const char *const kind_text[KINDS] = {"plain", "relu after it", "relu before it", "batched", "one operand for all batches", "rounded operands",
                                             "bf16 operands", "bf16 result"};

static const char *form_text(Arena *arena, Kind kind, int m, int n, int k, bool a_turned, bool b_turned)
{
    static const char *const body[KINDS] = {
        [PLAIN] = "  %3.y = contract %1, %2 {over = [K]}\n",
        [AFTER] = "  %3 = contract %1, %2 {over = [K]}\n  %4.y = map %3 {f = relu}\n",
        [BEFORE] = "  %3 = map %1 {f = relu}\n  %4.y = contract %3, %2 {over = [K]}\n",
        [BATCHED] = "  %3.y = contract %1, %2 {over = [K]}\n", [SHARED] = "  %3.y = contract %1, %2 {over = [K]}\n",
        [ROUNDED] = "  %3 = cast %1 {to = bf16}\n  %4 = cast %2 {to = bf16}\n  %5 = contract %3, %4 {over = [K]}\n  %6.y = cast %5 {to = f32}\n",
        [HALVES] = "  %3 = contract %1, %2 {over = [K]}\n  %4.y = cast %3 {to = f32}\n",
        [SHORT_RESULT] = "  %3.y = contract %1, %2 {over = [K]}\n"};
    static const int last[KINDS] = {3, 4, 4, 3, 3, 6, 4, 3};
    const char *type = kind == HALVES || kind == SHORT_RESULT ? "bf16" : "f32";
    const char *a = a_turned ? "K,M" : "M,K", *b = b_turned ? "N,K" : "K,N";
    return arena_printf(arena, "graph @main\naxis B : batch = 3, M = %d, N = %d, K = %d\n{\n  %%1.a = arg \"whole_a\" : %s[%s%s]\n"
                        "  %%2.b = arg \"whole_b\" : %s[%s%s]\n%s  result \"y\" = %%%d\n}\n", m, n, k, type, kind == BATCHED || kind == SHARED ? "B," : "", a,
                        type, kind == BATCHED ? "B," : "", b, body[kind], last[kind]);
}

// The program says what the library is told, and its text is read back.
static void text_is_read_back(const Try *t)
{
    Arena arena = {0};
    Text first = text_make(&arena), again = text_make(&arena);
    Sources sources = sources_make(&arena);
    Diag diag = diag_make(&arena, &sources);
    program_print(t->ran.program, &first);
    assert_non_null(strstr(text_str(&first), "\n  library way 2 "));
    const Program *p = program_parse(&arena, &diag, &sources, sources_add(&sources, "p", text_str(&first), first.n));
    assert_non_null(p);
    program_print(p, &again);
    assert_string_equal(text_str(&first), text_str(&again));
    arena_free(&arena);
}

static void every_form_is_exact(void **state)
{
    (void)state;
    static const int size[][3] = {{36, 20, 28}, {14, 64, 22}, {33, 8, 1}, {1, 40, 24}};
    Arena arena = {0};
    for (Kind kind = 0; kind < KINDS; kind++)
        for (int form = 0; form < 4; form++) {
            const int *s = size[((int)kind + form) % 4];
            const char *name = arena_printf(&arena, "%s, form %d, %d x %d x %d", kind_text[kind], form, s[0], s[1], s[2]);
            const char *text = form_text(&arena, kind, s[0], s[1], s[2], form & 1, form & 2);
            Try t;
            begin(&t, false, true);
            if (load(&t, text, "gpu_library=2") != STATUS_OK)
                fail_msg("%s: %s", name, t.why.text);
            bool has_product = false;       // where the sizes are too small, a product is no kernel of products
            for (size_t k = 1; k < t.ran.program->n_kernels; k++)
                has_product |= t.ran.program->kernel[k].library != NULL;
            if (has_product) {
                if (t.stats.library_refused || t.lt.n_multiplied != 1 || t.stats.library_kernels != 1)
                    fail_msg("%s: %d calls, %s", name, t.lt.n_multiplied, t.stats.library_refused);
                text_is_read_back(&t);
            } else if (s[2] != 1 && s[0] != 1 && !(kind == SHARED && (form & 1)))
                fail_msg("%s: the library is not asked", name);     // (rows of [B,K,M] are no lines of one matrix)
            run_exactly(&t, name);
            assert_int_equal(t.lt.n_multiplied, has_product);       // once, when it was recorded
            assert_true(!has_product || t.lt.is_exact == (kind != ROUNDED && kind != HALVES && kind != SHORT_RESULT));
            end(&t);
        }
    arena_free(&arena);
}

// --- without it, and when it fails

static const char *plain_text(Arena *arena)
{
    return form_text(arena, PLAIN, 36, 20, 28, false, false);
}

static void our_own_kernel_runs_without_it(void **state)
{
    (void)state;
    Arena arena = {0};
    static const Kind kind[] = {PLAIN, AFTER, ROUNDED};
    for (size_t i = 0; i < sizeof kind / sizeof *kind; i++) {
        Try t;
        begin(&t, false, false);
        assert_int_equal(load(&t, form_text(&arena, kind[i], 36, 20, 28, false, true), "gpu_library=1"), STATUS_OK);
        assert_string_equal(t.stats.library_refused, "cuBLASLt is not here, or MIXC_NO_CUBLASLT is set; our own kernels run instead");
        run_exactly(&t, "without the library");
        end(&t);
    }
    arena_free(&arena);
}

static void what_it_refuses_we_compute(void **state)
{
    (void)state;
    static const char head[] = "cuBLASLt does not compute kernel 'k1_y' (test.ir:6, which makes 'output.y'): ";
    static const struct { int create, ways_error, ways; const char *text; } row[] = {
        {3, 0, 4, "it has no memory (error 3 of cuBLASLt); our own does"}, {0, 15, 4, "it does not offer such products (error 15 of cuBLASLt); our own does"},
        {0, 0, 0, "it offers 0 ways, and way 3 was measured; our own does"}, {0, 0, 2, "it offers 2 ways, and way 3 was measured; our own does"},
        {99, 0, 4, "for a reason that it does not tell (error 99 of cuBLASLt); our own does"}};
    Arena arena = {0};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        Try t;
        begin(&t, false, true);
        t.lt.create_error = row[i].create;
        t.lt.ways_error = row[i].ways_error;
        t.lt.n_ways = row[i].ways;
        assert_int_equal(load(&t, plain_text(&arena), "gpu_library=3"), STATUS_OK);
        assert_non_null(t.stats.library_refused);
        assert_string_equal(t.stats.library_refused, arena_printf(&arena, "%s%s", head, row[i].text));
        assert_int_equal(t.lt.n_multiplied, 0);
        run_exactly(&t, row[i].text);
        end(&t);
    }
    arena_free(&arena);
}

// What fails while launches are recorded, or after an error that lasts, is one message.
static void a_failing_call_is_an_error(void **state)
{
    (void)state;
    Arena arena = {0};
    Try t;
    begin(&t, true, true);
    t.lt.multiply_error = 13;
    assert_int_equal(load(&t, plain_text(&arena), "gpu_library=1"), STATUS_NO_DEVICE);
    assert_string_equal(t.why.text, "kernel 'k1_y' (test.ir:6, which makes 'output.y') cannot be computed by cuBLASLt: its kernel failed "
                        "(error 13 of cuBLASLt); MIXC_NO_CUBLASLT=1 takes our own kernels");
    end(&t);
    begin(&t, true, true);
    assert_int_equal(load(&t, plain_text(&arena), "gpu_library=1"), STATUS_OK);
    t.lt.multiply_error = 13;
    t.lt.fake.fail_call = CALL_stream_wait;
    t.lt.fake.fail_at = t.lt.fake.n[CALL_stream_wait] + 1;
    t.lt.fake.fail_with = 700;
    t.lt.fake.lasts = true;
    setenv("MIXC_CUDA_WAIT", "1", 1);
    assert_int_equal(device_cuda.run(t.loaded, &t.why), STATUS_NO_DEVICE);
    unsetenv("MIXC_CUDA_WAIT");
    assert_non_null(strstr(t.why.text, "before kernel 'k1_y' (test.ir:6, which makes 'output.y'): a kernel accessed memory that is not its own "
                                       "(error 700 of the driver)"));
    t.why = (StatusText){0};
    assert_int_equal(device_cuda.run(t.loaded, &t.why), STATUS_NO_DEVICE);
    assert_non_null(strstr(t.why.text, "failed before, and is of no use to this process any more"));
    t.lt.n_destroyed++;                     // after an error that lasts nothing is given back
    t.lt.balance = 0;
    end(&t);
    arena_free(&arena);
}

// --- a search

static const char model[] =
    "mix 1\naxis B : batch = 32, D = 32, F = 48, G = 12\nmodel P(x: [B,D]) -> y: [B,F] {\n"
    "  param W[D,F] = normal(0.5)\n  param V[F,G] = normal(0.5)\n  param U[G,F] = normal(0.5)\n"
    "  y = ((x @[D] W) @[F] V) @[G] U\n}\n";

typedef struct Search {
    LtFake  lt;
    Arena   arena;
    Sources sources;
    Diag    diag;
    Engine *engine;
    Module *module;
    Net    *net;
    char    folder[64];
    StatusText why;
} Search;

static void open_search(Search *s, const char *device, bool untuned)
{
    const DeviceOptions own = {.threads = 1, .cache_dir = s->folder, .driver = &s->lt.fake.driver, .blas = &s->lt.blas};
    const EngineOptions options = {.device = device, .untuned = untuned, .on_device = strcmp(device, "cuda") ? (DeviceOptions){.threads = 1} : own};
    s->why = (StatusText){0};
    s->sources = sources_make(&s->arena);
    s->diag = diag_make(&s->arena, &s->sources);
    Status status = engine_open(&options, &s->engine, &s->why);
    if (status == STATUS_OK)
        status = engine_load_text(s->engine, &s->arena, &s->diag, &s->sources, "p.mix", model, &(BuildOptions){.mode = MODE_EVAL}, &(LoadOptions){0},
                                  &s->module, &s->net, &s->why);
    if (status != STATUS_OK)
        fail_msg("%s %s", s->why.text, s->diag.n_items ? s->diag.item[0].message : "");
}

static void close_search(Search *s)
{
    net_free(s->net);
    engine_close(s->engine);
    s->net = NULL;
    s->engine = NULL;
}

static void count_rows(void *user, const TuningRow *row)
{
    int *n = user;
    n[0]++;
    n[1] += strstr(row->schedule, "gpu_library=") != NULL;
    n[2] += row->outcome != TUNING_OK;
}

static size_t search(Search *s, size_t candidates, int *rows)
{
    Device *device;
    const DeviceOps *ops = engine_device(s->engine, &device);
    const char *place = NULL;
    StatusText note = {0};
    Tune tune = {.arena = &s->arena, .engine = s->engine,
                 .options = {.candidates = candidates, .seconds = 0.001,
                             .on_device = {.threads = 1, .cache_dir = s->folder, .driver = &s->lt.fake.driver, .blas = &s->lt.blas}}};
    bool finished = false;
    assert_int_equal(tuned_place(ops, device, &s->arena, &place, &s->why), STATUS_OK);
    assert_non_null(strstr(place, "cuda\nthe simulated GPU, sm_80\n"));
    assert_non_null(strstr(place, "\ncublaslt 13.1.2\n"));
    tune.g = engine_graph(s->engine, &s->arena, &s->diag, s->module, &(LoadOptions){0});
    assert_int_equal(tuning_open(s->folder, place, true, &tune.db, &note, &s->why), STATUS_OK);
    tune_begin(&tune);
    const size_t known = tune.n_known;
    if (tune_run(&tune, NULL, NULL, &finished, &s->why) != STATUS_OK)
        fail_msg("%s", s->why.text);
    assert_true(finished);
    tuning_list(tune.db, count_rows, rows);
    tuning_close(tune.db);
    return known;
}

static void outputs(Search *s, float *y, int64_t n)
{
    float x[32 * 32], w[48 * 32];
    const Slot *slot = NULL;
    const size_t n_slots = net_slots(s->net, &slot);
    for (int i = 0; i < 32 * 32; i++)
        x[i] = (float)(i * 7 % 5 - 2);
    for (int i = 0; i < 48 * 32; i++)
        w[i] = (float)(i * 11 % 7 - 3);
    for (size_t i = 0; i < n_slots; i++)
        if (slot[i].kind == BUFFER_INPUT || slot[i].kind == BUFFER_PARAM)
            assert_int_equal(net_write(s->net, &slot[i], slot[i].kind == BUFFER_INPUT ? x : w, &s->why), STATUS_OK);
    if (net_run(s->net, &s->why) != STATUS_OK)
        fail_msg("%s", s->why.text);
    const Slot *out = net_slot(s->net, BUFFER_OUTPUT, "output.y");
    assert_int_equal(out->count, n);
    assert_int_equal(net_read(s->net, out, y, &s->why), STATUS_OK);
}

static int by_library(const Search *s, int64_t *out_cols)
{
    const Program *p = net_program(s->net);
    int n = 0;
    for (size_t k = 1; k < p->n_kernels; k++)
        if (p->kernel[k].library) {
            n++;
            *out_cols = p->kernel[k].library->cols;
        }
    return n;
}

// The first product is large enough for the library to win by the script, the others are not. Times are kept and used again;
// --deterministic does not ask for them.
static void time_decides(void **state)
{
    (void)state;
    Search s;
    enum { N = 32 * 48 };
    float wanted[N], got[N];
    int rows[3] = {0}, again[3] = {0};
    int64_t cols = 0;
    memset(&s, 0, sizeof s);
    snprintf(s.folder, sizeof s.folder, "/tmp/mixc-library-XXXXXX");
    assert_non_null(mkdtemp(s.folder));
    assert_true(lt_open(&s.lt, false));
    open_search(&s, "eval", false);
    outputs(&s, wanted, N);
    close_search(&s);
    open_search(&s, "cuda", false);
    assert_int_equal(by_library(&s, &cols), 0);
    assert_int_equal(search(&s, 4, rows), 0);
    if (rows[1] < 8 || rows[2] > 0)
        fail_msg("%d times, %d of the library, %d failed", rows[0], rows[1], rows[2]);
    assert_int_equal(search(&s, 4, again), rows[0]);         // nothing is measured twice
    assert_int_equal(again[0], rows[0]);
    close_search(&s);
    for (int untuned = 0; untuned < 2; untuned++) {
        open_search(&s, "cuda", untuned);
        assert_int_equal(by_library(&s, &cols), !untuned);
        assert_true(untuned || cols == 48);
        outputs(&s, got, N);
        assert_memory_equal(got, wanted, sizeof got);
        close_search(&s);
    }
    fake_close(&s.lt.fake);
    arena_free(&s.arena);
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", s.folder);
    assert_int_equal(system(command), 0);
}

static int run(const NvrtcApi *nvrtc)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_is_exact), cmocka_unit_test(our_own_kernel_runs_without_it), cmocka_unit_test(what_it_refuses_we_compute),
        cmocka_unit_test(a_failing_call_is_an_error), cmocka_unit_test(time_decides),
    };
    (void)nvrtc;
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}

int main(void)
{
    return sim_main(run);
}
