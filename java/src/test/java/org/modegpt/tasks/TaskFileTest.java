package org.modegpt.tasks;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.modegpt.TestData;
import org.modegpt.UserException;

/// Task files: what they may say, what they mean, and how errors are told.
class TaskFileTest {
  @TempDir private Path folder;

  private List<Item> items(String yaml, String... rows) throws IOException {
    Files.writeString(folder.resolve("d.jsonl"), String.join("\n", rows) + "\n");
    return ItemBuilder.build(task(yaml), new DataFolders(List.of()));
  }

  private TaskDefinition task(String yaml) throws IOException {
    return TaskFile.read(Files.writeString(folder.resolve("t.yaml"), yaml));
  }

  private static final String CHOICE =
      """
      task: quiz
      output_type: multiple_choice
      data: d.jsonl
      doc_to_text: "Q: {{q}}\\nA:"
      doc_to_choice: c
      doc_to_target: GOLD
      """;

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '~',
      value = {
        "g | 1 | 1",
        "g | \"b\" | 1",
        "g | \"B\" | 1",
        "g | \"(B)\" | 1",
        "g | true | 1",
        "g | [0, 1] | 0",
        "{{g}} | \"1\" | 1",
        "{{g - 1}} | 2 | 1",
        "1 | 9 | 1"
      })
  void theRightChoice(String gold, String value, int expected) throws IOException {
    List<Item> items =
        items(
            CHOICE.replace("GOLD", "\"" + gold + "\""),
            "{\"q\": \"x\", \"c\": [\"a\", \"b\"], \"g\": " + value + "}");
    assertThat(items.getFirst().gold().getFirst()).isEqualTo(expected);
    assertThat(items.getFirst().requests())
        .containsExactly(new Item.Request("Q: x\nA:", " a"), new Item.Request("Q: x\nA:", " b"));
  }

  @Test
  void digitsInAFieldAreFirstComparedWithTheChoices() throws IOException {
    String row = "{\"q\": \"x\", \"c\": [\"2\", \"1\"], \"g\": \"1\"}";
    assertThat(items(CHOICE.replace("GOLD", "g"), row).getFirst().gold()).containsExactly(1);
    assertThat(items(CHOICE.replace("GOLD", "\"{{g}}{{''}}\""), row).getFirst().gold())
        .containsExactly(1);
  }

  @Test
  void examplesAsLmEvaluationHarnessWritesThem() throws IOException {
    String yaml =
        CHOICE.replace("GOLD", "g")
            + "description: \"Quiz.\\n\\n\"\nnum_fewshot: 2\nfewshot_config: {sampler: first_n}\n";
    List<Item> items =
        items(
            yaml,
            "{\"q\": \"one\", \"c\": [\"a\", \"b\"], \"g\": 1}",
            "{\"q\": \"two\", \"c\": [\"a\", \"b\"], \"g\": 0}",
            "{\"q\": \"three\", \"c\": [\"a\", \"b\"], \"g\": 0}");
    assertThat(items.get(0).requests().getFirst().context())
        .isEqualTo("Quiz.\n\nQ: two\nA: a\n\nQ: three\nA: a\n\nQ: one\nA:");
    assertThat(items.get(2).requests().getFirst().context())
        .isEqualTo("Quiz.\n\nQ: one\nA: b\n\nQ: two\nA: a\n\nQ: three\nA:");
  }

  @Test
  void contextChoices() throws IOException {
    String row =
        "{\"sentence\": \"Ann thanked Eve, so _ was kind .\", \"option1\": \"Ann\", \"option2\": \"Eve\", \"answer\": \"2\"}";
    Files.writeString(folder.resolve("winogrande.jsonl"), row);
    TaskDefinition task = new TaskCatalog(List.of()).resolve("winogrande").getFirst();
    Item item = ItemBuilder.build(task, new DataFolders(List.of(folder))).getFirst();
    assertThat(item.gold()).containsExactly(1);
    assertThat(item.requests())
        .containsExactly(
            new Item.Request("Ann thanked Eve, so Ann", " was kind ."),
            new Item.Request("Ann thanked Eve, so Eve", " was kind ."));
  }

  @Test
  void publishedRows() throws IOException {
    DataFolders here = new DataFolders(List.of(folder));
    TaskCatalog catalog = new TaskCatalog(List.of());
    Files.writeString(
        folder.resolve("hellaswag.jsonl"),
        "{\"activity_label\": \"Baking\", \"ctx_a\": \"A cook  stands. [header]\", \"ctx_b\": \"the Cook\", \"endings\": [\"bakes [x]a cake.\", \"sleeps.\"], \"label\": \"0\"}");
    Item item = ItemBuilder.build(catalog.resolve("hellaswag").getFirst(), here).getFirst();
    assertThat(item.requests().getFirst())
        .isEqualTo(new Item.Request("Baking: A cook stands. The cook", " bakes a cake."));
    Files.writeString(
        folder.resolve("mathqa.jsonl"),
        "{\"Problem\": \"P\", \"options\": \"a ) 24 , b ) 1,200 , c ) 6 , d ) 7 , e ) 1024\", \"correct\": \"b\"}");
    item = ItemBuilder.build(catalog.resolve("mathqa").getFirst(), here).getFirst();
    assertThat(item.choices()).containsExactly("24", "1,200", "6", "7", "1024");
    assertThat(item.gold()).containsExactly(1);
    Files.writeString(
        folder.resolve("copa.jsonl"),
        "{\"premise\": \"It rained.\", \"question\": \"effect\", \"choice1\": \"I got wet.\", \"choice2\": \"I sang.\", \"label\": 0}");
    item = ItemBuilder.build(catalog.resolve("copa").getFirst(), here).getFirst();
    assertThat(item.requests().getFirst())
        .isEqualTo(new Item.Request("It rained therefore", "  i got wet."));
    Files.writeString(
        folder.resolve("openbookqa.jsonl"),
        "{\"question_stem\": \"Sky is\", \"choices\": {\"text\": [\"blue\", \"red\"], \"label\": [\"A\", \"B\"]}, \"answerKey\": \"B\"}");
    item = ItemBuilder.build(catalog.resolve("openbookqa").getFirst(), here).getFirst();
    assertThat(item.requests().getFirst()).isEqualTo(new Item.Request("Sky is", " blue"));
    assertThat(item.gold()).containsExactly(1);
  }

  @Test
  void everyBuiltInTaskIsSound() {
    TaskCatalog catalog = new TaskCatalog(List.of());
    for (TaskCatalog.Entry entry : catalog.entries()) {
      assertThat(catalog.resolve(entry.name())).as(entry.name()).isNotEmpty();
    }
    DataFolders excerpts = new DataFolders(List.of(TestData.tasks("")));
    assertThat(ItemBuilder.build(catalog.resolve("mmlu").getFirst(), excerpts)).hasSize(15);
  }

  @Test
  void filesOfLmEvaluationHarness() throws IOException {
    Files.writeString(
        folder.resolve("base.yaml"),
        """
        dataset_path: json
        dataset_kwargs: {data_files: {test: d.jsonl, dev: d.jsonl}}
        test_split: test
        fewshot_split: dev
        output_type: generate_until
        doc_to_text: "{{q}}="
        doc_to_target: "{{a}}"
        """);
    List<Item> items =
        items(
            """
            include: base.yaml
            task: sums
            tag: [arithmetic]
            task_alias: Sums
            num_fewshot: 1
            fewshot_config: {sampler: first_n}
            generation_kwargs: {until: ["\\n"], do_sample: false, temperature: 0.0, max_gen_toks: 4}
            filter_list:
              - name: number
                filter: [{function: regex, regex_pattern: "(-?[0-9]+)", group_select: -1}, {function: take_first}]
            metric_list:
              - {metric: exact_match, aggregation: mean, higher_is_better: true, ignore_case: true}
            metadata: {version: 2.0}
            """,
            "{\"q\": \"1+1\", \"a\": 2}",
            "{\"q\": \"2+2\", \"a\": 4}");
    assertThat(items.get(1).requests().getFirst().context()).isEqualTo("1+1= 2\n\n2+2=");
    assertThat(items.get(1).references()).containsExactly("4");
    TaskDefinition task = TaskFile.read(folder.resolve("t.yaml"));
    assertThat(task.version()).isEqualTo("2.0");
    assertThat(task.filters().getFirst().apply("it is 3, no, 4.")).isEqualTo("4");
    assertThat(task.filters().getFirst().apply("none")).isEqualTo("[invalid]");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '~',
      value = {
        "doc_to_text: | doc_to_txt: | t.yaml:4: | unknown key 'doc_to_txt'; did you mean doc_to_text?",
        "multiple_choice | multiple_chioce | t.yaml:2: | did you mean multiple_choice?",
        "data: d.jsonl | data: none.jsonl | none.jsonl | --data",
        "{{q}} | {{q | t.yaml:4: | without its end",
        "{{q}} | {{question}} | d.jsonl:1: | there is no field 'question'",
        "doc_to_choice: c | doc_to_choice: q | d.jsonl:1: | not a list",
        "doc_to_choice: c | doc_to_choice: [a] | t.yaml:5: | two choices",
        "doc_to_choice: c | doc_to_choice: [a, ''] | t.yaml:5: | empty",
        "GOLD | 7 | d.jsonl:1: | 2 choices, counted from 0",
        "GOLD | '{{q}}' | d.jsonl:1: | none of the 2 choices",
        "doc_to_target: GOLD | metric_list: [accuracy] | t.yaml: | needs doc_to_target",
        "data: d.jsonl | metric: accuracy | t.yaml:3: | there are acc, ",
        "data: d.jsonl | !function utils.f | t.yaml: | not valid YAML",
        "data: d.jsonl | process_docs: !function utils.f | t.yaml:3: | Python",
        "data: d.jsonl | limit: many | t.yaml:3: | whole number",
        "task: quiz | task: quiz\\ntask: quiz | t.yaml:2: | there twice",
        "task: quiz | task: quiz\\n\tdata: d.jsonl | t.yaml:2: | TAB",
        "task: quiz | task: quiz\\ndescription: \"\u0001\" | t.yaml:2: | U+0001",
        "task: quiz | description: *other | t.yaml:1: | invalid alias: other",
        "task: quiz | description: !!python/name:os.system x | t.yaml:1: | tag",
        "task: quiz | ---\\n--- | t.yaml:3: | second document",
        "data: d.jsonl | metrics: {acc: 1} | t.yaml:3: | needs 'metric'",
        "data: d.jsonl | metrics: [acc, [acc]] | t.yaml:3: | name of a metric",
        "data: d.jsonl | metrics: [acc, acc] | t.yaml:3: | twice",
        "data: d.jsonl | metrics: [{metric: acc, ignore_case: true}] | t.yaml:3: | unknown key 'ignore_case'",
        "data: d.jsonl | dataset_kwargs: d.jsonl | t.yaml:3: | want keys and values",
        "data: d.jsonl | fewshot_config: {samples: 5} | t.yaml:3: | want a list",
        "{{q}} | {{frobnicate(q)}} | t.yaml:4: | there is no function 'frobnicate'",
        "doc_to_choice: c | doc_to_choice: choices | d.jsonl:1: | no field 'choices'; there are: q, c, g",
        "GOLD | answer | d.jsonl:1: | no field 'answer'",
        "data: d.jsonl | data: \"a\\0b\" | task quiz | NUL"
      })
  void errorsSayFileLineAndReason(String from, String to, String place, String reason)
      throws IOException {
    String yaml = CHOICE.replace(from, to.replace("\\n", "\n")).replace("GOLD", "g");
    assertThatThrownBy(() -> items(yaml, "{\"q\": \"x\", \"c\": [\"a\", \"b\"], \"g\": 0}"))
        .isInstanceOf(UserException.class)
        .hasMessageContaining(place)
        .hasMessageContaining(reason);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '~',
      value = {
        "filter_list: [{name: x, filter: [{function: regex, regex: a}]}] | unknown key 'regex'",
        "filter_list: [{nam: x, filter: [{function: lowercase}]}] | did you mean name?",
        "filter_list: lowercase | want a list",
        "filter_list: [{name: x, filter: [{function: regex, regex_pattern: '(a'}]}] | Unclosed group",
        "generation_kwargs: [a] | want keys and values",
        "generation_kwargs: {until: []} | the list is empty",
        "metrics: [{metric: exact_match, ignore_cas: true}] | did you mean ignore_case?",
        "metrics: [{metric: exact_match, ignore_case: often}] | want true or false",
        "metrics: [{metric: exact_match, regexes_to_ignore: ['[']}] | regular expression '[' is wrong"
      })
  void errorsOfGenerationTasks(String line, String reason) {
    assertThatThrownBy(() -> task("output_type: generate_until\ndoc_to_text: q\n" + line + "\n"))
        .isInstanceOf(UserException.class)
        .hasMessageContaining("t.yaml:3: ")
        .hasMessageContaining(reason);
  }

  @Test
  void filesOfOtherSystems() throws IOException {
    String row = "{\"q\": \"x\", \"c\": [\"a\", \"b\"], \"g\": 1}";
    String yaml = "\uFEFF" + CHOICE.replace("GOLD", "g").replace("\n", "\r\n");
    Item item = items(yaml, "\uFEFF" + row + "\r").getFirst();
    assertThat(item.requests().getFirst()).isEqualTo(new Item.Request("Q: x\nA:", " a"));
    assertThat(item.gold()).containsExactly(1);
  }

  @Test
  void anchorsAndMergedKeys() throws IOException {
    TaskDefinition task =
        task(
            """
            metadata: &base {metric: acc, higher_is_better: true}
            description: &text "Quiz {{q}}: "
            doc_to_text: *text
            doc_to_choice: &letters [A, B]
            doc_to_target: g
            fewshot_config: {samples: [{q: one, c: *letters, g: 0}]}
            metrics:
              - {metric: acc_norm, <<: *base}
              - <<: *base
            """);
    assertThat(task.text().source()).isEqualTo("Quiz {{q}}: ");
    assertThat(task.choices()).extracting(Template::source).containsExactly("A", "B");
    assertThat(task.examples().documents().getFirst().get("c")).isEqualTo(List.of("A", "B"));
    assertThat(task.metrics())
        .extracting(TaskDefinition.MetricUse::name)
        .containsExactly("acc_norm", "acc");
  }

  @Test
  void dataThatIsNotText() throws IOException {
    Files.write(folder.resolve("d.parquet"), new byte[] {'P', 'A', 'R', '1', 0, (byte) 0xff});
    TaskDefinition parquet = task(CHOICE.replace("GOLD", "g").replace("jsonl", "parquet"));
    assertThatThrownBy(() -> ItemBuilder.build(parquet, new DataFolders(List.of())))
        .hasMessageContaining("d.parquet is not a text file; data are JSON lines");
    assertThatThrownBy(() -> items(CHOICE.replace("GOLD", "g"), "{", "\"q\": 1}"))
        .hasMessageContaining("d.jsonl:1: not valid JSON")
        .hasMessageContaining("one object a line")
        .hasMessageNotContaining("Source");
  }

  @Test
  void itemsThatCannotBeUsed() throws IOException {
    assertThatThrownBy(() ->
            items(
                CHOICE.replace("GOLD", "g"),
                "{\"q\": \"x\", \"c\": [\"a\", \"b\"], \"g\": 0}",
                "{\"q\": \"x\", \"c\": [\"a\", \"\"], \"g\": 0}",
                "{\"q\": \"x\", \"c\": [], \"g\": 0}"))
        .isInstanceOf(UserException.class)
        .hasMessageContaining("task quiz: d.jsonl:2: choice 1 is empty (and 1 more items)");
    assertThatThrownBy(() -> items(CHOICE.replace("GOLD", "g"), "{\"q\": \"x\"}", "{oops"))
        .hasMessageContaining("d.jsonl:2");
    assertThatThrownBy(() ->
            items(CHOICE.replace("GOLD", "g"), "{\"q\": \"x\", \"c\": [\"a\", null], \"g\": 0}"))
        .hasMessageContaining("d.jsonl:1: choice 1 is null");
  }

  @Test
  void suites() throws IOException {
    task(CHOICE.replace("GOLD", "g"));
    Path suite =
        Files.writeString(
            folder.resolve("s.yaml"),
            "suite: mine\ntasks:\n  - t.yaml\n  - {task: arc_easy, limit: 5}\n  - quick\n");
    List<TaskDefinition> tasks = new TaskCatalog(List.of()).resolve(suite.toString());
    assertThat(tasks).extracting(TaskDefinition::name).startsWith("quiz", "arc_easy", "arc_easy");
    assertThat(tasks.get(1).limit()).isEqualTo(5);
    assertThat(new TaskCatalog(List.of(folder)).resolve("mine")).hasSameSizeAs(tasks);
    Path wrong = Files.writeString(folder.resolve("w.yaml"), "tasks:\n  - arc_esay\n");
    assertThatThrownBy(() -> new TaskCatalog(List.of()).resolve(wrong.toString()))
        .hasMessageContaining("w.yaml:2:")
        .hasMessageContaining("did you mean arc_easy?");
  }

  @Test
  void pythonDraws() {
    PythonRandom random = new PythonRandom(1234);
    List<Integer> hundred = java.util.stream.IntStream.range(0, 100).boxed().toList();
    List<Integer> thousand = java.util.stream.IntStream.range(0, 1000).boxed().toList();
    // random.Random(1234).sample(range(100), 5), then of range(10), then of range(1000)
    assertThat(random.sample(hundred, 5)).containsExactly(99, 56, 14, 0, 11);
    assertThat(random.sample(hundred.subList(0, 10), 3)).containsExactly(9, 0, 1);
    assertThat(random.sample(thousand, 12))
        .containsExactly(100, 784, 363, 242, 17, 31, 807, 16, 354, 663, 638, 495);
  }

  @Test
  void tablesAndArrays() throws IOException {
    Files.writeString(folder.resolve("d.csv"), "q,c1,c2,g\n\"a, \"\"b\"\"\",x,y,1\n");
    TaskDefinition task =
        task(
            CHOICE
                .replace("d.jsonl", "d.csv")
                .replace("doc_to_choice: c", "doc_to_choice: ['{{c1}}', '{{c2}}']")
                .replace("GOLD", "g"));
    Item item = ItemBuilder.build(task, new DataFolders(List.of())).getFirst();
    assertThat(item.requests().getFirst().context()).isEqualTo("Q: a, \"b\"\nA:");
    assertThat(item.gold()).containsExactly(1);
    Files.writeString(
        folder.resolve("d.jsonl"), "[{\"q\": \"x\", \"c\": [\"a\", \"b\"], \"g\": 0}]");
    assertThat(ItemBuilder.build(task(CHOICE.replace("GOLD", "g")), new DataFolders(List.of())))
        .hasSize(1);
  }
}
