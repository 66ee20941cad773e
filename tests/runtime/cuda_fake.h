// A GPU that counts, lies and fails: other fillings of the tables of driver and compiler. Every function of the driver is
// counted and may fail; otherwise it is that of the simulator. An idle one computes nothing and needs no compiler.
#ifndef MIXC_TEST_CUDA_FAKE_H
#define MIXC_TEST_CUDA_FAKE_H

#include "cuda_api.h"
#include "sim/sim_driver.h"

#include <stdio.h>
#include <string.h>

typedef enum FakeCall {
#define DRIVER(field, symbol, parameters, arguments) CALL_##field,
#include "cuda_api.def"
    CALLS
} FakeCall;

typedef struct Fake {
    SimDriver       *sim;
    const DriverApi *next;
    DriverApi        driver;
    NvrtcApi         nvrtc;
    bool             is_idle;
    int              n[CALLS], total;       // calls
    // Call number fail_total of all, or fail_at of function fail_call, returns fail_with, and all after it when it lasts.
    int              fail_total, fail_at, fail_with;
    FakeCall         fail_call;
    bool             lasts, has_failed;
    // What it says of itself.
    int              version, capability, n_gpus, l2_bytes;
    size_t           n_free;                // 0: as the simulator
    int              toolkit, knows;        // major version; a capability
    int              compile_error, n_compiled;
    const char      *log, *wanted;          // wanted: looked for in every text
    int              n_wanted;
    bool             makes_nothing;         // says that it compiled
    int              balance;               // pieces of memory that were not given back
} Fake;

static int fake_enter(Fake *f, FakeCall which)
{
    f->n[which]++;
    f->total++;
    const bool now = f->total == f->fail_total || (f->fail_at && which == f->fail_call && f->n[which] == f->fail_at);
    f->has_failed = f->has_failed || now;
    return now || (f->lasts && f->has_failed) ? f->fail_with : 0;
}

// Functions that an idle GPU does not do, and those that answer for themselves, come after; this is all the others.
#define DRIVER(field, symbol, parameters, arguments) \
    static int fake_##field(void *self, CUDA_PARAMETERS parameters) \
    { \
        Fake *f = self; \
        const int code = fake_enter(f, CALL_##field); \
        return code ? code : f->next->field(f->next->self, CUDA_PARAMETERS arguments); \
    }
#include "cuda_api.def"

static int own_version(void *self, int *out)
{
    Fake *f = self;
    *out = f->version;
    return fake_enter(f, CALL_version);
}

static int own_device_count(void *self, int *out)
{
    Fake *f = self;
    *out = f->n_gpus;
    return fake_enter(f, CALL_device_count);
}

static int own_device_attribute(void *self, int *out, int attribute, int device)
{
    Fake *f = self;
    (void)device;
    *out = attribute == 75 ? f->capability / 10 : attribute == 76 ? f->capability % 10 : attribute == 38 ? f->l2_bytes : 0;
    return fake_enter(f, CALL_device_attribute);
}

static int own_memory_info(void *self, size_t *out_free, size_t *out_total)
{
    Fake *f = self;
    int error = fake_memory_info(self, out_free, out_total);
    if (f->n_free)
        *out_free = f->n_free, *out_total = 2 * f->n_free;
    return error;
}

static int own_memory_take(void *self, uint64_t *out, size_t bytes)
{
    Fake *f = self;
    int error = fake_memory_take(self, out, bytes);
    f->balance += error == 0;
    return error;
}

// What a driver does in the context of the thread that calls it fails where that thread has none.
static _Thread_local bool fake_has_context;
enum { NO_CONTEXT = 201 };

static int own_context_use(void *self, CudaContext *context)
{
    const int error = fake_context_use(self, context);
    fake_has_context = fake_has_context || error == 0;
    return error;
}

static int own_event_make(void *self, CudaEvent **out, unsigned flags)
{
    return fake_has_context ? fake_event_make(self, out, flags) : NO_CONTEXT;
}

static int own_module_unload(void *self, CudaModule *module)
{
    return fake_has_context ? fake_module_unload(self, module) : NO_CONTEXT;
}

static int own_memory_free(void *self, uint64_t address)
{
    Fake *f = self;
    if (!fake_has_context)
        return NO_CONTEXT;
    f->balance--;
    return fake_memory_free(self, address);
}

static int own_memory_fill(void *self, uint64_t to, unsigned char byte, size_t n, CudaStream *stream)
{
    Fake *f = self;
    return f->is_idle ? fake_enter(f, CALL_memory_fill) : fake_memory_fill(self, to, byte, n, stream);
}

static int own_module_load(void *self, CudaModule **out, const void *image)
{
    static const char empty[] = ".version 9.0\n.target sm_80\n.address_size 64\n";
    Fake *f = self;
    return fake_module_load(self, out, f->is_idle ? empty : image);
}

static int own_module_function(void *self, CudaFunction **out, CudaModule *module, const char *name)
{
    Fake *f = self;
    if (!f->is_idle)
        return fake_module_function(self, out, module, name);
    *out = (CudaFunction *)(void *)f;
    return fake_enter(f, CALL_module_function);
}

static int own_launch(void *self, CudaFunction *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                      unsigned block_y, unsigned block_z, unsigned shared_bytes, CudaStream *stream, void **argument, void **extra)
{
    Fake *f = self;
    return f->is_idle ? fake_enter(f, CALL_launch)
                      : fake_launch(self, function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes, stream, argument, extra);
}

static int own_expect(void *self, CudaStream *stream, const char *line, const CudaTouch *touch, size_t n)
{
    Fake *f = self;
    return f->next->expect(f->next->self, stream, line, touch, n);
}

static const char *own_complaint(void *self)
{
    Fake *f = self;
    return f->next->complaint(f->next->self);
}

// --- a compiler that makes nothing

static int fake_toolkit(void *self, int *major, int *minor)
{
    *major = ((Fake *)self)->toolkit;
    *minor = 0;
    return 0;
}

static int fake_arch_count(void *self, int *out)
{
    (void)self;
    *out = 1;
    return 0;
}

static int fake_archs(void *self, int *out)
{
    *out = ((Fake *)self)->knows;
    return 0;
}

static int fake_create(void *self, CudaText **out, const char *text, const char *name, int n, const char *const *header,
                       const char *const *include)
{
    Fake *f = self;
    (void)name, (void)n, (void)header, (void)include;
    f->n_wanted += f->wanted && strstr(text, f->wanted);
    *out = self;
    return 0;
}

static int fake_compile(void *self, CudaText *text, int n, const char *const *option)
{
    Fake *f = self;
    (void)text, (void)n, (void)option;
    f->n_compiled++;
    return f->compile_error;
}

static int fake_log_size(void *self, CudaText *text, size_t *out)
{
    (void)text;
    *out = strlen(((Fake *)self)->log) + 1;
    return 0;
}

static int fake_log(void *self, CudaText *text, char *out)
{
    (void)text;
    strcpy(out, ((Fake *)self)->log);
    return 0;
}

static int fake_image_size(void *self, CudaText *text, size_t *out)
{
    (void)text;
    *out = !((Fake *)self)->makes_nothing;
    return 0;
}

static int fake_image(void *self, CudaText *text, char *out)
{
    (void)self, (void)text;
    *out = 0;
    return 0;
}

static int fake_destroy(void *self, CudaText **text)
{
    (void)self;
    *text = NULL;
    return 0;
}

// Returns false when there is no simulator. `f` must not move.
static inline bool fake_open(Fake *f, bool is_idle)
{
    StatusText why = {0};
    *f = (Fake){.is_idle = is_idle, .version = 13000, .capability = 80, .n_gpus = 1, .toolkit = 13, .knows = 80, .log = ""};
    if (sim_driver_open(&f->sim, &why) != STATUS_OK)
        return false;
    f->next = sim_driver_api(f->sim);
    f->driver = (DriverApi){.self = f,
#define DRIVER(field, symbol, parameters, arguments) .field = fake_##field,
#include "cuda_api.def"
        .wants_ptx = true, .complaint = own_complaint};
    f->driver.expect = is_idle ? NULL : own_expect;
    f->driver.version = own_version;
    f->driver.device_count = own_device_count;
    f->driver.device_attribute = own_device_attribute;
    f->driver.memory_info = own_memory_info;
    f->driver.memory_take = own_memory_take;
    f->driver.memory_free = own_memory_free;
    f->driver.context_use = own_context_use;
    f->driver.event_make = own_event_make;
    f->driver.module_unload = own_module_unload;
    f->driver.memory_fill = own_memory_fill;
    f->driver.module_load = own_module_load;
    f->driver.module_function = own_module_function;
    f->driver.launch = own_launch;
    f->nvrtc = (NvrtcApi){.self = f, .version = fake_toolkit, .arch_count = fake_arch_count, .archs = fake_archs, .create = fake_create,
                          .compile = fake_compile, .log_size = fake_log_size, .log = fake_log, .ptx_size = fake_image_size,
                          .ptx = fake_image, .cubin_size = fake_image_size, .cubin = fake_image, .destroy = fake_destroy};
    return true;
}

static inline void fake_close(Fake *f)
{
    sim_driver_close(f->sim);
}

#endif
