// The conformance kernels of tests/sim on the GPU: the same files that the simulator runs, with the same expected results. What differs
// is printed, so that the simulator can be mended. Skipped where there is no GPU.
#include "device.h"

#include "../sim/sim_case.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int run_folder(const DriverApi *api, const char *folder, int *out_failed)
{
    DIR *d = opendir(folder);
    int n = 0;
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        const size_t length = strlen(e->d_name);
        SimCase c;
        if (length < 5 || strcmp(e->d_name + length - 4, ".ptx") != 0)
            continue;
        if (sim_case(&c, api, folder, e->d_name, false)) {
            n++;
            *out_failed += c.complaint[0] != 0;
            if (c.complaint[0])
                printf("%s differs: %s\n", e->d_name, c.complaint);
        }
        arena_free(&c.arena);
    }
    if (d)
        closedir(d);
    return n;
}

int main(void)
{
    Device *device = NULL;
    StatusText why = {0};
    const DriverApi *api = NULL;
    CudaLibraries *libraries = cuda_libraries_open();
    if (!libraries || device_cuda.open(&(DeviceOptions){.threads = 1}, &device, &why) != STATUS_OK
        || cuda_find_driver(libraries, &api, &why) != STATUS_OK) {
        printf("skipped: %s\n", why.text);
        cuda_libraries_close(libraries);
        return 77;
    }
    // The device holds the first GPU's primary context; it is this one.
    CudaContext *context = NULL;
    int ordinal = 0, n_failed = 0;
    int error = api->device_get(api->self, &ordinal, 0);
    error = error ? error : api->context_retain(api->self, &context, ordinal);
    error = error ? error : api->context_use(api->self, context);
    if (error)
        printf("error %d of the driver\n", error);
    const char *tests = getenv("MIXC_TESTS");
    char folder[512];
    snprintf(folder, sizeof folder, "%s/sim", tests && tests[0] ? tests : MIXC_TESTS);
    const int n = error ? 0 : run_folder(api, folder, &n_failed);
    printf("%d conformance kernels on %s, %d differ\n", n, device_cuda.describe(device), n_failed);
    if (context)
        api->context_release(api->self, ordinal);
    device_cuda.close(device);
    cuda_libraries_close(libraries);
    return n == 0 || n_failed > 0;
}
