// The fields of a module's text, one row each: printed and read alike.
#ifndef MIXC_MODULE_FIELDS_H
#define MIXC_MODULE_FIELDS_H

#include "module.h"

extern const char *const train_optimizer_text[], *const train_schedule_text[], *const param_role_text[];

// The numbers of a TrainSpec, in the order of the text.
typedef struct TrainField {
    const char *name;
    size_t      at;
    enum { TRAIN_DOUBLE, TRAIN_INT, TRAIN_BOOL } kind;
} TrainField;
extern const TrainField train_field[];
extern const size_t train_field_count;

double train_field_get(const TrainSpec *t, size_t field);
// False when the number does not fit the field.
bool   train_field_set(TrainSpec *t, size_t field, double value);

#endif
