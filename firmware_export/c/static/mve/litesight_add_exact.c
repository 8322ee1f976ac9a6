/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sum of two maps, one of which has the multiplier 2^30 and no shift to the right, as the one of the larger scale does:
 * that is half of what it was raised by. Only the other one is multiplied and rounded.
 */
#include "litesight_mve.h"

/* Everything that is the same for all values. */
typedef struct add_terms {
  int32x4_t raise; /* 2^left_shift */
  int32_t raised_zero;
  int32_t multiplier;
  int32_t shift; /* to the left */
  int32_t exact_raise;
  int32_t exact_zero;
  int32_t output_multiplier;
  int32_t output_shift; /* to the left */
  int32_t zero_point;
} add_terms;

LITESIGHT_INLINE int32x4_t add_four(int32x4_t exact, int32x4_t other, add_terms terms, bool is_upwards) {
  /* A multiplication does what a shift and a subtraction of the zero point would do. */
  const int32x4_t raised = vmlasq_n_s32(other, terms.raise, terms.raised_zero);
  const int32x4_t rounded = litesight_mve_rescale(raised, terms.multiplier, terms.shift, is_upwards);
  return litesight_mve_rescale(vmlaq_n_s32(rounded, exact, terms.exact_raise), terms.output_multiplier,
                               terms.output_shift, is_upwards);
}

LITESIGHT_INLINE int16x8_t add_eight(const int8_t *exact, const int8_t *other, add_terms terms, bool is_upwards) {
  const int16x8_t a = vsubq_n_s16(vldrbq_s16(exact), (int16_t)terms.exact_zero);
  const int16x8_t b = vldrbq_s16(other);
  return litesight_mve_narrow(add_four(vmovlbq_s16(a), vmovlbq_s16(b), terms, is_upwards),
                              add_four(vmovltq_s16(a), vmovltq_s16(b), terms, is_upwards), terms.zero_point);
}

LITESIGHT_INLINE void add_step(const litesight_layer *layer, int8_t *arena, uint32_t step, bool is_upwards) {
  const litesight_add *add = (const litesight_add *)layer->parameters;
  const litesight_feature *output = layer->output;
  const bool is_first_exact = add->multiplier[0] == 1 << 30 && add->shift[0] == 0;
  const litesight_feature *exact_feature = is_first_exact ? layer->input : layer->input2;
  const litesight_feature *other_feature = is_first_exact ? layer->input2 : layer->input;
  const int32_t one = 1 << add->left_shift;
  const add_terms terms = {
      .raise = vdupq_n_s32(one),
      .raised_zero = -other_feature->zero_point * one,
      .multiplier = add->multiplier[is_first_exact],
      .shift = -(int32_t)add->shift[is_first_exact],
      .exact_raise = one / 2,
      .exact_zero = exact_feature->zero_point,
      .output_multiplier = add->output_multiplier,
      .output_shift = -(int32_t)add->output_shift,
      .zero_point = output->zero_point,
  };
  const int8_t *exact = litesight_row(exact_feature, arena, step);
  const int8_t *other = litesight_row(other_feature, arena, step);
  int8_t *row = litesight_row(output, arena, step);
  int8_t *target = row;
  const uint32_t count = (uint32_t)output->width * output->channels;
  for (uint32_t i = count >> 3; i > 0; --i) {
    vstrbq_s16(target, add_eight(exact, other, terms, is_upwards));
    exact += 8;
    other += 8;
    target += 8;
  }
  if ((count & 7u) != 0) {
    vstrbq_p_s16(target, add_eight(exact, other, terms, is_upwards), vctp16q(count & 7u));
  }
  litesight_mve_clamp(row, count, add->minimum, add->maximum);
}

void litesight_add_exact_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  add_step(layer, arena, step, false);
}

/* For layers whose outputs are the same if halves are rounded upwards, which the exporter tries for all inputs. */
void litesight_add_upwards_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  add_step(layer, arena, step, true);
}
