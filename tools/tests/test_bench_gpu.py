"""The GPU benchmark reads what the program prints, tells failures and goes on."""

import contextlib
import io
import json
import os
import pathlib
import stat
import sys
import tempfile
import types
import unittest
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import bench_gpu

PROFILE = """seconds\tcalls\tms/call\tTFLOP/s\toperation
3.0000\t10\t300.0\t500.00\tlinear F32[8,4] BF16[6,4]
1.0000\t30\t33.3\t100.00\tlinear F32[8,6] BF16[4,6]
2.0000\t4\t500.0\t0.00\tadd F32[8,4] F32[8,4]
6.000\t\t\t\tall operations, of 7.500
"""

# Stands in for the program: a command that fails is named by FAIL.
LAUNCHER = """#!{python}
import json, os, pathlib, sys
command = sys.argv[1]
print("messages of", command, file=sys.stderr)
if os.environ.get("FAIL") == command:
    print("modegpt: no luck", file=sys.stderr)
    sys.exit(1)
if command == "compress":
    pathlib.Path(sys.argv[sys.argv.index("--output") + 1]).mkdir(exist_ok=True)
    if "MODEGPT_PROFILE" in os.environ:
        pathlib.Path(os.environ["MODEGPT_PROFILE"]).write_text({profile!r})
    print(json.dumps(dict(seconds=dict(calibration=0.01, allocation=0.002, decomposition=0.003))))
elif command == "bench":
    print(json.dumps(dict(results=[dict(test=t, batch=b, tokens_per_second=1234.4 * b) for t in ("pp1024", "tg32 @ d1024") for b in (1, 32)])))
else:
    print(json.dumps(dict(perplexity=38.38671, tokens_per_second=1e6)))
"""

# Stands in for the driver's program: 100 MiB were in use before, then 1124.
NVIDIA_SMI = """#!/bin/sh
case "$*" in *name*) echo "A card, 580.0"; exit ;; esac
echo 100
echo 1124
exec sleep 60
"""


class ParsingTest(unittest.TestCase):
    def test_memory_of_a_process(self):
        status = "Name:\tjava\nVmPeak:\t 900 kB\nVmHWM:\t 700 kB\nVmRSS:\t 600 kB\nRssAnon:\t 200 kB\nThreads:\t3\n"
        self.assertEqual((200 << 10, 700 << 10), bench_gpu.memory(status))
        self.assertEqual((0, 0), bench_gpu.memory("Name:\tgone\n"))

    def test_what_is_no_phase_counts_as_start_and_end(self):
        out = json.dumps({"seconds": {"calibration": 10.5, "allocation": 1.0, "decomposition": 7.5}, "models": []})
        peak = types.SimpleNamespace(device=2 << 30, own=1 << 30, resident=3 << 30)
        self.assertEqual([2.0, 10.5, 1.0, 7.5, 21.0, 2.0, 1.0, 3.0], bench_gpu.compression_row(out, 21.0, peak))

    def test_shapes_of_an_operation_are_added_up(self):
        rows, total = bench_gpu.profile_rows(PROFILE)
        self.assertEqual([("linear", 4.0, 40, 400.0), ("add", 2.0, 4, 0.0)], rows)
        self.assertEqual((6.0, 7.5), total)

    def test_a_table_aligns_numbers_right(self):
        table = bench_gpu.Table("T", "recipe", "s", "tokens/s")
        table.add("paper", 1.25, 12345.6)
        table.add("default", None, 3)
        self.assertEqual("\n### T\n\n| recipe | s | tokens/s |\n| --- | --: | --: |\n| paper | 1.2 | 12,346 |\n| default |  | 3.0 |", str(table))


class RunTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.launcher = self.script("launcher", LAUNCHER.format(python=sys.executable, profile=PROFILE))
        self.script("nvidia-smi", NVIDIA_SMI)
        self.work = self.folder / "work"
        self.work.mkdir()

    def script(self, name, text):
        path = self.folder / name
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    def run_tool(self, *more, fail=""):
        tiny = {"7b": ({"layers": 1, "hidden": 16, "mlp": 8, "heads": 2, "kv_heads": 1}, 2)}
        words = ["bench_gpu", str(self.work), "text", "--modegpt", str(self.launcher), "--shapes", "7b", *more]
        out = io.StringIO()
        with mock.patch.object(sys, "argv", words), mock.patch.dict(bench_gpu.SHAPES, tiny), \
                mock.patch.dict("os.environ", {"FAIL": fail, "PATH": f"{self.folder}:{os.environ['PATH']}"}), contextlib.redirect_stdout(out):
            with self.assertRaises(SystemExit) as ended:
                bench_gpu.main()
        self.assertEqual([], list(self.work.iterdir()))
        return ended.exception.code, out.getvalue()

    def test_every_part_ends_in_a_table(self):
        code, out = self.run_tool("--parts", "demo,compress,profile,generate")
        self.assertEqual(0, code, out)
        tables = out[out.index("\n## ") :]
        self.assertIn("| cuda | bf16 | 38.3867 | 1,000,000 |", tables)
        self.assertIn("## A card, 580.0, ", tables)
        self.assertRegex(tables, r"\| 7b \| 1 \| 2 x 2048 \| default \| \d+\.\d (\| 0\.0 ){3}\| \d+\.\d \| 1\.0 \| 0\.0 ")
        self.assertIn("| linear | 4.00 | 40 | 400.0 |", tables)
        self.assertIn("| 7b | 1 | modegpt | 30 % removed | 1,234 | 39,501 | 1,234 | 39,501 |", tables)

    def test_a_failing_part_is_told_and_the_others_run(self):
        code, out = self.run_tool("--parts", "compress,generate", fail="compress")
        self.assertEqual(1, code)
        self.assertIn("FAILED 7b-1: compress paper: failed: exit code 1: modegpt: no luck", out)
        self.assertIn("| 7b | 1 | modegpt | dense |", out[out.index("\n## ") :])
        self.assertNotIn("30 % removed", out)

    def test_a_command_gets_so_long_and_no_longer(self):
        self.launcher.write_text("#!/bin/sh\nexec sleep 60\n")
        code, out = self.run_tool("--parts", "compress", "--recipes", "paper", "--limit", "0.5")
        self.assertEqual(1, code)
        self.assertIn("stopped after 0.5 s", out)


if __name__ == "__main__":
    unittest.main()
