/* SPDX-License-Identifier: Apache-2.0 */
/* Mean over height and width. Every step adds a row to the sums in the state; the last one writes the output. */
#include "litesight_layer.h"
#include "litesight_requantize.h"

void litesight_mean_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  const litesight_mean *mean = (const litesight_mean *)layer->parameters;
  const litesight_feature *input = layer->input;
  const uint32_t channels = input->channels;
  const int8_t *row = litesight_row(input, arena, step);
  int32_t *sums = (int32_t *)(void *)(arena + layer->state);
  if (step == 0) {
    /* The division by their number is in the multiplier. */
    const int32_t zero = -(int32_t)input->zero_point * input->height * input->width;
    for (uint32_t c = 0; c < channels; ++c) {
      sums[c] = zero;
    }
  }
  for (uint32_t x = 0; x < input->width; ++x) {
    for (uint32_t c = 0; c < channels; ++c) {
      sums[c] += row[c];
    }
    row += channels;
  }
  if (step + 1u == input->height) {
    const litesight_scale scale = {mean->multiplier, mean->shift};
    int8_t *output = litesight_row(layer->output, arena, 0);
    for (uint32_t c = 0; c < channels; ++c) {
      output[c] = litesight_requantize(sums[c], scale, layer->output->zero_point, INT8_MIN, INT8_MAX);
    }
  }
}
