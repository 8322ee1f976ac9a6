/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sum of two maps. TFLM brings both to twice the larger scale, with 20 bits to spare: for the input q that has the
 * larger scale this is exactly (q - zero point) << 19, and only the other one must be multiplied. The constants of all
 * steps are put together. Shifts are 1 at least.
 */
#include "litesight_arithmetic.h"
#include "litesight_clamp_row.h"
#include "litesight_layer.h"

#define EXACT_MULTIPLIER 0x40000000

/* The assembly code knows the order. */
typedef struct constants {
  int32_t zero;       /* of the smaller input, -zero point << 21 */
  int32_t multiplier; /* of the smaller input */
  int32_t rounding;   /* half and the larger input's zero point, before the shift */
  uint32_t shift;     /* of the smaller input */
  int32_t output_multiplier;
  int32_t output_rounding; /* half and the output's zero point, before the output's shift */
  uint32_t output_shift_1; /* the output's shift - 1 */
  const int8_t *end;       /* of the output, a multiple of four from its beginning */
} constants;

static inline int32_t sum_of(int32_t larger, int32_t smaller, const constants *c) {
  const int32_t doubled = c->zero + smaller * (1 << 21);
  const int32_t scaled = litesight_multiply_add_high(doubled, c->multiplier, c->rounding) + (doubled >> 31);
  const int32_t sum = 2 * (litesight_shift_right(scaled, c->shift) + larger * (1 << 19));
  const int32_t result = litesight_multiply_add_high(sum, c->output_multiplier, c->output_rounding) + (sum >> 31);
  return litesight_saturate_half(litesight_shift_right(result, c->output_shift_1));
}

/* sum_of for four values at a time, with all constants but the end in registers: 14.25 instructions per value. */
void litesight_add_fours(const constants *c, const int8_t *larger, const int8_t *smaller, int8_t *out);

/* clang-format off: one instruction a line. */
#define VALUE(byte)           \
  "sbfx r0, r12, #8 * " byte  \
  ", #8\n"                    \
  "add r0, r4, r0, lsl #21\n" \
  "smmlar lr, r0, r5, r6\n"   \
  "add lr, lr, r0, asr #31\n" \
  "asr lr, lr, r7\n"          \
  "sbfx r0, r11, #8 * " byte  \
  ", #8\n"                    \
  "add lr, lr, r0, lsl #19\n" \
  "lsl lr, lr, #1\n"          \
  "smmlar r0, lr, r8, r9\n"   \
  "add r0, r0, lr, asr #31\n" \
  "asr r0, r0, r10\n"         \
  "ssat r0, #8, r0, asr #1\n"

__asm__(
    ".syntax unified\n"
    ".section .text.litesight_add_fours, \"ax\", %progbits\n"
    ".p2align 2\n"
    ".global litesight_add_fours\n"
    ".thumb_func\n"
    ".type litesight_add_fours, %function\n"
    "litesight_add_fours:\n"
    "push {r4-r11, lr}\n"
    "sub sp, sp, #4\n"
    "ldmia r0, {r4-r11}\n"
    "str r11, [sp]\n"
    "cmp r3, r11\n"
    "beq 2f\n"
    "1:\n"
    "ldr r11, [r1], #4\n"
    "ldr r12, [r2], #4\n"
    VALUE("0")
    "strb r0, [r3], #1\n"
    VALUE("1")
    "strb r0, [r3], #1\n"
    VALUE("2")
    "strb r0, [r3], #1\n"
    VALUE("3")
    "strb r0, [r3], #1\n"
    "ldr r0, [sp]\n"
    "cmp r3, r0\n"
    "bne 1b\n"
    "2:\n"
    "add sp, sp, #4\n"
    "pop {r4-r11, pc}\n"
    ".size litesight_add_fours, . - litesight_add_fours\n"
    ".text\n");
/* clang-format on */

void litesight_add_larger_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  const litesight_add *add = (const litesight_add *)layer->parameters;
  const uint32_t i = add->multiplier[0] == EXACT_MULTIPLIER && add->shift[0] == 0 ? 1 : 0; /* the smaller */
  const litesight_feature *input[2] = {layer->input, layer->input2};
  const litesight_feature *output = layer->output;
  const int8_t *smaller = litesight_row(input[i], arena, step);
  const int8_t *larger = litesight_row(input[1u - i], arena, step);
  int8_t *row = litesight_row(output, arena, step);
  constants c = {
      .zero = -input[i]->zero_point * (1 << 21),
      .multiplier = add->multiplier[i],
      .rounding = (1 << (add->shift[i] - 1)) - input[1u - i]->zero_point * (1 << (19 + add->shift[i])),
      .shift = add->shift[i],
      .output_multiplier = add->output_multiplier,
      .output_rounding = (2 * output->zero_point + 1) * (1 << (add->output_shift - 1)),
      .output_shift_1 = add->output_shift - 1u,
  };
  const uint32_t count = (uint32_t)output->width * output->channels;
  const uint32_t fours = count & ~3u;
  c.end = row + fours;
  litesight_add_fours(&c, larger, smaller, row);
  for (uint32_t k = fours; k < count; ++k) {
    row[k] = (int8_t)sum_of(larger[k], smaller[k], &c);
  }
  litesight_clamp_row(output, row, add->minimum, add->maximum);
}
