// What depends on parameters only is computed once (codegen/once.c): marked, kept, and computed again when the host writes a parameter.
#include "run_graph.h"

static const char *const text =
    "graph @main\naxis B : batch = 2, T : time = 200, C = 5, D = 4\n{\n %1 = arg \"x\" : f32[B,T,C]\n %2 = param \"w\" : f32[T,D]\n"
    " %3 = param \"u\" : f32[D,C]\n %4 = map %2 {f = sin}\n %5 = contract %4, %3 {over = [D]} : f32[T,C]\n %6 = map %5 {f = tanh}\n"
    " %7 = fftconv %1, %6 {axis = T, taps = T, to = T, left = 0, over = [], circular = 0}\n result \"y\" = %7\n}\n";

static void compile_with(Ran *r, size_t keep_bytes)
{
    compile_graph(r, text, 16);
    Target target = {.name = "cpu", .vector_floats = 16, .vector_registers = 32, .l1_bytes = 32768, .l2_bytes = 1 << 20, .threads = 2,
                     .keep_bytes = keep_bytes};
    r->program = codegen_program(&r->arena, &r->diag, r->fused, &target);
    must(r, r->program && plan_memory(r->program, &r->diag));
}

static size_t count_kept(const Program *p)
{
    size_t n = 0;
    for (uint32_t b = 1; b < p->n_buffers; b++)
        n += p->buffer[b].kind == BUFFER_KEPT;
    return n;
}

// All but the convolution itself; what is kept is what it reads: its filter's spectra and the table of roots.
static void test_marked(void **state)
{
    (void)state;
    Ran r;
    compile_with(&r, 1 << 20);
    assert_int_equal(r.program->n_once, r.program->n_launches - 1);
    assert_int_equal(count_kept(r.program), 2);
    arena_free(&r.arena);
    compile_with(&r, 0);
    assert_int_equal(r.program->n_once, 0);
    arena_free(&r.arena);
    compile_with(&r, 9000);                 // the spectra do not fit, the filter and the table do
    assert_true(r.program->n_once < r.program->n_launches - 1 && r.program->n_once > 0);
    arena_free(&r.arena);
}

static double worst_of(Ran *r, LoadedProgram *l)
{
    StatusText why = {0};
    uint64_t bits = 1;
    assert_int_equal(device_cpu.run(l, &why), STATUS_OK);
    return compare_outputs(r, l, &bits);
}

static void test_computed_again(void **state)
{
    (void)state;
    Ran r;
    StatusText why = {0};
    LoadedProgram *l = NULL;
    Device *device = open_device(2);
    compile_with(&r, 1 << 20);
    assert_int_equal(device_cpu.load(device, r.program, &l, &why), STATUS_OK);
    write_leaves(&r, l);
    assert_true(worst_of(&r, l) < 5e-6);
    assert_true(worst_of(&r, l) < 5e-6);
    uint32_t w = program_find_buffer(r.program, BUFFER_PARAM, "w");
    float other[800];
    for (int i = 0; i < 800; i++)
        other[i] = (float)i / 100;
    assert_int_equal(device_cpu.write(l, w, 0, other, sizeof other, &why), STATUS_OK);
    assert_true(worst_of(&r, l) > 1e-2);
    write_leaves(&r, l);
    assert_true(worst_of(&r, l) < 5e-6);
    device_cpu.unload(l);
    device_cpu.close(device);
    arena_free(&r.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_marked),
        cmocka_unit_test(test_computed_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
