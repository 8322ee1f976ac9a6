# SPDX-License-Identifier: Apache-2.0
"""What make bench-pi needs before it can measure: bundle, clip, the peers' environment and the peers' networks.

Everything lies under build/bench-pi and is made once. The peers never come near the project's own environment, and one
that cannot be had is left out with its reason.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WORK = Path("build/bench-pi")
HERE = Path(__file__).resolve().parent
ROOT = HERE.parent

MEDIAPIPE = "mediapipe==1.2.3"  # brings OpenCV
ONNXRUNTIME = ("onnxruntime==1.32.0", "onnx==1.23.2")
CONVERTER = ("tf2onnx==1.17.0", "onnx==1.23.2")
MINUTES = 60.0

FRAMES = 330
PHOTO_FRAMES = 30
"""One photo is panned over and zoomed into for a second."""
SIZE = (640, 480)
PHOTOS = (
    *("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "clock_motion.png"),
    *("coins.png", "hubble_deep_field.jpg", "camera.png", "moon.png", "retina.jpg"),
)


@dataclass
class Stage:
    """What there is to measure with.

    Attributes:
        bundle: Lite0, 224×224, ImageNet.
        clip: 640×480.
        models: the folder of the peers' networks.
        python: by contestant, the interpreter that has its packages.
        absent: by contestant, why it is left out.
    """

    bundle: Path
    clip: Path
    models: Path
    python: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)


def prepare() -> Stage:
    """Make what is missing."""
    WORK.mkdir(parents=True, exist_ok=True)
    stage = Stage(WORK / "lite0", WORK / "clip.avi", WORK / "models")
    if not stage.bundle.is_dir():
        tell("$ litesight pretrained lite0")
        call(sys.executable, "-m", "litesight", "pretrained", "lite0", "-o", stage.bundle)
    if not stage.clip.is_file():
        write_clip(stage.clip)
    # Other weights need other peers: their networks lie under the hash of what they were made of.
    model = hashlib.sha256((stage.bundle / "model.tflite").read_bytes()).hexdigest()[:12]
    stage.models = WORK / f"models-{model}"
    stage.models.mkdir(exist_ok=True)
    for name in ("ours", "invoke", "decode"):
        stage.python[name] = sys.executable
    for name, make in (("mediapipe", make_mediapipe), ("onnxruntime", make_onnxruntime), ("opencv", make_opencv)):
        try:
            stage.python[name] = make(stage)
        except (subprocess.SubprocessError, OSError) as error:
            stage.absent[name] = reason(error)
    return stage


def make_mediapipe(stage: Stage) -> str:
    """MediaPipe and its network."""
    python = peers_python()
    install(python, MEDIAPIPE)
    make_once(stage.models / "mediapipe.tflite", python, HERE / "bench_pi_models.py", "mediapipe", stage.bundle)
    return python


def make_onnxruntime(stage: Stage) -> str:
    """ONNX Runtime and its network."""
    python = peers_python()
    install(python, *ONNXRUNTIME, "opencv-contrib-python")
    convert(stage, "float.onnx")
    photos = WORK / "calibration.npz"
    if not photos.is_file():
        write_calibration(photos)
    script = HERE / "bench_pi_models.py"
    make_once(stage.models / "int8.onnx", python, script, "onnx", stage.models / "float.onnx", photos)
    return python


def make_opencv(stage: Stage) -> str:
    """OpenCV's network; its newest version is the one beside the other peers."""
    convert(stage, "float_planes.onnx", "--inputs-as-nchw", "serving_default_image:0")
    python = peers_python()
    install(python, "opencv-contrib-python")
    return python


def convert(stage: Stage, name: str, *options: str) -> None:
    """The bundle's float network as ONNX.

    The converter needs TensorFlow, so it runs on the project's, from a folder of its own.
    """
    folder = WORK / "converter"
    if not (folder / "tf2onnx").is_dir():
        tell(f"installing {' '.join(CONVERTER)}")
        pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target", folder)
        call(sys.executable, *pip, *CONVERTER)
    target = stage.models / name
    if not target.is_file():
        tell(f"making {name}")
        code = f"import sys; sys.path.insert(0, {str(folder)!r}); from tf2onnx.convert import main; main()"
        source = ("--tflite", stage.bundle / "float.tflite", "--output", target, "--opset", "13")
        call(sys.executable, "-c", code, *source, *options)


def peers_python() -> str:
    """The interpreter of the peers' environment."""
    venv = WORK / "peers"
    python = venv / "bin" / "python"
    if not python.exists():
        tell("making the peers' environment")
        call(sys.executable, "-m", "venv", venv)
    return str(python)


def install(python: str, *packages: str) -> None:
    """Into the peers' environment; nothing if all are there already."""
    names = [package.partition("==") for package in packages]
    wanted = {name.lower(): version for name, _, version in names}
    listing = json.loads(call(python, "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"))
    found = {each["name"].lower(): each["version"] for each in listing}
    if all(found.get(name, "") == (version or found.get(name)) for name, version in wanted.items()):
        return
    tell(f"installing {' '.join(packages)}")
    call(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages)


def make_once(target: Path, python: str, script: Path, *arguments: str | Path) -> None:
    """A network, unless it is there."""
    if not target.is_file():
        tell(f"making {target.name}")
        call(python, script, *arguments, target)


def write_clip(path: Path) -> None:
    """A camera that pans over photos and zooms into them, as motion JPEG, which is what a USB camera delivers."""
    import cv2

    from device.errors import LitesightError

    partial = path.with_name(f"partial-{path.name}")
    writer = cv2.VideoWriter(str(partial), cv2.VideoWriter.fourcc(*"MJPG"), 30.0, SIZE)
    if not writer.isOpened():
        raise LitesightError(f"this OpenCV cannot write {path}")
    for frame in clip_frames():
        writer.write(frame)
    writer.release()
    partial.replace(path)


def clip_frames() -> Iterator[Any]:
    """BGR frames."""
    import cv2

    from train_host.calibration import photo_directory

    for number in range(FRAMES):
        photo, step = PHOTOS[number // PHOTO_FRAMES % len(PHOTOS)], number % PHOTO_FRAMES / (PHOTO_FRAMES - 1)
        if number % PHOTO_FRAMES == 0:
            pixels = cv2.imread(str(photo_directory() / photo))
        height, width = pixels.shape[:2]
        # From the whole height to two thirds of it, from the left edge of what is left to the right one.
        scale = min(width / SIZE[0], height / SIZE[1]) * (1 - step / 3)
        crop_width, crop_height = round(SIZE[0] * scale), round(SIZE[1] * scale)
        x, y = round((width - crop_width) * step), (height - crop_height) // 2
        interpolation = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
        yield cv2.resize(pixels[y : y + crop_height, x : x + crop_width], SIZE, interpolation=interpolation)


def write_calibration(path: Path) -> None:
    """The photos that calibrated the bundle: uint8 (n, height, width, 3), as the network sees them."""
    import numpy as np

    from device.preprocess import InputSpec
    from train_host.calibration import natural_photos

    count = 400  # what litesight pretrained takes
    np.savez(path, photos=np.stack([photo.pixels() for photo in natural_photos(count, InputSpec(224, 224))]))


def call(*command: str | Path) -> str:
    """Run to the end; its standard output."""
    done = subprocess.run(
        [str(part) for part in command], check=True, capture_output=True, text=True, timeout=15 * MINUTES
    )
    return done.stdout


def reason(error: Exception) -> str:
    """The last line that a failed command had to say."""
    said = getattr(error, "stderr", None) or str(error)
    lines = [line for line in str(said).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__


def tell(what: str) -> None:
    """Progress."""
    print(what, file=sys.stderr)
