"""Differences of statistics and of what models keep are what they are said to be."""

import json
import pathlib
import sys
import tempfile
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import checkpoints
import parity


class DifferenceTest(unittest.TestCase):
    def test_a_packed_triangle_is_the_lower_half(self):
        np.testing.assert_array_equal([[1, 2, 4], [2, 3, 5], [4, 5, 6]], parity.unpacked(np.array([[1.0, 2, 3, 4, 5, 6]])))

    def test_matrices_are_relative_to_their_diagonal(self):
        a = np.array([[4.0, 1.0, 9.0]])
        b = np.array([[4.0, 1.6, 9.0]])
        self.assertAlmostEqual(0.6 / 6, parity.difference("mlp_inner", a, b))

    def test_each_head_has_a_scale_of_its_own(self):
        a = np.vstack([np.eye(2), 100 * np.eye(2)])
        b = a.copy()
        b[3, 0] = 1.0
        self.assertAlmostEqual(0.01, parity.difference("head_output", a, b))

    def test_other_sums_are_relative_to_themselves(self):
        self.assertAlmostEqual(0.25, parity.difference("key_energy", np.array([[4.0, 0.0]]), np.array([[3.0, 0.0]])))
        self.assertEqual(np.inf, parity.difference("key_energy", np.array([[0.0]]), np.array([[1.0]])))


class FilesTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def test_the_worst_layer_counts(self):
        first = {f"layers.{i}.query_energy": np.array([[1.0, 2.0]]) for i in (0, 1)}
        other = first | {"layers.1.query_energy": np.array([[1.0, 2.5]])}
        checkpoints.write_safetensors(self.folder / "a", first)
        checkpoints.write_safetensors(self.folder / "b", other)
        self.assertEqual({"query_energy": 0.25}, parity.statistics_differences(self.folder / "a", self.folder / "b"))

    def model(self, name, rows, pairs):
        (self.folder / name).mkdir()
        (self.folder / name / "config.json").write_text(json.dumps({"modegpt": {"layers": [{"rotary_pairs": [pairs]}]}}))
        up = np.array([[row, 1] for row in rows], dtype=np.float32)
        checkpoints.write_safetensors(self.folder / name / "model.safetensors", {"model.layers.0.mlp.up_proj.weight": up})
        return parity.kept(self.folder / name)

    def test_overlap_of_units_and_pairs(self):
        first, other = self.model("a", [1, 2, 3, 4], [0, 1]), self.model("b", [2, 3, 5], [0, 2])
        self.assertEqual(0.5, parity.overlap(first[0], other[0]))
        self.assertEqual(0.5, parity.overlap(first[1], other[1]))
        self.assertEqual(1.0, parity.overlap(first[0], first[0]))


if __name__ == "__main__":
    unittest.main()
