/* SPDX-License-Identifier: Apache-2.0 */
/* A function of single values, from a table of all 256. */
#include "litesight_layer.h"

void litesight_lookup_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  const int8_t *table = ((const litesight_lookup *)layer->parameters)->table;
  const uint32_t count = (uint32_t)layer->output->width * layer->output->channels;
  const int8_t *input = litesight_row(layer->input, arena, step);
  int8_t *output = litesight_row(layer->output, arena, step);
  for (uint32_t i = 0; i < count; ++i) {
    output[i] = table[input[i] - INT8_MIN];
  }
}
