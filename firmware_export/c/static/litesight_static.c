/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The static engine: executes the steps that were planned when the network was exported, one after the other. Each
 * makes one row of one feature map from rows that are still in the arena; nothing is decided here.
 */
#include <stdbool.h>
#include <string.h>

#include "litesight_engine.h"
#include "litesight_layer.h"
#include "litesight_network.h"

#ifdef LITESIGHT_STEP_HOOK
/* For measurements: called after every step; op 0 is the source of the input's rows, op i layer i - 1. */
void litesight_step_done(uint32_t op);
#endif

static bool is_ready;
/* Words, for kernels keep int32 sums in it. */
static uint32_t arena_words[(LITESIGHT_ARENA_BYTES + 3u) / 4u];
static uint16_t steps_done[LITESIGHT_OPS];

litesight_status litesight_engine_init(void) {
  is_ready = true;
  return LITESIGHT_OK;
}

litesight_status litesight_engine_run(litesight_input_rows next_row, void *context, int8_t *output) {
  int8_t *arena = (int8_t *)arena_words;
  memset(steps_done, 0, sizeof steps_done);
  for (size_t i = 0; i < LITESIGHT_STEPS; ++i) {
    const uint32_t op = litesight_steps[i];
    const uint32_t step = steps_done[op]++;
    if (op == 0) {
      const litesight_status status =
          next_row(context, litesight_row(&litesight_features[LITESIGHT_NETWORK_INPUT], arena, step));
      if (status != LITESIGHT_OK) {
        return status;
      }
    } else {
      const litesight_layer *layer = &litesight_layers[op - 1u];
      layer->kernel(layer, arena, step);
    }
#ifdef LITESIGHT_STEP_HOOK
    litesight_step_done(op);
#endif
  }
  memcpy(output, litesight_row(&litesight_features[LITESIGHT_NETWORK_OUTPUT], arena, 0), LITESIGHT_CLASSES);
  return LITESIGHT_OK;
}

size_t litesight_engine_arena_used(void) { return is_ready ? sizeof arena_words : 0; }
