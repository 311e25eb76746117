#!/usr/bin/env bash
# Table 3 of the paper at small scale: the method and its four ablations, three seeds each, at equal
# iterations, scored on the 100 test scenes of Synthetic-4D.
#   scripts/embedded_video/ablate.sh WORK CODEC
# As in the paper the dynamic pairs come of double reprojection and the static triplets of two
# segments of a moment that stands still. First stages that two variants share are trained once.
set -euo pipefail
work=$1 codec=$2
here=$(cd "$(dirname "$0")" && pwd)
steps1=${STEPS1:-200} steps2=${STEPS2:-100} batch=${BATCH:-8} samples=${SAMPLES:-600}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} OMP_WAIT_POLICY=passive
export MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=8589934592 MALLOC_TOP_PAD_=268435456
export GLIBC_TUNABLES=glibc.malloc.hugetlb=1
[ -n "${BFLOAT16:-}" ] && export ACCELERATE_MIXED_PRECISION=bf16
again() { [ -e "$1/settings.json" ] && echo --resume || true; }
mkdir -p "$work"

data=$work/samples
# shellcheck disable=SC2046
[ -e "$work/samples.done" ] || trajectorycrafter curate --out "$data" $(again "$data") \
    --source synthetic --scenes "$samples" --first-scene 700000 --scene-depth exact \
    --recipes 0.5 0.5 0 --frames 13 --size 96 160 --reference 9 --filled \
    --azimuth -60 60 --elevation -8 14 --dolly -0.12 0.2 --right -0.2 0.2 --up -0.06 0.06 \
    --away 0.25 --bent 0.3 --holes 0.03 0.7
touch "$work/samples.done"
python "$here/recipe.py" embedded-stage1 "$work/encode.json" --steps 1 --autoencoder "$codec"
trajectorycrafter encode --preset "$work/encode.json" --samples "$data" --out "$work/latents" \
    --device cpu

train() { # name preset ablation steps seed [start]
    local out=$work/$1
    [ -d "$out/model-ema" ] && return
    python "$here/recipe.py" "$2" "$work/$1.json" --ablation "$3" --steps "$4" --seed "$5" \
        --batch "$batch" --autoencoder "$codec"
    # shellcheck disable=SC2046
    trajectorycrafter train --out "$out" $(again "$out") --preset "$work/$1.json" \
        --latents "$work/latents/samples" --device cpu ${6:+--start "$6"}
}
models=()
for seed in 0 1 2; do
    for mix in none no-dynamic no-static; do
        train "first-$mix-$seed" embedded-stage1 $mix "$steps1" $seed
    done
    for variant in none no-reference concatenate no-dynamic no-static; do
        mix=$variant
        case $variant in no-reference | concatenate) mix=none ;; esac
        train "$variant-$seed" embedded-stage2 $variant "$steps2" $seed \
            "$work/first-$mix-$seed/model-ema"
        made=$work/models/$variant-$seed
        mkdir -p "$made"
        ln -sfn "$work/$variant-$seed/model-ema" "$made/transformer"
        ln -sfn "$codec" "$made/codec"
        models+=("$made")
    done
done
# shellcheck disable=SC2086
python "$here/score.py" "$work/test" "${models[@]}" --metrics psnr ssim dino \
    --ranges ${RANGES:-10 20 40 60}
python "$here/table.py" "$work/test/scores.jsonl"
