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
