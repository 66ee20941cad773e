// The fixed parts of a library's C file, embedded as text.
#ifndef MIXC_LIBRARY_FILES_H
#define MIXC_LIBRARY_FILES_H

extern const char launch_types_text[], launch_text[], launch_load_text[], launch_train_text[], launch_text_text[];   // frontend/library/*.inc
extern const char pool_core_text[];                                                                    // runtime/pool_core.inc

#endif
