"""The reference formulas satisfy the optimality properties they are meant to have."""

import pathlib
import sys
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import reference


def gram(generator, tokens, size):
    x = generator.standard_normal((tokens, size)) * np.linspace(0.2, 2, size)
    return x.T @ x


class DecompositionsTest(unittest.TestCase):
    def setUp(self):
        self.generator = np.random.default_rng(7)

    def test_nystrom_residual_is_orthogonal_to_the_kept_units(self):
        c, down = gram(self.generator, 60, 20), self.generator.standard_normal((20, 6))
        kept, refitted = reference.nystrom(c, down, 12, 1e-2)
        padded = np.zeros_like(down)
        padded[kept] = refitted
        np.testing.assert_allclose((c @ (down - padded))[kept], 0, atol=1e-9)
        self.assertTrue((np.diff(kept) > 0).all())

    def test_nystrom_with_all_units_is_the_identity(self):
        c, down = gram(self.generator, 60, 20), self.generator.standard_normal((20, 6))
        kept, refitted = reference.nystrom(c, down, 20, 1e-2)
        np.testing.assert_array_equal(np.arange(20), kept)
        np.testing.assert_allclose(refitted, down, atol=1e-10)

    def test_pair_scores_sum_over_the_pair_and_its_query_heads(self):
        q, k = self.generator.random(4 * 6), self.generator.random(2 * 6)
        scores = reference.pair_scores(q, k, heads=4, kv_heads=2)
        expected = sum(q[h * 6 + t] * k[6 + t] for h in (2, 3) for t in (1, 4))
        self.assertAlmostEqual(np.sqrt(expected), scores[1, 1])

    def value_output_errors(self, rank):
        generator = np.random.default_rng(3)
        c, value = gram(generator, 80, 16), generator.standard_normal((16, 6))
        outputs = [generator.standard_normal((6, 16)) * scale for scale in (0.1, 3.0)]
        root = reference.symmetric_power(c, 0.5)
        errors = {}
        for rule in ("separate", "joint", "published"):
            products, spectrum = reference.value_output(c, value, outputs, rank, rule)
            parts = [np.linalg.norm(root @ (value @ o - p)) for o, p in zip(outputs, products)]
            errors[rule] = np.linalg.norm(parts), spectrum
        return errors

    def test_value_output_error_is_the_tail_of_the_spectrum(self):
        errors = self.value_output_errors(4)
        for rule in ("separate", "joint"):
            error, spectrum = errors[rule]
            self.assertAlmostEqual(np.linalg.norm(spectrum[..., 4:]), error, places=8)

    def test_joint_beats_published_and_separate_beats_joint(self):
        errors = self.value_output_errors(3)
        self.assertLess(errors["separate"][0], errors["joint"][0])
        self.assertLess(errors["joint"][0], errors["published"][0])

    def test_full_rank_is_exact(self):
        for rule, (error, _) in self.value_output_errors(6).items():
            self.assertLess(error, 1e-9, rule)


class AllocationTest(unittest.TestCase):
    def test_mean_is_exact_and_the_cap_holds(self):
        influence = np.array([0.01, 0.02, 0.3, 0.25, 0.05])
        sparsity = reference.allocate(influence, 0.5, 0.04, 0.8)
        self.assertAlmostEqual(0.5, sparsity.mean())
        self.assertLessEqual(sparsity.max(), 0.8 + 1e-12)
        self.assertEqual(3, (sparsity > 0.8 - 1e-9).sum())
        self.assertGreater(sparsity[3], sparsity[2])

    def test_without_the_cap_it_is_a_softmax(self):
        influence = np.array([0.1, 0.2])
        sparsity = reference.allocate(influence, 0.1, 1.0, 0.8)
        self.assertAlmostEqual(np.exp(0.1), sparsity[0] / sparsity[1])


class RotaryTest(unittest.TestCase):
    def test_scores_depend_on_the_distance_only(self):
        generator = np.random.default_rng(1)
        q, k = generator.standard_normal((2, 1, 1, 8))
        rotated_q, rotated_k = (reference.rotate(np.repeat(x, 9, axis=1), 10000.0)[0] for x in (q, k))
        self.assertAlmostEqual(rotated_q[3] @ rotated_k[1], rotated_q[8] @ rotated_k[6])
        np.testing.assert_array_equal(q[0, 0], rotated_q[0])


if __name__ == "__main__":
    unittest.main()
