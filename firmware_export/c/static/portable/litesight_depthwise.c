/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Depthwise convolution with any window. Channel by channel: a channel's weights lie together, and what the rows above
 * and below the map contribute to a channel is the same for all its pixels.
 */
#include "litesight_layer.h"
#include "litesight_requantize.h"
#include "litesight_taps.h"

/* The rows of the input under the window of this step. */
typedef struct window_rows {
  const int8_t *arena;
  const uint32_t *offsets; /* in the arena, by row of the window; only those inside the map */
  litesight_taps inside;
} window_rows;

static int32_t weight_sum(const int8_t *weights, int32_t count) {
  int32_t sum = 0;
  for (int32_t i = 0; i < count; ++i) {
    sum += weights[i];
  }
  return sum;
}

/* What one pixel's taps in the columns `columns` sum up to; `first` is the offset of the window's first tap in a row.
 */
static inline int32_t window_sum(const window_rows *rows, litesight_taps columns, int32_t first, int32_t tap_distance,
                                 const int8_t *weights, int32_t kernel_width) {
  const int32_t start = first + columns.first * tap_distance;
  const int32_t taps = columns.end - columns.first;
  int32_t sum = 0;
  for (int32_t i = rows->inside.first; i < rows->inside.end; ++i) {
    const int8_t *weight = weights + i * kernel_width + columns.first;
    const int8_t *input = rows->arena + ((int32_t)rows->offsets[i] + start);
    for (int32_t j = 0; j < taps; ++j) {
      sum += *input * weight[j];
      input += tap_distance;
    }
  }
  return sum;
}

/* The weights of the taps inside in y, but outside in x. */
static int32_t outside_weights(const window_rows *rows, litesight_taps columns, const int8_t *weights,
                               int32_t kernel_width) {
  int32_t sum = 0;
  for (int32_t i = rows->inside.first; i < rows->inside.end; ++i) {
    const int8_t *row = weights + i * kernel_width;
    sum += weight_sum(row, columns.first) + weight_sum(row + columns.end, kernel_width - columns.end);
  }
  return sum;
}

void litesight_depthwise_step(const litesight_layer *layer, int8_t *arena, uint32_t step) {
  const litesight_conv *conv = (const litesight_conv *)layer->parameters;
  const litesight_window *window = &conv->window;
  const litesight_channels *channels = &conv->channels;
  const litesight_feature *input = layer->input;
  const litesight_feature *output = layer->output;
  const int32_t kernel_height = window->kernel_height;
  const int32_t kernel_width = window->kernel_width;
  const uint32_t outputs_per_input = (uint32_t)output->channels / input->channels;
  const uint32_t next_channel = input->is_planar ? input->width : 1u;
  const int32_t pixel_distance = input->is_planar ? 1 : input->channels;
  const int32_t tap_distance = pixel_distance * window->dilation_x;

  const int32_t top = (int32_t)(step * window->stride_y) - window->pad_top;
  uint32_t *offsets = (uint32_t *)(void *)(arena + layer->scratch);
  const window_rows rows = {arena, offsets,
                            litesight_taps_inside(top, window->dilation_y, kernel_height, input->height)};
  for (int32_t i = rows.inside.first; i < rows.inside.end; ++i) {
    offsets[i] = (uint32_t)(litesight_row(input, arena, (uint32_t)(top + i * window->dilation_y)) - arena);
  }

  int8_t *output_row = litesight_row(output, arena, step);
  const int8_t *weights = conv->weights;
  for (uint32_t c = 0; c < output->channels; ++c) {
    const litesight_scale scale = litesight_channel_scale(channels, c);
    const int32_t above_and_below =
        weight_sum(weights, rows.inside.first * kernel_width) +
        weight_sum(weights + rows.inside.end * kernel_width, (kernel_height - rows.inside.end) * kernel_width);
    const int32_t bias = channels->bias[c] + input->zero_point * above_and_below;
    const int32_t plane = (int32_t)(c / outputs_per_input * next_channel);
    int32_t left = -(int32_t)window->pad_left;
    int8_t *pixel = output_row + c;
    for (uint32_t x = 0; x < output->width; ++x) {
      const litesight_taps columns = litesight_taps_inside(left, window->dilation_x, kernel_width, input->width);
      int32_t accumulator =
          bias + window_sum(&rows, columns, plane + left * pixel_distance, tap_distance, weights, kernel_width);
      if (columns.end - columns.first != kernel_width) {
        accumulator += input->zero_point * outside_weights(&rows, columns, weights, kernel_width);
      }
      *pixel = litesight_requantize(accumulator, scale, output->zero_point, channels->minimum, channels->maximum);
      pixel += output->channels;
      left += window->stride_x;
    }
    weights += kernel_height * kernel_width;
  }
}
