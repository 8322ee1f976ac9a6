/* SPDX-License-Identifier: Apache-2.0 */
#include "litesight_depthwise_rows.h"

static inline void row_of_taps(int32_t sums[LITESIGHT_DEPTHWISE_PIXELS], const int8_t *input, const int8_t *weights,
                               int32_t zero) {
  const uint32_t w = litesight_load4(weights);
  const int32_t w02 = litesight_weights_0_2(w);
  const int32_t w1 = litesight_weights_1_3(w);
  const uint32_t x0 = litesight_load4(input);
  const uint32_t x2 = litesight_load4(input + 2);
  const int32_t pair0 = litesight_values_0_2(zero, x0);
  const int32_t pair1 = litesight_values_1_3(zero, x0);
  const int32_t pair2 = litesight_values_0_2(zero, x2);
  const int32_t pair3 = litesight_values_1_3(zero, x2);
  sums[0] = __smlabb(pair1, w1, __smlad(pair0, w02, sums[0]));
  sums[1] = __smlabb(pair2, w1, __smlad(pair1, w02, sums[1]));
  sums[2] = __smlabb(pair3, w1, __smlad(pair2, w02, sums[2]));
  sums[3] = __smlatb(pair2, w1, __smlad(pair3, w02, sums[3]));
}

void litesight_depthwise_3x3_any_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  litesight_depthwise_copied_row(layer, arena, step, 3, 1, row_of_taps);
}
