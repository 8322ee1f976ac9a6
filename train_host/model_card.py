# SPDX-License-Identifier: Apache-2.0
"""``MODEL_CARD.md``: what a person needs to know before using a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def model_card(fields: Mapping[str, Any], labels: tuple[str, ...], provenance: Mapping[str, str]) -> str:
    """The card as Markdown.

    Args:
        fields: the manifest's fields.
        labels: the class names.
        provenance: heading → sentence, such as "Data" → "2624 photos …".
    """
    metrics, spec, arch = fields["metrics"], fields["input"], fields["architecture"]
    lines = [
        f"# {fields['name']}",
        "",
        f"An int8 image classifier: EfficientNet-Lite, width {arch['width']}, depth {arch['depth']}, "
        f"{spec['width']} × {spec['height']} {spec['color']}, {fields['classes']} classes, "
        f"{fields['macs'] / 1e6:.1f} million multiply-adds. Licence of the weights: {fields['license']}.",
        "",
        "| figure | value |",
        "|---|---|",
    ]
    for key, name in (("float_top1", "top-1, float32"), ("int8_top1", "top-1, int8"), ("agreement", "same answer")):
        if metrics.get(key) is not None:
            lines.append(f"| {name}, {metrics['n_test']} held-out photos | {metrics[key]:.2%} |")
    if "tflm_n" in metrics:
        lines.append(f"| same answer in TFLM, {metrics['tflm_n']} of them | {metrics['tflm_same_answer']:.2%} |")
    lines.append(f"| model.tflite | {metrics['bytes']['int8']:,} bytes |")
    if "tflm_arena_bytes" in metrics:
        lines.append(f"| TFLM tensor arena | {metrics['tflm_arena_bytes']:,} bytes |")
    measured = "No photos were held out, so its accuracy is unknown."
    if metrics.get("int8_top1") is not None:
        measured = "The figures above hold for photos like the held-out ones."
    lines.append("")
    for heading, text in provenance.items():
        lines += [f"**{heading}.** {text}", ""]
    shown = ", ".join(labels[:20]) + (f" … ({len(labels)} in all)" if len(labels) > 20 else "")
    lines += [
        f"**Classes.** {shown}",
        "",
        "**Limits.** The model answers with one of its classes whatever it is shown: a photo unlike those it was "
        f"trained on gets a label all the same. {measured} Measure on your own camera's photos with "
        "`litesight evaluate` before you rely on it.",
        "",
        f"**Calibration.** {fields['calibration']['n']} photos, listed in calibration.txt, none of them from the test "
        "split.",
        "",
    ]
    return "\n".join(lines)
