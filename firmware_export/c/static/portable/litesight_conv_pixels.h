/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arithmetic of a convolution once the inputs of a pixel lie one after the other: for every output channel the sum
 * of `depth` products. Weights are packed channel by channel, `depth` together.
 */
#ifndef LITESIGHT_CONV_PIXELS_H
#define LITESIGHT_CONV_PIXELS_H

#include <stdint.h>

#include "litesight_layer.h"
#include "litesight_requantize.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Output values of neighbouring pixels, and of neighbouring channels, are so far apart. */
static inline uint32_t litesight_pixel_distance(const litesight_feature *feature) {
  return feature->is_planar ? 1u : feature->channels;
}

static inline uint32_t litesight_channel_distance(const litesight_feature *feature) {
  return feature->is_planar ? feature->width : 1u;
}

/*
 * Two pixels at once and two channels at once: four products for four loads. An odd last channel is computed with
 * itself. `output` is the first pixel's.
 */
static inline void litesight_conv_two_pixels(const litesight_layer *layer, uint32_t depth, const int8_t *first,
                                             const int8_t *second, int8_t *output) {
  const litesight_conv *conv = (const litesight_conv *)layer->parameters;
  const litesight_channels *channels = &conv->channels;
  const uint32_t count = layer->output->channels;
  const int32_t zero_point = layer->output->zero_point;
  const int32_t minimum = channels->minimum;
  const int32_t maximum = channels->maximum;
  const uint32_t next_pixel = litesight_pixel_distance(layer->output);
  const uint32_t next_channel = litesight_channel_distance(layer->output);
  for (uint32_t c = 0; c < count; c += 2u) {
    const uint32_t d = c + 1u < count ? c + 1u : c;
    const int8_t *weights_c = conv->weights + c * depth;
    const int8_t *weights_d = conv->weights + d * depth;
    int32_t first_c = channels->bias[c];
    int32_t first_d = channels->bias[d];
    int32_t second_c = first_c;
    int32_t second_d = first_d;
    for (uint32_t i = 0; i < depth; ++i) {
      const int32_t x = first[i];
      const int32_t y = second[i];
      first_c += x * weights_c[i];
      first_d += x * weights_d[i];
      second_c += y * weights_c[i];
      second_d += y * weights_d[i];
    }
    const litesight_scale scale_c = litesight_channel_scale(channels, c);
    const litesight_scale scale_d = litesight_channel_scale(channels, d);
    int8_t *output_c = output + c * next_channel;
    int8_t *output_d = output + d * next_channel;
    output_c[0] = litesight_requantize(first_c, scale_c, zero_point, minimum, maximum);
    output_c[next_pixel] = litesight_requantize(second_c, scale_c, zero_point, minimum, maximum);
    output_d[0] = litesight_requantize(first_d, scale_d, zero_point, minimum, maximum);
    output_d[next_pixel] = litesight_requantize(second_d, scale_d, zero_point, minimum, maximum);
  }
}

static inline void litesight_conv_one_pixel(const litesight_layer *layer, uint32_t depth, const int8_t *input,
                                            int8_t *output) {
  const litesight_conv *conv = (const litesight_conv *)layer->parameters;
  const litesight_channels *channels = &conv->channels;
  const uint32_t next_channel = litesight_channel_distance(layer->output);
  const int8_t *weights = conv->weights;
  for (uint32_t c = 0; c < layer->output->channels; ++c) {
    int32_t accumulator = channels->bias[c];
    for (uint32_t i = 0; i < depth; ++i) {
      accumulator += input[i] * weights[i];
    }
    output[c * next_channel] = litesight_requantize(accumulator, litesight_channel_scale(channels, c),
                                                    layer->output->zero_point, channels->minimum, channels->maximum);
    weights += depth;
  }
}

#ifdef __cplusplus
}
#endif

#endif
