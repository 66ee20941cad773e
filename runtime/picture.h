// Pictures from PNG and JPEG files, brought to a wanted size.
#ifndef MIXC_PICTURE_H
#define MIXC_PICTURE_H

#include "status.h"

#include <stddef.h>
#include <stdint.h>

// Reads a file into out[height, width, channels] (channels 1 or 3): the largest middle part of the wanted shape,
// averaged over the area of each new pixel. Fails with IO or DAMAGED.
Status picture_read(const char *path, int64_t height, int64_t width, int channels, uint8_t *out, StatusText *why);

#endif
