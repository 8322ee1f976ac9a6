/* SPDX-License-Identifier: Apache-2.0 */
/* Sum of two maps: both are brought to one scale, with left_shift bits to spare, then added and requantised. */
#include "litesight_layer.h"
#include "litesight_requantize.h"

void litesight_add_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  const litesight_add *add = (const litesight_add *)layer->parameters;
  const litesight_feature *output = layer->output;
  const uint32_t count = (uint32_t)output->width * output->channels;
  const int32_t one = (int32_t)1 << add->left_shift;
  const int32_t zero_point = layer->input->zero_point;
  const int32_t zero_point2 = layer->input2->zero_point;
  const int8_t *input = litesight_row(layer->input, arena, step);
  const int8_t *input2 = litesight_row(layer->input2, arena, step);
  int8_t *result = litesight_row(output, arena, step);
  const litesight_scale scale = {add->output_multiplier, add->output_shift};
  for (uint32_t i = 0; i < count; ++i) {
    const int32_t sum = litesight_rescale((input[i] - zero_point) * one, add->multiplier[0], add->shift[0]) +
                        litesight_rescale((input2[i] - zero_point2) * one, add->multiplier[1], add->shift[1]);
    result[i] = litesight_requantize(sum, scale, output->zero_point, add->minimum, add->maximum);
  }
}
