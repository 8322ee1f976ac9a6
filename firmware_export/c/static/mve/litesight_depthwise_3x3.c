/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Depthwise convolution with a window of 3x3. The exporter knows the stride, whether the output is rectified and how
 * the input lies, and chooses accordingly.
 */
#include "litesight_mve_interleave.h"
#include "litesight_mve_long_rows.h"
#include "litesight_mve_scatter.h"

/* The kernels of a window; kernels and steps that no layer needs are left out by the linker. */
#define WINDOW(name, weights, block, linear, ...)                                                     \
  static const litesight_mve_window name = {__VA_ARGS__};                                             \
  LITESIGHT_LONG_FUNCTION(name##_long, LITESIGHT_LONG_MASK_3X3, weights, block, block##_FOUR, linear) \
  __attribute__((noinline)) static void name##_four(const litesight_mve_group *group) {               \
    litesight_mve_window_run_four(group, name);                                                       \
  }                                                                                                   \
  __attribute__((noinline)) static void name##_eight(const litesight_mve_group *group) {              \
    litesight_mve_window_run_eight(group, name);                                                      \
  }                                                                                                   \
  static const litesight_mve_group_kernels name##_kernels = {name##_four, name##_eight, name##_long};

WINDOW(stride_1, LITESIGHT_LONG_WEIGHTS_3X3, LITESIGHT_LONG_3X3, LITESIGHT_LONG_LINEAR, 3, 4, 1, false)
WINDOW(stride_1_rectified, LITESIGHT_LONG_WEIGHTS_3X3, LITESIGHT_LONG_3X3, "", 3, 4, 1, true)
WINDOW(stride_2, LITESIGHT_LONG_WEIGHTS_3X3_2, LITESIGHT_LONG_3X3_2, LITESIGHT_LONG_LINEAR, 3, 4, 2, false)
WINDOW(stride_2_rectified, LITESIGHT_LONG_WEIGHTS_3X3_2, LITESIGHT_LONG_3X3_2, "", 3, 4, 2, true)

void litesight_depthwise_3x3_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  litesight_mve_interleave_step(layer, arena, step, stride_1, true, stride_1_kernels);
}

void litesight_depthwise_3x3_short_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  litesight_mve_scatter_step(layer, arena, step, stride_1, stride_1_kernels);
}

void litesight_depthwise_3x3_interleaved_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  litesight_mve_interleave_step(layer, arena, step, stride_1, false, stride_1_kernels);
}

void litesight_depthwise_3x3_rectified_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  litesight_mve_interleave_step(layer, arena, step, stride_1_rectified, true, stride_1_rectified_kernels);
}

void litesight_depthwise_3x3_rectified_short_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  litesight_mve_scatter_step(layer, arena, step, stride_1_rectified, stride_1_rectified_kernels);
}

void litesight_depthwise_3x3_rectified_interleaved_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  litesight_mve_interleave_step(layer, arena, step, stride_1_rectified, false, stride_1_rectified_kernels);
}

void litesight_depthwise_3x3_stride_2_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  litesight_mve_interleave_step(layer, arena, step, stride_2, true, stride_2_kernels);
}

void litesight_depthwise_3x3_stride_2_short_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  litesight_mve_scatter_step(layer, arena, step, stride_2, stride_2_kernels);
}

void litesight_depthwise_3x3_stride_2_interleaved_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  litesight_mve_interleave_step(layer, arena, step, stride_2, false, stride_2_kernels);
}

void litesight_depthwise_3x3_stride_2_rectified_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  litesight_mve_interleave_step(layer, arena, step, stride_2_rectified, true, stride_2_rectified_kernels);
}

void litesight_depthwise_3x3_stride_2_rectified_short_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  litesight_mve_scatter_step(layer, arena, step, stride_2_rectified, stride_2_rectified_kernels);
}

void litesight_depthwise_3x3_stride_2_rectified_interleaved_step(const litesight_layer *layer, int8_t *arena,
                                                                 uint32_t step) {
  litesight_mve_interleave_step(layer, arena, step, stride_2_rectified, false, stride_2_rectified_kernels);
}
