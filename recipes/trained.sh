#!/usr/bin/env bash
# Make the trained models with NoNorm and relu that exports are measured on: OUTPUT/sst2-mobile and OUTPUT/xquad-mobile.
#
#     recipes/trained.sh DATA OUTPUT [options of `mobilebert train`, for all trainings]
#
# DATA holds sst2/train.tsv, sst2/dev.tsv and squad/xquad.en.json. It takes less than an hour on two cores, goes on where it was
# interrupted, and skips what is there. What it makes, and how good it is: docs/mobilebert-small-uncased.md.
set -euo pipefail
data=$1 output=$2
shift 2
here=$(dirname "$0")

train() { # NAME FILE OPTIONS...: train unless it is done
    local name=$1 file=$2
    shift 2
    test -e "$output/$name/config.json" || mobilebert train "$data/$file" --output "$output/$name" "$@"
}
fit() { # MODEL FILE NAME: fit NoNorm unless it is done
    test -e "$output/$3/config.json" || python "$here/no_norm.py" "$output/$1" "$data/$2" "$output/$3"
}

sst2=(--validation "$data/sst2/dev.tsv" --batch-size 64 --max-length 64)
train sst2 sst2/train.tsv "${sst2[@]}" --epochs 2 --evaluate-every 500 "$@"
fit sst2 sst2/train.tsv sst2-no-norm
train sst2-mobile sst2/train.tsv --model "$output/sst2-no-norm" "${sst2[@]}" --learning-rate 4e-4 --epochs 1 --limit 32000 \
    --evaluate-every 125 "$@"

xquad=(--max-length 256 --batch-size 16)
train xquad squad/xquad.en.json "${xquad[@]}" "$@"
fit xquad squad/xquad.en.json xquad-no-norm
train xquad-mobile squad/xquad.en.json --model "$output/xquad-no-norm" "${xquad[@]}" --learning-rate 4e-4 --epochs 2 "$@"
