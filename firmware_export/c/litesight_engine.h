/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an inference engine provides, and nothing more: litesight.c is the same for every engine. An application
 * includes litesight.h instead.
 */
#ifndef LITESIGHT_ENGINE_H
#define LITESIGHT_ENGINE_H

#include <stddef.h>
#include <stdint.h>

#include "litesight_status.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Writes the next row of the network's input, from the top: LITESIGHT_INPUT_WIDTH * LITESIGHT_INPUT_CHANNELS values. An
 * engine calls it exactly LITESIGHT_INPUT_HEIGHT times and passes on any status but LITESIGHT_OK at once. The engine
 * chooses when: one that stores the whole input calls it in a loop, one that streams whenever it has room for a row.
 */
typedef litesight_status (*litesight_input_rows)(void *context, int8_t *row);

/* Prepares the engine; called once, before the first run. */
litesight_status litesight_engine_init(void);

/* Runs the network; writes LITESIGHT_CLASSES values. */
litesight_status litesight_engine_run(litesight_input_rows next_row, void *context, int8_t *output);

/* Bytes of the arena in use; 0 before litesight_engine_init. */
size_t litesight_engine_arena_used(void);

#ifdef __cplusplus
}
#endif

#endif
