/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the static engine's kernels are given. A kernel executes one step of one layer: it computes one row of the
 * output from rows of the input that are in the arena. Kernels keep nothing between steps but what lies in their state.
 */
#ifndef LITESIGHT_LAYER_H
#define LITESIGHT_LAYER_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A feature map in the arena; row y is at offset + (y % rows) * width * channels. A row is `width` pixels of `channels`
 * values, or where is_planar is set, `channels` runs of `width` values. Planar maps are read by depthwise layers only.
 */
typedef struct litesight_feature {
  uint32_t offset; /* multiple of 4 */
  uint16_t rows;   /* that are kept */
  uint16_t height;
  uint16_t width;
  uint16_t channels;
  int16_t zero_point;
  uint16_t is_planar;
} litesight_feature;

typedef struct litesight_layer litesight_layer;

/* `step` counts from 0; for most kernels it is the row of the output. */
typedef void (*litesight_kernel)(const litesight_layer *layer, int8_t *arena, uint32_t step);

struct litesight_layer {
  litesight_kernel kernel;
  const litesight_feature *input;
  const litesight_feature *input2; /* of an addition, else NULL */
  const litesight_feature *output;
  const void *parameters; /* one of the structures below */
  uint32_t scratch;       /* offset of memory for the time of a step, a multiple of 4 */
  uint32_t state;         /* offset of memory that lasts from the first step to the last, a multiple of 4 */
};

/* The window of output (y, x) starts at input (y * stride_y - pad_top, x * stride_x - pad_left). */
typedef struct litesight_window {
  uint16_t kernel_height;
  uint16_t kernel_width;
  uint8_t stride_y;
  uint8_t stride_x;
  uint8_t dilation_y;
  uint8_t dilation_x;
  uint16_t pad_top;
  uint16_t pad_left;
} litesight_window;

/*
 * From accumulator to output, per channel. Shifts are to the right, negative ones to the left.
 *
 * Where `shift` is NULL, the multipliers are packed: the two upper bits are added to base_shift (>= 0), and bit 30 of
 * the multiplier, which is always set, is left out.
 */
typedef struct litesight_channels {
  const int32_t *bias; /* the input's zero point is folded in */
  const uint32_t *multiplier;
  const int8_t *shift;
  uint8_t base_shift;
  int8_t minimum;
  int8_t maximum;
} litesight_channels;

/* Of convolutions, pointwise and depthwise ones too. How the weights are packed is between kernel and exporter. */
typedef struct litesight_conv {
  const int8_t *weights;
  litesight_channels channels;
  litesight_window window;
} litesight_conv;

/* Shifts to the right. */
typedef struct litesight_add {
  int32_t multiplier[2];
  int32_t output_multiplier;
  uint8_t shift[2];
  uint8_t output_shift;
  uint8_t left_shift;
  int8_t minimum;
  int8_t maximum;
} litesight_add;

/* State: int32 sums, one per channel. */
typedef struct litesight_mean {
  int32_t multiplier;
  int8_t shift; /* to the right, may be negative */
} litesight_mean;

typedef struct litesight_pool {
  litesight_window window;
  int8_t minimum;
  int8_t maximum;
} litesight_pool;

typedef struct litesight_pad {
  uint16_t top;
  uint16_t left;
  int8_t value;
} litesight_pad;

typedef struct litesight_lookup {
  const int8_t *table; /* 256 */
} litesight_lookup;

typedef struct litesight_exponentials {
  const int32_t *exponentials; /* Q0.31, at largest input - input; only those that count */
  uint16_t terms;
} litesight_exponentials;

typedef struct litesight_scale {
  int32_t multiplier;
  int32_t shift; /* to the right, may be negative */
} litesight_scale;

static inline litesight_scale litesight_channel_scale(const litesight_channels *channels, uint32_t channel) {
  const uint32_t word = channels->multiplier[channel];
  litesight_scale scale;
  if (channels->shift != 0) {
    scale.multiplier = (int32_t)word;
    scale.shift = channels->shift[channel];
  } else {
    scale.multiplier = (int32_t)((word & 0x3fffffffu) | 0x40000000u);
    scale.shift = (int32_t)(channels->base_shift + (word >> 30));
  }
  return scale;
}

static inline int8_t *litesight_row(const litesight_feature *feature, int8_t *arena, uint32_t row) {
  return arena + feature->offset + (row % feature->rows) * ((uint32_t)feature->width * feature->channels);
}

#ifdef __cplusplus
}
#endif

#endif
