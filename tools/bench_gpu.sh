#!/bin/sh
# Repeats the GPU figures of PERFORMANCE.md: a random model of LLaMA-2-7B's shape, compressed by both recipes, and the speed of
# generation. $1 = folder with 40 GB free (a RAM disk), $2 = calibration text of at least 262,144 tokens of the demonstration model.
set -eu
here=$(cd "$(dirname "$(readlink -f "$0")")/.." && pwd)
folder=$1
text=$2
export MODEGPT_GEMM="${MODEGPT_GEMM-bf16}" MODEGPT_JAVA_OPTS="${MODEGPT_JAVA_OPTS--Xmx8g}"
[ -d "$folder/7b" ] || python3 "$here/tools/make_random_model.py" "$folder/7b" --tokenizer "$here/java/demo/wiki-16m" --layers 32 \
  --hidden 4096 --mlp 11008 --heads 32 --kv-heads 32 --head-dim 128 --vocab 32000 --untied
for recipe in paper default; do
  "$here/modegpt" compress "$folder/7b" --device cuda --recipe "$recipe" --ratio 0.3 --multiple-of 16 --calibration "$text" \
    --output "$folder/7b-30-$recipe" --overwrite --no-eval --no-progress -v
done
"$here/modegpt" bench "$folder/7b" "$folder/7b-30-paper" --device cuda -p 1024 -n 32 -r 2 -b 1,32
"$here/modegpt" devices
