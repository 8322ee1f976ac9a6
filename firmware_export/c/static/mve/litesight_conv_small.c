/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Convolution with a small window, such as 3x3 of three channels, rectified, to an even number of channels; rows are a
 * multiple of four pixels wide. Windows are copied to the scratch memory, PITCH bytes apart, their weights are filled
 * up with zeros to 32 bytes.
 */
#include "litesight_mve_copy.h"
#include "litesight_mve_pairs.h"

/* Rows of a window are written 16 bytes at a time: the last of three of nine bytes ends here. */
#define PITCH 34
#define MOST_PIXELS 24

LITESIGHT_PAIRS_FUNCTION(run_four_windows, LITESIGHT_PAIRS_LOAD_32, "80", LITESIGHT_PAIRS_FOUR_34,
                         LITESIGHT_PAIRS_RECTIFIED, LITESIGHT_PAIRS_STORE_FOUR, LITESIGHT_PAIRS_NEXT)

void litesight_conv_small_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  const litesight_feature *output = layer->output;
  const uint32_t pixel_distance = output->is_planar ? 1u : output->channels;
  const int32_t width = output->width;
  int8_t *windows = arena + layer->scratch;
  int8_t *row = litesight_row(output, arena, step);
  for (int32_t x = 0; x < width; x += MOST_PIXELS) {
    const int32_t count = width - x < MOST_PIXELS ? width - x : MOST_PIXELS;
    litesight_mve_copy_windows(layer, arena, step, x, count, windows, PITCH);
    litesight_mve_pairs_run(layer, windows, (uint32_t)count, row + (uint32_t)x * pixel_distance, 4, run_four_windows);
  }
  litesight_mve_clamp_conv(layer, row);
}
