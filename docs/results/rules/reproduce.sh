#!/usr/bin/env bash
# All tables and the picture of this folder, from nothing. Hours on two cores; interrupted, run it again.
set -euo pipefail
cd "$(dirname "$0")"
for name in tuning rules fast ablation; do
    isograd compare "$name.yaml"
    mkdir -p "$name"
    cp "build/$name/runs.csv" "build/$name/table.md" "$name/"
done
python ../pooled.py rules/runs.csv GRPO GSPO distilled > rules/pooled.md
python ../pooled.py fast/runs.csv GRPO GSPO distilled > fast/pooled.md
python ../pooled.py ablation/runs.csv nothing "length and sequence" "symmetric clipping" distilled > ablation/pooled.md
python curves.py curves.png "build/rules=seven rules at the best rate, 3e-4" \
    "build/fast=seven rules at 1e-3" "build/ablation=one mechanism at a time, at 1e-3"
