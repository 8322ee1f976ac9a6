/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LITESIGHT_STATUS_H
#define LITESIGHT_STATUS_H

typedef enum {
  LITESIGHT_OK = 0,
  LITESIGHT_ERROR_ARGUMENT = 1, /* a null pointer, a size or a format that cannot be */
  LITESIGHT_ERROR_STATE = 2,    /* litesight_init was not called, or failed */
  LITESIGHT_ERROR_SOURCE = 3,   /* the source delivered no row */
  LITESIGHT_ERROR_MODEL = 4,    /* the engine cannot run this model: other schema, op missing, other shapes */
  LITESIGHT_ERROR_ARENA = 5,    /* the arena is too small or not aligned */
  LITESIGHT_ERROR_INVOKE = 6,   /* the engine failed while it ran */
  LITESIGHT_ERROR_GOLDEN = 7    /* litesight_self_test: the output differs from the golden vector */
} litesight_status;

#endif
