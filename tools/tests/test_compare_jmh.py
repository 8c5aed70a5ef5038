import contextlib
import importlib.machinery
import importlib.util
import io
import json
import os
import tempfile
import unittest

TOOL = os.path.join(os.path.dirname(__file__), "..", "compare-jmh")
loader = importlib.machinery.SourceFileLoader("compare_jmh", TOOL)
tool = importlib.util.module_from_spec(importlib.util.spec_from_loader("compare_jmh", loader))
loader.exec_module(tool)


def result(name, score, error=0.0, unit="us/op", **params):
    return {
        "benchmark": "org.modegpt.bench." + name,
        "params": params,
        "primaryMetric": {"score": score, "scoreError": error, "scoreUnit": unit},
    }


class CompareJmhTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def run_tool(self, command, *contents):
        paths = []
        for i, content in enumerate(contents):
            paths.append(os.path.join(self.folder, f"{i}.json"))
            with open(paths[-1], "w", encoding="utf-8") as file:
                json.dump(content, file)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            code = tool.main([command, *paths])
        return code, out.getvalue()

    def floor(self, limit):
        side = lambda op, work: {"benchmark": "K.run", "params": {"op": op}, "work": work}
        return [{"name": "gram", "numerator": side("gram", 4), "denominator": side("gemm", 2), "floor": limit}]

    def test_a_ratio_is_work_per_time(self):
        results = [result("K.run", 10, op="gram"), result("K.run", 4, op="gemm")]
        self.assertEqual(self.run_tool("floors", self.floor(0.79), results)[0], 0)
        code, out = self.run_tool("floors", self.floor(0.81), results)
        self.assertEqual(code, 1)
        self.assertIn("TOO LOW", out)
        self.assertIn("0.800", out)

    def test_a_missing_result_is_an_error(self):
        with self.assertRaisesRegex(SystemExit, "0 results"):
            self.run_tool("floors", self.floor(0.1), [result("K.run", 10, op="gram")])

    def test_all_regressions_worst_first(self):
        old = [result("A.run", 10), result("B.run", 10)]
        code, out = self.run_tool("diff", old, [result("A.run", 12), result("B.run", 30)])
        self.assertEqual(code, 1)
        self.assertLess(out.index("B.run"), out.index("A.run"))

    def test_noise_only(self):
        code, _ = self.run_tool("diff", [result("A.run", 10, 2.0)], [result("A.run", 12, 2.4)])
        self.assertEqual(code, 0)

    def test_only_in_one(self):
        code, out = self.run_tool("diff", [result("A.run", 10)], [result("A.run", 10), result("B.run", 1)])
        self.assertEqual(code, 0)
        self.assertIn("only in candidate", out)

    def test_empty_intersection(self):
        with self.assertRaisesRegex(SystemExit, "no benchmark in common"):
            self.run_tool("diff", [result("A.run", 10)], [result("B.run", 10)])


if __name__ == "__main__":
    unittest.main()
