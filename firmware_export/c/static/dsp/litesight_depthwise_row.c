/* SPDX-License-Identifier: Apache-2.0 */
#include "litesight_depthwise_row.h"

#include "litesight_arithmetic.h"
#include "litesight_clamp_row.h"
#include "litesight_load.h"

#define BLOCK 6u /* pixels of a block of the loops for wide rows */
#define GROUP 4u /* channels that are rearranged at a time */

/* Everything but the rows. */
static litesight_depthwise row_at(const litesight_layer *layer, int8_t *arena, uint32_t step, uint32_t ends) {
  const litesight_conv *conv = (const litesight_conv *)layer->parameters;
  const litesight_feature *output = layer->output;
  const uint32_t size = conv->window.kernel_height;
  const int32_t top = (int32_t)(step * conv->window.stride_y) - conv->window.pad_top;
  const int32_t over = top + (int32_t)size - layer->input->height;
  const uint32_t below = over > 0 ? (uint32_t)over : 0u;
  const uint32_t blocks = (output->width + BLOCK - 1u) / BLOCK;
  const uint32_t back = blocks * BLOCK - output->width;
  litesight_depthwise row;
  row.channels = litesight_depthwise_channels(conv);
  row.zero_terms = 2 * output->zero_point + 1;
  row.output = litesight_row(output, arena, step);
  row.pixel_stride = output->channels;
  row.channels_end = row.channels + 2u * output->channels;
  row.next_channel = 1 - ((int32_t)output->width - (int32_t)BLOCK) * output->channels;
  row.middle = blocks - ends;
  row.middle_left = 0;
  row.back = back * conv->window.stride_x;
  row.back_output = back * output->channels;
  for (uint32_t i = 0; i < LITESIGHT_DEPTHWISE_MAX_ROWS; ++i) {
    row.rows[i] = 0;
  }
  row.rows_outside = below + (top < 0 ? (uint32_t)-top : 0u);
  row.zero = litesight_depthwise_zero(layer->input);
  row.weights = (const int8_t *)row.channels_end + (size - 1u - below) * size;
  return row;
}

/* Where four neighbouring pixels are. */
typedef struct four_pixels {
  uint32_t distance[4];
} four_pixels;

/* Four pixels of four channels: channel i of pixel j goes to byte j of word i. */
static inline void transpose(const int8_t *input, const four_pixels *pixels, int8_t *to, uint32_t pitch) {
  const uint32_t a = litesight_load4(input);
  const uint32_t b = litesight_load4(input + pixels->distance[1]);
  const uint32_t c = litesight_load4(input + pixels->distance[2]);
  const uint32_t d = litesight_load4(input + pixels->distance[3]);
  const uint32_t ab02 = litesight_bytes_0_2(a) | litesight_bytes_0_2(b) << 8;
  const uint32_t ab13 = litesight_bytes_1_3(a) | litesight_bytes_1_3(b) << 8;
  const uint32_t cd02 = litesight_bytes_0_2(c) | litesight_bytes_0_2(d) << 8;
  const uint32_t cd13 = litesight_bytes_1_3(c) | litesight_bytes_1_3(d) << 8;
  litesight_store4(to, litesight_lower_halves(ab02, cd02));
  litesight_store4(to + pitch, litesight_lower_halves(ab13, cd13));
  litesight_store4(to + 2u * pitch, litesight_upper_halves(ab02, cd02));
  litesight_store4(to + 3u * pitch, litesight_upper_halves(ab13, cd13));
}

/* A row of four channels as a planar one. May write three bytes more, and reads three bytes behind the channels. */
static void rearrange(const int8_t *input, uint32_t channels, int8_t *to, uint32_t width) {
  four_pixels pixels;
  for (uint32_t i = 0; i < 4u; ++i) {
    pixels.distance[i] = (i < width ? i : width - 1u) * channels;
  }
  uint32_t x = 0;
  for (; x + 4u < width; x += 4u) {
    transpose(input + x * channels, &pixels, to + x, width);
  }
  x = width < 4u ? 0u : width - 4u;
  transpose(input + x * channels, &pixels, to + x, width);
}

static void interleaved_row(const litesight_layer *layer, int8_t *arena, uint32_t y, litesight_depthwise *row,
                            litesight_depthwise_loop loop) {
  const litesight_conv *conv = (const litesight_conv *)layer->parameters;
  const litesight_feature *input = layer->input;
  const uint32_t size = conv->window.kernel_height;
  int8_t *output = row->output;
  for (uint32_t channel = 0; channel < input->channels; channel += GROUP) {
    const uint32_t left = input->channels - channel;
    int8_t *copy = arena + layer->scratch;
    for (uint32_t i = row->rows_outside; i < size; ++i) {
      const uint32_t inside = i - row->rows_outside;
      rearrange(litesight_row(input, arena, y + inside) + channel, input->channels, copy, input->width);
      row->rows[i] = copy;
      copy += GROUP * input->width;
    }
    row->output = output + channel;
    row->channels_end = row->channels + 2u * (left < GROUP ? left : GROUP);
    loop(row);
    row->channels = row->channels_end;
    row->weights += GROUP * size * size;
  }
}

void litesight_depthwise_row(const litesight_layer *layer, int8_t *arena, uint32_t step, uint32_t ends,
                             litesight_depthwise_loop loop) {
  const litesight_conv *conv = (const litesight_conv *)layer->parameters;
  const int32_t top = (int32_t)(step * conv->window.stride_y) - conv->window.pad_top;
  const uint32_t y = top < 0 ? 0u : (uint32_t)top;
  litesight_depthwise row = row_at(layer, arena, step, ends);
  int8_t *const output = row.output;
  if (layer->input->is_planar) {
    for (uint32_t i = row.rows_outside; i < conv->window.kernel_height; ++i) {
      row.rows[i] = litesight_row(layer->input, arena, y + i - row.rows_outside);
    }
    loop(&row);
  } else {
    interleaved_row(layer, arena, y, &row, loop);
  }
  litesight_clamp_conv_row(layer, output);
}
