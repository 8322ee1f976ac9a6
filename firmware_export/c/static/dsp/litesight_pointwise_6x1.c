/* SPDX-License-Identifier: Apache-2.0 */
#include "litesight_pointwise_row.h"

void litesight_fill_panel_6(uint32_t *panel, const int8_t *input, uint32_t distance, uint32_t values);

/*
 * As litesight_fill_panel, six pixels: 24 instructions for four values of each.
 *
 * r0 panel, r1 and r2 pixels 0 and 3, r3 distance, r4-r9 words, then values 1 and 3, r10-r12 values 0 and 2, lr mask.
 */
/* clang-format off: one instruction a line. */
__asm__(
    ".syntax unified\n"
    ".section .text.litesight_fill_panel_6, \"ax\", %progbits\n"
    ".p2align 2\n"
    ".global litesight_fill_panel_6\n"
    ".thumb_func\n"
    ".type litesight_fill_panel_6, %function\n"
    "litesight_fill_panel_6:\n"
    "add r3, r1, r3\n"
    "push {r3-r11, lr}\n" /* where the first pixel ends comes first */
    "mov r3, r2\n"
    "add r2, r1, r3\n"
    "add r2, r2, r3, lsl #1\n"
    "mov lr, #0xff00ff00\n"
    "1:\n"
    "ldr r5, [r1, r3]\n"
    "ldr r6, [r1, r3, lsl #1]\n"
    "ldr r4, [r1], #4\n"
    "and r10, lr, r4, lsl #8\n"
    "and r11, lr, r5, lsl #8\n"
    "and r12, lr, r6, lsl #8\n"
    "stmia r0!, {r10-r12}\n"
    "ldr r8, [r2, r3]\n"
    "ldr r9, [r2, r3, lsl #1]\n"
    "ldr r7, [r2], #4\n"
    "and r10, lr, r7, lsl #8\n"
    "and r11, lr, r8, lsl #8\n"
    "and r12, lr, r9, lsl #8\n"
    "stmia r0!, {r10-r12}\n"
    "and r4, r4, lr\n"
    "and r5, r5, lr\n"
    "and r6, r6, lr\n"
    "and r7, r7, lr\n"
    "and r8, r8, lr\n"
    "and r9, r9, lr\n"
    "stmia r0!, {r4-r9}\n"
    "ldr r10, [sp]\n"
    "cmp r1, r10\n"
    "bne 1b\n"
    "pop {r3-r11, pc}\n"
    ".size litesight_fill_panel_6, . - litesight_fill_panel_6\n"
    ".text\n");
/* clang-format on */

void litesight_pointwise_6x1_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  litesight_pointwise_row(layer, arena, step, 6, litesight_fill_panel_6, litesight_dot_6x1);
}
