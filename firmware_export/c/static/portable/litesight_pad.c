/* SPDX-License-Identifier: Apache-2.0 */
/* A frame of one value around a map. */
#include <string.h>

#include "litesight_layer.h"

void litesight_pad_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  const litesight_pad *pad = (const litesight_pad *)layer->parameters;
  const litesight_feature *input = layer->input;
  const litesight_feature *output = layer->output;
  const uint32_t bytes = (uint32_t)input->width * input->channels;
  int8_t *row = litesight_row(output, arena, step);
  memset(row, pad->value, (uint32_t)output->width * output->channels);
  if (step >= pad->top && step - pad->top < input->height) {
    memcpy(row + (uint32_t)pad->left * input->channels, litesight_row(input, arena, step - pad->top), bytes);
  }
}
