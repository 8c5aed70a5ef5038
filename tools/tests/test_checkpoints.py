"""Formats: safetensors round trip, bfloat16 rounding, rotary layout. Run: python3 -m unittest discover -s tools/tests"""

import pathlib
import sys
import tempfile
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import checkpoints


class SafetensorsTest(unittest.TestCase):
    def test_round_trip_keeps_types_shapes_and_metadata(self):
        tensors = {
            "a": np.arange(6, dtype=np.float32).reshape(2, 3),
            "b": np.array([1, -2], dtype=np.int32),
            "c": np.array([[np.pi]]),
        }
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "x.safetensors"
            checkpoints.write_safetensors(path, tensors, {"k": "v"})
            first = path.read_bytes()
            read, metadata = checkpoints.read_safetensors(path)
            checkpoints.write_safetensors(path, tensors, {"k": "v"})
            self.assertEqual(first, path.read_bytes())
            self.assertEqual([path.name], [entry.name for entry in pathlib.Path(folder).iterdir()])
        self.assertEqual({"k": "v"}, metadata)
        for name, value in tensors.items():
            np.testing.assert_array_equal(value, read[name])
            self.assertEqual(value.dtype, read[name].dtype)

    def test_header_is_padded_and_offsets_are_consecutive(self):
        header = checkpoints.safetensors_header([("a", "BF16", (2, 3), 12), ("b", "F32", (1,), 4)])
        self.assertEqual(0, len(header) % 8)
        self.assertIn(b'"data_offsets":[12,16]', header)


class BrainFloatTest(unittest.TestCase):
    def test_rounds_to_nearest_even(self):
        # 1 + 2^-8 and 1 + 3 * 2^-8 lie halfway between neighbours 2^-7 apart: both go to the even one.
        values = np.array([1.0, 1 + 2.0**-8, 1 + 3 * 2.0**-8, 1 + 2.0**-8 + 2.0**-20, -2.5], dtype=np.float32)
        expected = np.array([1.0, 1.0, 1 + 2.0**-6, 1 + 2.0**-7, -2.5], dtype=np.float32)
        np.testing.assert_array_equal(expected, checkpoints.bf16_to_float32(checkpoints.float32_to_bf16(values)))


class GgufLayoutTest(unittest.TestCase):
    def test_names(self):
        self.assertEqual("model.layers.3.self_attn.q_proj.weight", checkpoints.gguf_to_hugging_face_name("blk.3.attn_q.weight"))
        self.assertEqual("model.norm.weight", checkpoints.gguf_to_hugging_face_name("output_norm.weight"))

    def test_pairs_side_by_side_move_half_a_head_apart(self):
        # Two heads of size 6; row value = head * 10 + pair, plus 0.5 for the pair's second member.
        interleaved = np.array([[h * 10 + t + m / 2] for h in range(2) for t in range(3) for m in range(2)])
        expected = [0, 1, 2, 0.5, 1.5, 2.5, 10, 11, 12, 10.5, 11.5, 12.5]
        self.assertEqual(expected, checkpoints.interleaved_to_rotate_half(interleaved, 2)[:, 0].tolist())


if __name__ == "__main__":
    unittest.main()
