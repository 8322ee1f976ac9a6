/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LITESIGHT_SELF_TEST_H
#define LITESIGHT_SELF_TEST_H

#include <stddef.h>

#include "litesight_status.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Runs the golden vectors that were computed by TensorFlow Lite Micro on the host and compares every byte. Call
 * litesight_init first. `mismatched_bytes` may be NULL. LITESIGHT_ERROR_GOLDEN when a byte differs.
 */
litesight_status litesight_self_test(size_t *mismatched_bytes);

#ifdef __cplusplus
}
#endif

#endif
