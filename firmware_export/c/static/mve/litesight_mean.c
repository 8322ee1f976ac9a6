/* SPDX-License-Identifier: Apache-2.0 */
/* Mean over height and width. Every step adds a row to the sums in the state; the last one writes the output. */
#include "litesight_mve.h"

static void add_row(const int8_t *row, int32_t *sums, uint32_t width, uint32_t channels, bool is_first,
                    int32_t first_sum) {
  for (int32_t left = (int32_t)channels; left > 0; left -= 4) {
    const mve_pred16_t lanes = vctp32q((uint32_t)left);
    const int8_t *value = row;
    int32x4_t sum = is_first ? vdupq_n_s32(first_sum) : vldrwq_z_s32(sums, lanes);
    for (uint32_t x = width; x > 0; --x) {
      sum = vaddq_s32(sum, vldrbq_s32(value));
      value += channels;
    }
    vstrwq_p_s32(sums, sum, lanes);
    row += 4;
    sums += 4;
  }
}

void litesight_mean_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  const litesight_mean *mean = (const litesight_mean *)layer->parameters;
  const litesight_feature *input = layer->input;
  const uint32_t channels = input->channels;
  int32_t *sums = (int32_t *)(void *)(arena + layer->state);
  /* The division by the number of values is in the multiplier. */
  const int32_t zero = -(int32_t)input->zero_point * input->height * input->width;
  add_row(litesight_row(input, arena, step), sums, input->width, channels, step == 0, zero);
  if (step + 1u == input->height) {
    const int32_t left_shift = mean->shift < 0 ? -mean->shift : 0;
    const litesight_mve_scale scale = {0, mean->multiplier, mean->shift < 0 ? 0 : -mean->shift};
    int8_t *output = litesight_row(layer->output, arena, 0);
    for (int32_t left = (int32_t)channels; left > 0; left -= 4) {
      const mve_pred16_t lanes = vctp32q((uint32_t)left);
      const int32x4_t sum = vshlq_r_s32(vldrwq_z_s32(sums, lanes), left_shift);
      vstrbq_p_s32(output, litesight_mve_four_outputs(sum, scale, layer->output->zero_point, false), lanes);
      sums += 4;
      output += 4;
    }
  }
}
