/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Depthwise convolution of a map of any width, planar or not: the rows under the window are copied, channel by channel,
 * to where there is room for what the window sees beside the map.
 */
#ifndef LITESIGHT_DEPTHWISE_ROWS_H
#define LITESIGHT_DEPTHWISE_ROWS_H

#include "litesight_clamp_row.h"
#include "litesight_depthwise_pairs.h"
#include "litesight_depthwise_row.h"
#include "litesight_load.h"

#define LITESIGHT_DEPTHWISE_PIXELS 4

/* Adds the products of one row of the window to the sums of four pixels; `input` is what the first pixel sees first. */
typedef void (*litesight_depthwise_taps)(int32_t sums[LITESIGHT_DEPTHWISE_PIXELS], const int8_t *input,
                                         const int8_t *weights, int32_t zero);

/* The copy of a row: pad_left and at least 16 values of padding on its sides. */
static inline uint32_t litesight_depthwise_pitch(const litesight_feature *input, uint32_t pad_left) {
  return (pad_left + input->width + 16u + 3u) & ~3u;
}

static inline void litesight_copy_channel(int8_t *copy, const litesight_feature *input, const int8_t *row,
                                          uint32_t channel) {
  const uint32_t width = input->width;
  if (input->is_planar) {
    const int8_t *values = row + channel * width;
    for (uint32_t x = 0; x < width; x += 4u) {
      litesight_store4(copy + x, litesight_load4(values + x));
    }
  } else {
    const int8_t *value = row + channel;
    const uint32_t channels = input->channels;
    for (uint32_t x = 0; x < width; ++x) {
      copy[x] = *value;
      value += channels;
    }
  }
  const uint32_t padding = 0x01010101u * (uint8_t)input->zero_point;
  for (uint32_t i = 0; i < 16u; i += 4u) {
    litesight_store4(copy + width + i, padding);
  }
}

/* A row of the output for a window of `size` x `size`; size and taps are constants. */
static inline void litesight_depthwise_copied_row(const litesight_layer *layer, int8_t *arena, uint32_t step,
                                                  uint32_t size, uint32_t stride, litesight_depthwise_taps taps) {
  const litesight_conv *conv = (const litesight_conv *)layer->parameters;
  const litesight_feature *input = layer->input;
  const litesight_feature *output = layer->output;
  const uint32_t channels = output->channels;
  const uint32_t width = output->width;
  const uint32_t pad_left = conv->window.pad_left;
  const uint32_t pitch = litesight_depthwise_pitch(input, pad_left);
  int8_t *copies = arena + layer->scratch;
  int8_t *row = litesight_row(output, arena, step);
  const int32_t is_linear = conv->channels.minimum < output->zero_point;
  const int32_t zero = litesight_depthwise_zero(input);
  const int32_t zero_terms = 2 * output->zero_point + 1;

  const int32_t top = (int32_t)(step * stride) - conv->window.pad_top;
  const uint32_t first = top < 0 ? (uint32_t)-top : 0u;
  const uint32_t below = (uint32_t)(input->height - top);
  const uint32_t end = below < size ? below : size;
  for (uint32_t i = first; i < end; ++i) {
    memset(copies + i * pitch, (uint8_t)input->zero_point, pad_left);
  }

  const uint32_t *scale = litesight_depthwise_channels(conv);
  const int8_t *weights = (const int8_t *)(scale + 2u * channels);
  for (uint32_t channel = 0; channel < channels; ++channel) {
    for (uint32_t i = first; i < end; ++i) {
      litesight_copy_channel(copies + i * pitch + pad_left, input, litesight_row(input, arena, (uint32_t)top + i),
                             channel);
    }
    const int32_t bias = (int32_t)scale[-2] >> 8;
    const uint32_t exponent = (scale[0] & 31u) - (size == 3u ? 7u : 0u);
    const int32_t multiplier = (int32_t)scale[1];
    const int32_t constant = (int32_t)((uint32_t)zero_terms << exponent);
    for (uint32_t x = 0; x < width; x += LITESIGHT_DEPTHWISE_PIXELS) {
      int32_t sums[LITESIGHT_DEPTHWISE_PIXELS];
      sums[0] = sums[1] = sums[2] = sums[3] = bias;
      for (uint32_t i = first; i < end; ++i) {
        taps(sums, copies + i * pitch + x * stride, weights + i * size, zero);
      }
      const uint32_t left = width - x;
      const uint32_t count = left < LITESIGHT_DEPTHWISE_PIXELS ? left : LITESIGHT_DEPTHWISE_PIXELS;
      int8_t *out = row + x * channels + channel;
#pragma GCC unroll 4
      for (uint32_t p = 0; p < LITESIGHT_DEPTHWISE_PIXELS; ++p) {
        if (p < count) {
          *out = litesight_depthwise_output(sums[p], exponent, multiplier, constant, is_linear);
          out += channels;
        }
      }
    }
    scale += 2;
    weights += size * size;
  }
  litesight_clamp_conv_row(layer, row);
}

#endif
