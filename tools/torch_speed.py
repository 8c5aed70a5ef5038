#!/usr/bin/env python3
"""Speed of a checkpoint in transformers, to set beside the engine's: bfloat16, scaled_dot_product_attention.

    tools/torch_speed.py MODEL [--forward] [--gram] [--generate [--compile]] [--device cuda] [--sequences 8] [--length 2048]
            [--context 1024] [--tokens 32] [--batches 1,32] [--repetitions 3]

MODEL is a Hugging Face folder; a compressed one is loaded by the code it carries. Each figure is the median of some repetitions after
one that warms up, and is printed as one line of JSON as soon as it is there; the exit code is 1 when one of them failed.

    --forward   tokens/s of the decoder blocks on sequences x length random tokens at once, without the output matrix
    --gram      seconds of X^T X in float64 for the two wide inputs of the first layer on as many tokens: what calibration written in
                PyTorch adds to the forward pass of each layer
    --generate  greedy, with a cache: prompts of `context` tokens up to the first new one, and `tokens` more after it, for each batch;
                eager as transformers does it by itself, or with --compile a static cache, for which transformers compiles the step

Needs torch and transformers 4.56 or later.
"""

import argparse
import importlib.util
import json
import pathlib
import statistics
import sys
import time

import torch
import transformers


class Speed:
    def __init__(self, arguments):
        self.arguments = arguments
        self.device = torch.device(arguments.device)
        # Where accelerate is there, weights go to the device without a copy in host memory.
        place = {"device_map": {"": arguments.device}} if importlib.util.find_spec("accelerate") else {}
        start = time.perf_counter()
        self.model = transformers.AutoModelForCausalLM.from_pretrained(
            arguments.model, dtype=torch.bfloat16, attn_implementation="sdpa", trust_remote_code=True, **place).to(self.device).eval()
        self.tell("load", seconds=time.perf_counter() - start, torch=torch.__version__, transformers=transformers.__version__)
        self.generator = torch.Generator().manual_seed(0)

    @staticmethod
    def tell(test, **figures):
        print(json.dumps({"test": test} | figures), flush=True)

    def tokens(self, *shape):
        return torch.randint(10, self.model.config.vocab_size, shape, generator=self.generator).to(self.device)

    def seconds(self, work):
        """Median of the repetitions."""
        taken = []
        for _ in range(1 + self.arguments.repetitions):
            self.wait()
            start = time.perf_counter()
            work()
            self.wait()
            taken.append(time.perf_counter() - start)
        return statistics.median(taken[1:])

    def wait(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def forward(self):
        ids = self.tokens(self.arguments.sequences, self.arguments.length)
        seconds = self.seconds(lambda: self.model.model(input_ids=ids, use_cache=False))
        self.tell("forward", seconds=seconds, tokens_per_second=ids.numel() / seconds)

    def gram(self):
        layer = self.model.model.layers[0]
        inputs = []
        hooks = [module.register_forward_pre_hook(lambda _, given: inputs.append(given[0].flatten(0, 1)))
                 for module in (layer.self_attn.q_proj, layer.mlp.down_proj)]
        self.model.model(input_ids=self.tokens(self.arguments.sequences, self.arguments.length), use_cache=False)
        for hook in hooks:
            hook.remove()
        sums = [torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64, device=self.device) for x in inputs]

        def add():
            for x, gram in zip(inputs, sums):
                wide = x.double()
                gram.addmm_(wide.T, wide)

        self.tell("gram", seconds=self.seconds(add), widths=[x.shape[1] for x in inputs])

    def generate(self, batch):
        ids = self.tokens(batch, self.arguments.context)

        def new(count):
            settings = transformers.GenerationConfig(
                max_new_tokens=count, do_sample=False, use_cache=True, pad_token_id=0, eos_token_id=None,
                cache_implementation="static" if self.arguments.compile else None)
            made = self.model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=settings)
            if made.shape[1] != ids.shape[1] + count:
                raise RuntimeError(f"{made.shape[1] - ids.shape[1]} tokens instead of {count}")

        prompt = self.seconds(lambda: new(1))
        whole = self.seconds(lambda: new(1 + self.arguments.tokens))
        if whole <= prompt:
            raise RuntimeError("too much noise: more tokens took no longer")
        self.tell(f"generate {batch}", prompt_tokens_per_second=ids.numel() / prompt,
                  tokens_per_second=batch * self.arguments.tokens / (whole - prompt))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    for part in ("forward", "gram", "generate", "compile"):
        parser.add_argument(f"--{part}", action="store_true")
    parser.add_argument("--device", default="cuda")
    for name, default in (("sequences", 8), ("length", 2048), ("context", 1024), ("tokens", 32), ("repetitions", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--batches", default="1,32")
    arguments = parser.parse_args()
    failed = False
    with torch.inference_mode():
        speed = Speed(arguments)
        tests = [("forward", speed.forward)] if arguments.forward else []
        tests += [("gram", speed.gram)] if arguments.gram else []
        for batch in map(int, arguments.batches.split(",") if arguments.generate else ()):
            tests.append((f"generate {batch}", lambda batch=batch: speed.generate(batch)))
        for name, test in tests:
            try:
                test()
            except Exception as error:  # whatever transformers or the device does not like must not take the other figures away
                failed = True
                print(f"torch_speed: {name}: {type(error).__name__}: {error}".splitlines()[0][:400], file=sys.stderr, flush=True)
            if speed.device.type == "cuda":
                torch.cuda.empty_cache()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
