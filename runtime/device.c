// The list of devices.
#include "device.h"

#include <string.h>

const DeviceOps *device_find(const char *name)
{
    static const DeviceOps *const device[] = {&device_cpu, &device_cuda, &device_null, &device_sim};
    for (size_t i = 0; i < sizeof device / sizeof device[0]; i++)
        if (strcmp(device[i]->name, name) == 0)
            return device[i];
    return NULL;
}

Status device_open_best(const DeviceOptions *options, const DeviceOps **out_ops, Device **out_device, StatusText *why)
{
    StatusText no_gpu = {0};                // nobody asked for it
    *out_ops = &device_cuda;
    if (device_cuda.open(options, out_device, &no_gpu) == STATUS_OK)
        return STATUS_OK;
    *out_ops = &device_cpu;
    return device_cpu.open(options, out_device, why);
}
