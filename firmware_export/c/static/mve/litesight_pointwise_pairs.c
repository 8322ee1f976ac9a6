/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pointwise convolution of 8, 16, 24 or 32 input channels to an even number of channels; rows are a multiple of four
 * pixels wide, or of three. Rectified to a planar map, as layers do that expand an inverted bottleneck, or to any.
 */
#include "litesight_mve_pairs.h"

LITESIGHT_SHARED void run_step(const litesight_layer *layer, int8_t *arena, uint32_t step, uint32_t together,
                               litesight_mve_pairs_kernel kernel) {
  int8_t *row = litesight_row(layer->output, arena, step);
  litesight_mve_pairs_run(layer, litesight_row(layer->input, arena, step), layer->output->width, row, together, kernel);
  litesight_mve_clamp_conv(layer, row);
}

/* `bytes` of the stream are of two channels. */
#define POINTWISE(depth, bytes, pixels, PIXELS, together)                                                              \
  LITESIGHT_PAIRS_FUNCTION(run_##depth##_##pixels, LITESIGHT_PAIRS_LOAD_##depth, bytes,                                \
                           LITESIGHT_PAIRS_##PIXELS##_##depth, LITESIGHT_PAIRS_LINEAR, LITESIGHT_PAIRS_STORE_##PIXELS, \
                           LITESIGHT_PAIRS_NEXT)                                                                       \
  LITESIGHT_PAIRS_FUNCTION(run_##depth##_##pixels##_planar, LITESIGHT_PAIRS_LOAD_##depth, bytes,                       \
                           LITESIGHT_PAIRS_##PIXELS##_##depth, LITESIGHT_PAIRS_RECTIFIED,                              \
                           LITESIGHT_PAIRS_STORE_##PIXELS, LITESIGHT_PAIRS_NEXT_##PIXELS)                              \
  void litesight_pointwise_##depth##_##pixels##_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {     \
    run_step(layer, arena, step, together, run_##depth##_##pixels);                                                    \
  }                                                                                                                    \
  void litesight_pointwise_##depth##_##pixels##_planar_step(const litesight_layer *layer, int8_t *arena,               \
                                                            uint32_t step) {                                           \
    run_step(layer, arena, step, together, run_##depth##_##pixels##_planar);                                           \
  }

POINTWISE(8, "32", four, FOUR, 4)
POINTWISE(16, "48", four, FOUR, 4)
POINTWISE(24, "64", four, FOUR, 4)
POINTWISE(32, "80", four, FOUR, 4)
POINTWISE(16, "48", three, THREE, 3)
POINTWISE(24, "64", three, THREE, 3)
POINTWISE(32, "80", three, THREE, 3)
