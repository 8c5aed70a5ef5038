"""The random checkpoint is complete, deterministic and refuses what it cannot do."""

import json
import pathlib
import sys
import tempfile
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import checkpoints
import make_random_model


class RandomModelTest(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        self.tokenizer = self.folder / "tokenizer"
        self.tokenizer.mkdir()
        data = {"model": {"vocab": {"a": 0, "b": 1}}, "added_tokens": [{"id": 2, "content": "<end>"}]}
        (self.tokenizer / "tokenizer.json").write_text(json.dumps(data))

    def shape(self, *more):
        sizes = "--layers 2 --hidden 16 --mlp 40 --heads 4 --kv-heads 2 --head-dim 4 --vocab 10 --shard-bytes 3000"
        return make_random_model.parser().parse_args(["out", "--tokenizer", str(self.tokenizer), *sizes.split(), *more])

    def write(self, name, *more, seed=0):
        shape = self.shape(*more)
        parameters = make_random_model.write_model(shape, self.tokenizer, self.folder / name, seed, shape.shard_bytes)
        return self.folder / name, parameters

    def test_shards_index_and_config_describe_the_same_tensors(self):
        output, parameters = self.write("a")
        index = json.loads((output / "model.safetensors.index.json").read_text())
        self.assertGreater(len(set(index["weight_map"].values())), 1)
        tensors = {}
        for shard in sorted(output.glob("*.safetensors")):
            read, _ = checkpoints.read_safetensors(shard)
            self.assertEqual(set(read), {name for name, file in index["weight_map"].items() if file == shard.name})
            tensors |= read
        self.assertEqual(parameters, sum(value.size for value in tensors.values()))
        self.assertEqual(10 * 16 + 16 + 2 * (2 * 16 + 2 * 16 * 16 + 2 * 8 * 16 + 3 * 40 * 16), parameters)
        self.assertEqual((8, 16), tensors["model.layers.1.self_attn.k_proj.weight"].shape)
        self.assertTrue(all(np.isfinite(value).all() for value in tensors.values()))
        self.assertAlmostEqual(0.25, tensors["model.layers.0.mlp.up_proj.weight"].std(), delta=0.03)
        self.assertEqual(2, json.loads((output / "config.json").read_text())["num_hidden_layers"])
        self.assertTrue((output / "tokenizer.json").exists())

    def test_same_seed_same_bytes_other_seed_other_bytes(self):
        first, second, other = self.write("a")[0], self.write("b")[0], self.write("c", seed=1)[0]
        names = sorted(path.name for path in first.iterdir())
        self.assertTrue(all((first / name).read_bytes() == (second / name).read_bytes() for name in names))
        self.assertFalse(all((first / name).read_bytes() == (other / name).read_bytes() for name in names))

    def test_untied_has_an_output_matrix(self):
        output, _ = self.write("a", "--untied")
        self.assertIn("lm_head.weight", (output / "model.safetensors.index.json").read_text())
        self.assertFalse(json.loads((output / "config.json").read_text())["tie_word_embeddings"])

    def test_refusals_leave_nothing_behind(self):
        with self.assertRaisesRegex(ValueError, "3 tokens do not fit"):
            self.write("a", "--vocab", "2")
        with self.assertRaisesRegex(ValueError, "multiple"):
            self.write("a", "--kv-heads", "3")
        (self.folder / "there").mkdir()
        with self.assertRaisesRegex(ValueError, "exists"):
            self.write("there")
        self.assertEqual(["there", "tokenizer"], sorted(path.name for path in self.folder.iterdir()))


if __name__ == "__main__":
    unittest.main()
