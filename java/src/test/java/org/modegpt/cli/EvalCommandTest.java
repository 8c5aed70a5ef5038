package org.modegpt.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.modegpt.TestData;
import org.modegpt.TinyModel;
import org.modegpt.io.Json;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

/// `modegpt eval` as continuous integration runs it: gates, reports, resumed runs, and one clear
/// line for everything that can be wrong.
class EvalCommandTest {
  @TempDir private static Path shared;
  @TempDir private Path folder;

  @BeforeAll
  static void demonstrationFiles() {
    System.setProperty("modegpt.demo", TestData.demo("").toString());
  }

  private CommandRun eval(Path model, String tasks, Object... more) {
    List<Object> args = new ArrayList<>(List.of("eval", model, "--tasks", tasks));
    args.addAll(List.of("--data", TestData.tasks(""), "--device", "cpu", "-t", 2));
    args.addAll(List.of("--cache", folder.resolve("cache"), "--no-record", "--no-progress"));
    args.addAll(List.of(more));
    return CommandRun.of(args.toArray());
  }

  private Path tiny(String name) {
    return new TinyModel().write(folder.resolve(name));
  }

  private static ObjectNode json(String text) {
    return Json.object(text.getBytes(StandardCharsets.UTF_8), "output");
  }

  /// The same gate file lets the demonstration model pass and stops one that lost half of itself.
  @Test
  void gatePassesOneModelAndFailsAnother() throws IOException {
    Path model = TestData.demo("wiki-16m");
    Path halved = shared.resolve("halved");
    CommandRun made =
        CommandRun.of(
            "compress",
            model,
            "-o",
            halved,
            "--ratio",
            "0.6",
            "--recipe",
            "paper",
            "--allocation",
            "uniform",
            "--no-eval",
            "--no-record",
            "-q",
            "--device",
            "cpu",
            "-t",
            2,
            "--num-calibration-samples",
            8,
            "--max-seq-length",
            256);
    assertThat(made.code()).as(made.err()).isZero();
    Path gates =
        Files.writeString(
            folder.resolve("gates.yaml"),
            """
            gates:
              - {task: wikitext2, max_increase: 0.1}
              - {task: lambada_openai, metric: perplexity, max: 2000, evidence: fail_if_shown}
              - {task: arc_easy, not_worse: true}
              - {task: hellaswag, metric: acc_norm, max_drop: 0.2}
              - {task: divergence, metric: top1_agreement, min: 0.9}
              - {max_size: 40MB, max_size_ratio: 1.0}
            """);
    String tasks = "wikitext2,arc_easy,hellaswag,lambada_openai,divergence";
    Object[] options = {
      "--baseline", model, "--limit", 8, "--gate", gates, "-o", folder.resolve("r"), "-s"
    };
    CommandRun passed = eval(model, tasks, options);
    assertThat(passed.code()).as(passed.err() + passed.out()).isZero();
    assertThat(passed.out()).contains("no difference shown", "holds").doesNotContain("FAILS");

    CommandRun failed = eval(halved, tasks, options);
    assertThat(failed.code()).as(failed.err() + failed.out()).isEqualTo(Main.GATE);
    assertThat(failed.err()).contains("gate failed: wikitext2 token_perplexity: max_increase 0.1");
    assertThat(failed.out()).contains("worse", "FAILS");

    JsonNode results = Json.object(folder.resolve("r/results.json"));
    assertThat(results.path("results").path("arc_easy").has("acc_norm,none")).isTrue();
    assertThat(results.path("results").path("arc_easy").has("acc_stderr,none")).isTrue();
    assertThat(results.path("n-shot").path("hellaswag").asInt()).isZero();
    assertThat(Files.readString(folder.resolve("r/junit.xml"))).contains("<failure message=");
    assertThat(Files.readString(folder.resolve("r/report.html"))).contains("gates fail", "<svg");
    assertThat(Files.readString(folder.resolve("r/report.md"))).contains("| wikitext2");
    assertThat(Files.readAllLines(folder.resolve("r/samples_arc_easy.jsonl"))).hasSize(8);

    // A stored run stands in for the baseline: the same model has not become worse.
    CommandRun again =
        eval(
            halved,
            "wikitext2,arc_easy",
            "--limit",
            8,
            "--baseline",
            folder.resolve("r/results.json"),
            "--json");
    assertThat(again.code()).as(again.err()).isZero();
    JsonNode comparison = json(again.out()).path("modegpt").path("comparison");
    assertThat(comparison.get(0).path("difference").asDouble()).isZero();
    assertThat(again.err()).contains("answers known");
  }

  @Test
  void aStoppedRunGoesOn() throws IOException {
    Path model = tiny("tiny");
    assertThat(eval(model, "arc_easy", "--limit", 6).code()).isZero();
    Path cache;
    try (Stream<Path> files = Files.list(folder.resolve("cache"))) {
      cache = files.findFirst().orElseThrow();
    }
    List<String> lines = Files.readAllLines(cache);
    assertThat(lines).hasSize(24);
    // What a kill in the middle of a write leaves.
    Files.writeString(cache, String.join("\n", lines.subList(0, 10)) + "\n{\"ll\":-3.1,\"gre");
    CommandRun again = eval(model, "arc_easy", "--limit", 6, "--json");
    assertThat(again.err()).contains("10 of 24 answers known");
    assertThat(Files.readAllLines(cache).stream().filter(l -> l.endsWith("}"))).hasSize(24);
    CommandRun whole = eval(model, "arc_easy", "--limit", 6, "--json", "--no-cache");
    assertThat(json(again.out()).path("results")).isEqualTo(json(whole.out()).path("results"));
  }

  @Test
  void generation() throws IOException {
    Files.writeString(
        folder.resolve("d.jsonl"),
        "{\"q\": \"The city is\", \"a\": \"x\"}\n{\"q\": \"The city was\", \"a\": 7}\n");
    Path task =
        Files.writeString(
            folder.resolve("t.yaml"),
            """
            task: t
            output_type: generate_until
            data: d.jsonl
            doc_to_text: q
            doc_to_target: a
            generation_kwargs: {max_gen_toks: 5}
            metrics: [exact_match, numeric_match, repetition, length, empty]
            """);
    CommandRun result = eval(TestData.demo("wiki-16m"), task.toString(), "--json");
    assertThat(result.code()).as(result.err()).isZero();
    assertThat(json(result.out()).path("results").path("t").path("length,none").asDouble())
        .isBetween(1.0, 5.0);
  }

  @Test
  void whatFailsLosesNothing() throws IOException {
    Files.writeString(
        folder.resolve("bad.jsonl"), "{\"q\": \"x\", \"c\": [\"a\", \"\"], \"g\": 0}\n");
    Path bad =
        Files.writeString(
            folder.resolve("bad.yaml"),
            "task: bad\ndata: bad.jsonl\ndoc_to_text: q\ndoc_to_choice: c\ndoc_to_target: g\n");
    CommandRun result = eval(tiny("tiny"), bad + ",openbookqa,arc_easy", "--limit", 3);
    assertThat(result.code()).isEqualTo(Main.FAILED);
    assertThat(result.err())
        .contains("modegpt: task bad: bad.jsonl:1: choice 1 is empty")
        .contains("modegpt: task openbookqa: there is no data file openbookqa.jsonl");
    assertThat(result.out()).contains("| arc_easy", "no result: task bad");
  }

  @Test
  void contextsThatAreTooLong() throws IOException {
    Path model = tiny("tiny");
    CommandRun cut = eval(model, "mmlu", "--limit", 2);
    assertThat(cut.code()).as(cut.err()).isZero();
    assertThat(cut.err())
        .contains("warning: mmlu: 2 of 2 items were longer than the model's context");
    CommandRun refused = eval(model, "mmlu", "--limit", 2, "--too-long", "fail");
    assertThat(refused.code()).isEqualTo(Main.FAILED);
    assertThat(refused.err()).contains("mmlu.jsonl:1 has", "model's context of 64");
    Files.writeString(
        folder.resolve("long.jsonl"), "{\"q\": \"x\", \"a\": \"" + " word".repeat(90) + "\"}\n");
    Path task =
        Files.writeString(
            folder.resolve("long.yaml"),
            "task: long\noutput_type: loglikelihood\ndata: long.jsonl\ndoc_to_text: q\ndoc_to_target: a\n");
    assertThat(eval(model, task.toString()).err())
        .contains("long.jsonl:1", "the continuation has 9", "context of 64");
  }

  @Test
  void logitsThatAreNotFinite() {
    TinyModel broken = new TinyModel();
    broken.poison("model.norm.weight", 3e38);
    CommandRun result = eval(broken.write(folder.resolve("broken")), "arc_easy", "--limit", 3);
    assertThat(result.code()).isEqualTo(Main.FAILED);
    assertThat(result.err())
        .contains("task arc_easy", "non-finite logits on 3 of 3 items", "damaged");
  }

  @Test
  void wrongUsage() throws IOException {
    Path model = tiny("tiny");
    assertThat(eval(model, "arc_esay").err()).contains("did you mean arc_easy?");
    assertThat(eval(model, "arc_easy", "--limit", 0).code()).isEqualTo(Main.USAGE);
    assertThat(eval(model, "").code()).isEqualTo(Main.USAGE);
    // What the end of a run needs is looked at before its beginning.
    CommandRun nowhere =
        eval(model, "arc_easy", "--limit", 1, "-o", model.resolve("config.json/out"));
    assertThat(nowhere.code()).isEqualTo(Main.FAILED);
    assertThat(nowhere.err()).contains("cannot write").doesNotContain("items in");
    CommandRun alone = eval(model, "arc_easy", "--limit", 1, "--baseline", folder.resolve("none"));
    assertThat(alone.err()).contains("there is no model at").doesNotContain("items in");
    assertThat(eval(model, "arc_easy", "--report", "r.pdf").code()).isEqualTo(Main.USAGE);
    Path gates = folder.resolve("g.yaml");
    for (String[] wrong :
        new String[][] {
          {"gates: []", "needs 'gates'"},
          {
            "gates:\n  - {task: arc_easy, max_dorp: 1}",
            "g.yaml:2: unknown key 'max_dorp'; did you mean max_drop?"
          },
          {"gates:\n  - {task: arc_easy}", "no threshold"},
          {"gates:\n  - {max_size: huge}", "not a size"},
          {"gates:\n  - {task: arc_easy, min: high}", "want a number"}
        }) {
      Files.writeString(gates, wrong[0]);
      CommandRun result = eval(model, "arc_easy", "--gate", gates);
      assertThat(result.code()).isEqualTo(Main.FAILED);
      assertThat(result.err()).contains(wrong[1]);
      assertThat(result.err().strip().lines()).hasSize(1);
    }
    Files.writeString(
        gates, "gates:\n  - {task: piqa, min: 0.1}\n  - {task: arc_easy, max_drop: 0.1}\n");
    CommandRun missing = eval(model, "arc_easy", "--limit", 2, "--gate", gates);
    assertThat(missing.code()).isEqualTo(Main.GATE);
    assertThat(missing.err()).contains("the task was not evaluated", "there is no baseline");
  }

  @Test
  void tasksCommand() throws IOException {
    assertThat(CommandRun.of("tasks", "ls").out())
        .contains("| hellaswag", "gsm8k.jsonl (not here)", "metrics: acc");
    assertThat(CommandRun.of("tasks", "show", "arc_easy", "--data", TestData.tasks("")).out())
        .contains("doc_to_text:", "Question: ", "  * \" ");
    assertThat(CommandRun.of("tasks", "validate", "standard", "--data", TestData.tasks("")).code())
        .isZero();
    Files.writeString(folder.resolve("a.yaml"), "task: a\ndoc_to_text: '{{x'\n");
    Files.writeString(folder.resolve("b.yaml"), "task: b\n  c: d\n");
    CommandRun wrong = CommandRun.of("tasks", "validate", folder);
    assertThat(wrong.code()).isEqualTo(Main.FAILED);
    assertThat(wrong.err()).contains("a.yaml:2: the template is wrong", "b.yaml:2: not valid YAML");
  }
}
