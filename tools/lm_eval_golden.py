#!/usr/bin/env python3
"""Runs lm-evaluation-harness on local task files and keeps what it said of every item, as golden data.

    python3 tools/lm_eval_golden.py MODEL --data FOLDER --tasks arc_easy,mmlu --limit 50 -o golden.json

MODEL is a Hugging Face folder, FOLDER holds the task sets as JSON lines (fields query, choices, gold; lambada_openai: continuation;
mmlu: subject, question, with mmlu_dev beside it). The model runs in float32 on the CPU. Of each item the log-likelihood of every choice
is kept (lambada_openai: log-likelihood and whether it is the greedy continuation; generate: the text), and of the run its results, seconds
and seconds of CPU time. Needs lm_eval, torch, transformers and datasets.
"""

import argparse
import json
import os
import pathlib
import shutil
import sys
import tempfile
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

CHOICE_TASKS = ("arc_easy", "arc_challenge", "hellaswag", "piqa", "boolq")
ACC = {"metric": "acc", "aggregation": "mean", "higher_is_better": True}
ACC_NORM = {"metric": "acc_norm", "aggregation": "mean", "higher_is_better": True}
ACC_BYTES = {"metric": "acc_bytes", "aggregation": "mean", "higher_is_better": True}
PERPLEXITY = {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False}
LETTERS = "{{question.strip()}}\nA. {{choices[0]}}\nB. {{choices[1]}}\nC. {{choices[2]}}\nD. {{choices[3]}}\nAnswer:"


def source(**files):
    return {"dataset_path": "json", "dataset_kwargs": {"data_files": {k: str(v) for k, v in files.items()}}}


def task_config(name, data):
    file = data / f"{name}.jsonl"
    if name in CHOICE_TASKS:
        return {
            "task": name, **source(test=file), "test_split": "test", "output_type": "multiple_choice",
            "doc_to_text": "{{query}}", "doc_to_choice": "choices", "doc_to_target": "gold",
            "metric_list": [ACC, ACC_NORM, ACC_BYTES],
        }
    if name == "lambada_openai":
        return {
            "task": name, **source(test=file), "test_split": "test", "output_type": "loglikelihood",
            "doc_to_text": "{{query}}", "doc_to_target": "{{' ' + continuation}}", "metric_list": [PERPLEXITY, ACC],
        }
    if name == "generate":  # not a published task: short greedy continuations, to compare decoding and stop strings
        return {
            "task": name, **source(test=data / "lambada_openai.jsonl"), "test_split": "test", "output_type": "generate_until",
            "doc_to_text": "{{query}}", "doc_to_target": "{{continuation}}",
            "generation_kwargs": {"until": [".", "\n"], "max_gen_toks": 24, "do_sample": False},
            "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        }
    sys.exit(f"no definition for {name}")


def mmlu_configs(data, folder, per_subject):
    """One task per subject, five-shot from the dev set, as published."""
    subjects = {}
    for split, file in (("test", "mmlu.jsonl"), ("dev", "mmlu_dev.jsonl")):
        for line in open(data / file, encoding="utf-8"):
            row = json.loads(line)
            subjects.setdefault(row["subject"], {}).setdefault(split, []).append(row)
    for subject, splits in subjects.items():
        files = {}
        for split, rows in splits.items():
            files[split] = folder / f"mmlu_{subject}_{split}.jsonl"
            kept = rows[:per_subject] if split == "test" else rows
            files[split].write_text("".join(json.dumps(r) + "\n" for r in kept), encoding="utf-8")
        yield {
            "task": f"mmlu_{subject}", **source(**files), "test_split": "test", "fewshot_split": "dev",
            "fewshot_config": {"sampler": "first_n"}, "num_fewshot": 5, "output_type": "multiple_choice",
            "description": "The following are multiple choice questions (with answers) about " + subject.replace("_", " ") + ".\n\n",
            "doc_to_text": LETTERS, "doc_to_choice": ["A", "B", "C", "D"], "doc_to_target": "gold", "metric_list": [ACC],
        }


def loadable(model, folder):
    """The model with a tokenizer configuration, for folders that have none."""
    if (model / "tokenizer_config.json").exists():
        return model
    copy = folder / model.name
    copy.mkdir()
    for file in model.iterdir():
        if file.suffix in (".json", ".safetensors"):
            shutil.copy(file, copy / file.name)
    config = json.loads((copy / "config.json").read_text())
    tokens = {t["id"]: t["content"] for t in json.loads((copy / "tokenizer.json").read_text())["added_tokens"]}
    (copy / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": tokens[config["bos_token_id"]], "eos_token": tokens[config["eos_token_id"]],
        "clean_up_tokenization_spaces": False}))
    return copy


def answers(sample):
    """What the model said of one item."""
    responses = sample["filtered_resps"]
    if isinstance(responses[0], str):
        return responses[0]
    if len(responses) == 1:
        return [round(responses[0][0], 4), int(responses[0][1])]
    return [round(r[0], 4) for r in responses]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--tasks", default=",".join(CHOICE_TASKS) + ",lambada_openai,mmlu")
    parser.add_argument("--limit", type=int, help="first N items of each task; of MMLU N of each subject")
    parser.add_argument("--batch-size", type=lambda s: s if s.startswith("auto") else int(s), default=8)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True)
    args = parser.parse_args()

    import lm_eval
    import torch
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    if args.threads:
        torch.set_num_threads(args.threads)
    golden = {
        "command": " ".join(["python3 tools/lm_eval_golden.py"] + [pathlib.Path(a).name for a in sys.argv[1:]]),
        "lm_eval": lm_eval.__version__, "torch": torch.__version__, "model": args.model.name, "tasks": {}}
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        os.environ["HF_DATASETS_CACHE"] = str(folder / "cache")
        model = HFLM(pretrained=str(loadable(args.model, folder)), dtype="float32", device="cpu", batch_size=args.batch_size)
        manager = TaskManager(include_defaults=False)
        for name in args.tasks.split(","):
            if name == "mmlu":
                configs = list(mmlu_configs(args.data, folder, args.limit or 1 << 30))
            else:
                configs = [task_config(name, args.data)]
            start, cpu_start = time.time(), time.process_time()
            run = lm_eval.simple_evaluate(
                model=model, tasks=configs, limit=None if name == "mmlu" else args.limit, log_samples=True,
                task_manager=manager, bootstrap_iters=0)
            seconds, cpu_seconds = time.time() - start, time.process_time() - cpu_start
            items, results = [], {}
            for config in configs:
                task = config["task"]
                results[task] = {k: v for k, v in run["results"][task].items() if isinstance(v, float)}
                for sample in sorted(run["samples"][task], key=lambda s: s["doc_id"]):
                    items.append([sample["doc"].get("id", sample["doc_id"]), answers(sample)])
            golden["tasks"][name] = {
                "seconds": round(seconds, 1), "cpu_seconds": round(cpu_seconds, 1), "results": results, "items": items}
            print(f"{name}: {len(items)} items, {seconds:.1f} s, {cpu_seconds:.1f} s of CPU time", file=sys.stderr)
    lines = json.dumps(golden, separators=(",", ":")).replace('],["', '],\n["').replace("],[", "],\n[")
    args.output.write_text(lines + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
