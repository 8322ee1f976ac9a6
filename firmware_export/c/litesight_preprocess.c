/* SPDX-License-Identifier: Apache-2.0 */
#include "litesight_preprocess.h"

#include <stdbool.h>

enum { MAX_CHANNELS = 3, LARGEST_NARROW_FACTOR = 16 }; /* 255 * 16 * 16 still fits 16 bits */

/* abs(row * stride) must fit a 32-bit ptrdiff_t for every row. */
enum { MAX_STRIDE_BYTES = INT32_MAX / LITESIGHT_PREPROCESS_MAX_FRAME_SIDE };

static int32_t at_least_one(int32_t value) { return value > 1 ? value : 1; }

static bool is_within(int32_t value, int32_t most) { return value >= 1 && value <= most; }

static size_t output_channels(const litesight_input_spec *spec) {
  return spec->color == LITESIGHT_COLOR_GREY ? 1u : 3u;
}

/* Grey frames are carried in one channel and spread over three at the very end. */
static size_t working_channels(const litesight_input_spec *spec, litesight_pixel_format format) {
  return format == LITESIGHT_GREY8 ? 1u : output_channels(spec);
}

static bool is_known_spec(const litesight_input_spec *spec) {
  return spec != NULL && is_within(spec->width, LITESIGHT_PREPROCESS_MAX_OUTPUT_SIDE) &&
         is_within(spec->height, LITESIGHT_PREPROCESS_MAX_OUTPUT_SIDE) &&
         (spec->color == LITESIGHT_COLOR_RGB || spec->color == LITESIGHT_COLOR_BGR ||
          spec->color == LITESIGHT_COLOR_GREY);
}

/* Bytes of a pixel, 0 for an unknown format. */
static int32_t pixel_bytes(litesight_pixel_format format) {
  switch (format) {
    case LITESIGHT_RGB888:
    case LITESIGHT_BGR888:
      return 3;
    case LITESIGHT_GREY8:
      return 1;
    case LITESIGHT_RGB565:
    case LITESIGHT_RGB565_BE:
    case LITESIGHT_YUYV:
      return 2;
    default:
      return 0;
  }
}

litesight_preprocess_status litesight_preprocess_geometry(const litesight_input_spec *spec, int32_t frame_width,
                                                          int32_t frame_height, litesight_geometry *geometry) {
  if (!is_known_spec(spec) || geometry == NULL || !is_within(frame_width, LITESIGHT_PREPROCESS_MAX_FRAME_SIDE) ||
      !is_within(frame_height, LITESIGHT_PREPROCESS_MAX_FRAME_SIDE)) {
    return LITESIGHT_PREPROCESS_BAD_ARGUMENT;
  }
  /* 2^14 * 2^11: every product fits 32 bits. */
  int32_t crop_width = frame_width;
  int32_t crop_height = frame_height;
  if (frame_width * spec->height > frame_height * spec->width) {
    crop_width = at_least_one(frame_height * spec->width / spec->height);
  } else {
    crop_height = at_least_one(frame_width * spec->height / spec->width);
  }
  const int32_t across = crop_width / spec->width;
  const int32_t down = crop_height / spec->height;
  const int32_t factor = at_least_one(across < down ? across : down);
  if (factor > LITESIGHT_PREPROCESS_MAX_FACTOR) {
    return LITESIGHT_PREPROCESS_BAD_ARGUMENT;
  }
  geometry->factor = factor;
  geometry->columns = crop_width / factor;
  geometry->rows = crop_height / factor;
  geometry->x = (frame_width - geometry->columns * factor) / 2;
  geometry->y = (frame_height - geometry->rows * factor) / 2;
  return LITESIGHT_PREPROCESS_OK;
}

static bool is_known_frame(const litesight_frame *frame) {
  return frame != NULL && pixel_bytes(frame->format) != 0 && (frame->format != LITESIGHT_YUYV || frame->width % 2 == 0);
}

size_t litesight_preprocess_workspace_bytes(const litesight_input_spec *spec, const litesight_frame *frame) {
  litesight_geometry geometry;
  if (!is_known_frame(frame) ||
      litesight_preprocess_geometry(spec, frame->width, frame->height, &geometry) != LITESIGHT_PREPROCESS_OK) {
    return 0;
  }
  const size_t halves = geometry.factor > LARGEST_NARROW_FACTOR ? 2u : 1u;
  const size_t values = 2u * (size_t)spec->width + halves * (size_t)geometry.columns;
  return values * working_channels(spec, frame->format) * sizeof(uint16_t);
}

static litesight_preprocess_status begin(litesight_preprocess_state *state, const litesight_input_spec *spec,
                                         const litesight_frame *frame, void *workspace, size_t workspace_bytes) {
  const size_t needed = litesight_preprocess_workspace_bytes(spec, frame);
  if (needed == 0 || frame->source == NULL || workspace == NULL) {
    return LITESIGHT_PREPROCESS_BAD_ARGUMENT;
  }
  if (workspace_bytes < needed || (uintptr_t)workspace % sizeof(uint16_t) != 0) {
    return LITESIGHT_PREPROCESS_WORKSPACE_TOO_SMALL;
  }
  state->spec = *spec;
  state->frame = *frame;
  const litesight_preprocess_status status =
      litesight_preprocess_geometry(spec, frame->width, frame->height, &state->geometry);
  const size_t channels = working_channels(spec, frame->format);
  const size_t line = (size_t)spec->width * channels;
  const size_t cells = (size_t)state->geometry.columns * channels;
  state->lines[0] = workspace;
  state->lines[1] = state->lines[0] + line;
  state->sums = state->lines[1] + line;
  state->high_sums = state->geometry.factor > LARGEST_NARROW_FACTOR ? state->sums + cells : NULL;
  state->line_row[0] = -1;
  state->line_row[1] = -1;
  state->next_row = 0;
  return status;
}

litesight_preprocess_status litesight_preprocess_init(litesight_preprocess_state *state,
                                                      const litesight_input_spec *spec, const litesight_frame *frame,
                                                      void *workspace, size_t workspace_bytes) {
  if (state == NULL) {
    return LITESIGHT_PREPROCESS_BAD_ARGUMENT;
  }
  state->status = begin(state, spec, frame, workspace, workspace_bytes);
  return state->status;
}

/* The sum, over a run of pixels of one row, of red, green and blue; or of the luma, in the first element only. */
typedef struct run_sum {
  uint32_t value[MAX_CHANNELS];
} run_sum;

static void add_color(run_sum *sum, bool grey, uint32_t red, uint32_t green, uint32_t blue) {
  if (grey) {
    sum->value[0] += (77u * red + 150u * green + 29u * blue + 128u) >> 8;
  } else {
    sum->value[0] += red;
    sum->value[1] += green;
    sum->value[2] += blue;
  }
}

static run_sum sum_rgb888(const uint8_t *row, size_t start, size_t count, size_t red_byte, bool grey) {
  run_sum sum = {{0, 0, 0}};
  const uint8_t *pixel = row + 3u * start;
  for (size_t i = 0; i < count; ++i, pixel += 3) {
    add_color(&sum, grey, pixel[red_byte], pixel[1], pixel[2u - red_byte]);
  }
  return sum;
}

static run_sum sum_grey8(const uint8_t *row, size_t start, size_t count) {
  run_sum sum = {{0, 0, 0}};
  for (size_t i = 0; i < count; ++i) {
    sum.value[0] += row[start + i];
  }
  return sum;
}

static run_sum sum_rgb565(const uint8_t *row, size_t start, size_t count, size_t high_byte, bool grey) {
  run_sum sum = {{0, 0, 0}};
  const uint8_t *pixel = row + 2u * start;
  for (size_t i = 0; i < count; ++i, pixel += 2) {
    const uint32_t high = pixel[high_byte];
    const uint32_t low = pixel[1u - high_byte];
    const uint32_t red = high >> 3;
    const uint32_t green = (high & 7u) << 3 | low >> 5;
    const uint32_t blue = low & 31u;
    add_color(&sum, grey, red << 3 | red >> 2, green << 2 | green >> 4, blue << 3 | blue >> 2);
  }
  return sum;
}

/* From 1/256 to whole steps, rounded half up and clamped to 8 bits. */
static uint32_t rounded_byte(int32_t value) {
  const int32_t rounded = value + 128;
  if (rounded < 0) {
    return 0;
  }
  return rounded > 0xFFFF ? 255u : (uint32_t)rounded >> 8;
}

static run_sum sum_yuyv(const uint8_t *row, size_t start, size_t count, bool grey) {
  run_sum sum = {{0, 0, 0}};
  for (size_t x = start; x < start + count; ++x) {
    if (grey) {
      sum.value[0] += row[2u * x]; /* Y is the luma */
      continue;
    }
    const uint8_t *pair = row + x / 2u * 4u;
    const int32_t luma = 256 * row[2u * x];
    const int32_t u = pair[1] - 128;
    const int32_t v = pair[3] - 128;
    sum.value[0] += rounded_byte(luma + 359 * v);
    sum.value[1] += rounded_byte(luma - 88 * u - 183 * v);
    sum.value[2] += rounded_byte(luma + 454 * u);
  }
  return sum;
}

static run_sum sum_run(litesight_pixel_format format, bool grey, const uint8_t *row, size_t start, size_t count) {
  switch (format) {
    case LITESIGHT_BGR888:
      return sum_rgb888(row, start, count, 2, grey);
    case LITESIGHT_GREY8:
      return sum_grey8(row, start, count);
    case LITESIGHT_RGB565:
      return sum_rgb565(row, start, count, 1, grey);
    case LITESIGHT_RGB565_BE:
      return sum_rgb565(row, start, count, 0, grey);
    case LITESIGHT_YUYV:
      return sum_yuyv(row, start, count, grey);
    case LITESIGHT_RGB888:
    default: /* init() let no other format in */
      return sum_rgb888(row, start, count, 0, grey);
  }
}

static uint32_t stored_sum(const litesight_preprocess_state *state, size_t index) {
  const uint32_t high = state->high_sums == NULL ? 0u : state->high_sums[index];
  return high << 16 | state->sums[index];
}

static void store_sum(const litesight_preprocess_state *state, size_t index, uint32_t sum) {
  state->sums[index] = (uint16_t)(sum & 0xFFFFu);
  if (state->high_sums != NULL) {
    state->high_sums[index] = (uint16_t)(sum >> 16);
  }
}

/* Adds one row of the frame to the sums of a row of cells; the first row of a block replaces what was there. */
static void add_frame_row(const litesight_preprocess_state *state, const uint8_t *row, bool is_first) {
  const size_t channels = working_channels(&state->spec, state->frame.format);
  const size_t factor = (size_t)state->geometry.factor;
  const bool grey = channels == 1;
  size_t start = (size_t)state->geometry.x;
  size_t index = 0;
  for (int32_t column = 0; column < state->geometry.columns; ++column, start += factor) {
    const run_sum sum = sum_run(state->frame.format, grey, row, start, factor);
    for (size_t channel = 0; channel < channels; ++channel, ++index) {
      store_sum(state, index, sum.value[channel] + (is_first ? 0u : stored_sum(state, index)));
    }
  }
}

/*
 * The position of output pixel `index` among the cells of one axis, in 1/256 cell:
 * ((2 index + 1) cells / outputs - 1) / 2, rounded half up and clamped. With outputs <= 2048 and cells < 2 * outputs
 * the numerator stays below 2^31.
 */
static uint32_t position(int32_t index, int32_t cells, int32_t outputs) {
  const uint32_t numerator = (2u * (uint32_t)index + 1u) * (uint32_t)cells * 128u;
  const uint32_t rounded = (numerator + (uint32_t)outputs / 2u) / (uint32_t)outputs;
  const uint32_t last = ((uint32_t)cells - 1u) * 256u;
  if (rounded < 128u) {
    return 0;
  }
  return rounded - 128u < last ? rounded - 128u : last;
}

static size_t next_within(size_t index, int32_t count) { return index + 1u < (size_t)count ? index + 1u : index; }

/* Pulls a row of cells and leaves it, horizontally resized to 8 + 8 bits, in its line. */
static litesight_preprocess_status load_line(litesight_preprocess_state *state, int32_t row) {
  const litesight_geometry *geometry = &state->geometry;
  if (state->line_row[row % 2] == row) {
    return LITESIGHT_PREPROCESS_OK;
  }
  for (int32_t i = 0; i < geometry->factor; ++i) {
    const uint8_t *pixels = state->frame.source(state->frame.context, geometry->y + row * geometry->factor + i);
    if (pixels == NULL) {
      return LITESIGHT_PREPROCESS_SOURCE_FAILED;
    }
    add_frame_row(state, pixels, i == 0);
  }
  const size_t channels = working_channels(&state->spec, state->frame.format);
  if (geometry->factor > 1) {
    const uint32_t area = (uint32_t)geometry->factor * (uint32_t)geometry->factor;
    for (size_t i = 0; i < (size_t)geometry->columns * channels; ++i) {
      state->sums[i] = (uint16_t)((stored_sum(state, i) + area / 2u) / area);
    }
  }
  uint16_t *line = state->lines[row % 2];
  for (int32_t x = 0; x < state->spec.width; ++x) {
    const uint32_t at = position(x, geometry->columns, state->spec.width);
    const uint32_t weight = at & 255u;
    const uint16_t *left = state->sums + (at >> 8) * channels;
    const uint16_t *right = state->sums + next_within(at >> 8, geometry->columns) * channels;
    for (size_t channel = 0; channel < channels; ++channel) {
      *line++ = (uint16_t)(left[channel] * (256u - weight) + right[channel] * weight);
    }
  }
  state->line_row[row % 2] = row;
  return LITESIGHT_PREPROCESS_OK;
}

static int8_t quantized(const int8_t *table, size_t channel, uint32_t pixel) {
  return table != NULL ? table[channel * 256u + pixel] : (int8_t)((int32_t)pixel - 128); /* x ^ 0x80 */
}

litesight_preprocess_status litesight_preprocess_row(litesight_preprocess_state *state, int8_t *out_row) {
  if (state == NULL || out_row == NULL) {
    return LITESIGHT_PREPROCESS_BAD_ARGUMENT;
  }
  if (state->status != LITESIGHT_PREPROCESS_OK) {
    return state->status;
  }
  const litesight_input_spec *spec = &state->spec;
  if (state->next_row == spec->height) {
    return LITESIGHT_PREPROCESS_FINISHED;
  }
  const uint32_t at = position(state->next_row, state->geometry.rows, spec->height);
  const uint32_t weight = at & 255u;
  const int32_t upper = (int32_t)(at >> 8);
  /* A row without weight is not waited for. A row with weight is never the one after the last. */
  const int32_t lower = weight == 0 ? upper : upper + 1;
  state->status = load_line(state, upper);
  if (state->status == LITESIGHT_PREPROCESS_OK) {
    state->status = load_line(state, lower);
  }
  if (state->status != LITESIGHT_PREPROCESS_OK) {
    return state->status;
  }
  const size_t channels = output_channels(spec);
  const size_t working = working_channels(spec, state->frame.format);
  const uint16_t *above = state->lines[upper % 2];
  const uint16_t *below = state->lines[lower % 2];
  for (int32_t x = 0; x < spec->width; ++x, above += working, below += working) {
    for (size_t channel = 0; channel < channels; ++channel) {
      size_t from = working == 1 ? 0 : channel;
      if (working != 1 && spec->color == LITESIGHT_COLOR_BGR) {
        from = 2u - channel;
      }
      const uint32_t pixel = (above[from] * (256u - weight) + below[from] * weight + 32768u) >> 16;
      *out_row++ = quantized(spec->table, channel, pixel);
    }
  }
  ++state->next_row;
  return LITESIGHT_PREPROCESS_OK;
}

const uint8_t *litesight_memory_row(void *context, int32_t row) {
  const litesight_memory_frame *frame = context;
  return frame->pixels + (ptrdiff_t)row * frame->stride_bytes;
}

litesight_preprocess_status litesight_preprocess_whole(const litesight_input_spec *spec, litesight_pixel_format format,
                                                       int32_t width, int32_t height, int32_t stride_bytes,
                                                       const uint8_t *pixels, void *workspace, size_t workspace_bytes,
                                                       int8_t *out) {
  if (pixels == NULL || out == NULL || !is_within(width, LITESIGHT_PREPROCESS_MAX_FRAME_SIDE) ||
      stride_bytes > MAX_STRIDE_BYTES || stride_bytes < -MAX_STRIDE_BYTES) {
    return LITESIGHT_PREPROCESS_BAD_ARGUMENT;
  }
  if ((stride_bytes < 0 ? -stride_bytes : stride_bytes) < width * pixel_bytes(format)) {
    return LITESIGHT_PREPROCESS_BAD_ARGUMENT; /* rows would overlap */
  }
  litesight_memory_frame memory = {pixels, stride_bytes};
  const litesight_frame frame = {width, height, format, litesight_memory_row, &memory};
  litesight_preprocess_state state;
  litesight_preprocess_status status = litesight_preprocess_init(&state, spec, &frame, workspace, workspace_bytes);
  for (int32_t row = 0; status == LITESIGHT_PREPROCESS_OK && row < spec->height; ++row) {
    status = litesight_preprocess_row(&state, out);
    out += (size_t)spec->width * output_channels(spec);
  }
  return status;
}
