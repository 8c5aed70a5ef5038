package org.modegpt.runs;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.Writer;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;

/// Writes runs to files and reads them back.
///
/// * `jsonl`: a run per line, complete ([RunRecord]).
/// * `csv`: a run per line with a column for every parameter (`param.*`) and metric (`metric.*`,
///   with `metric.*.se`) found in any of them, and a last column `record` with the complete JSON,
///   which is what an import reads.
/// * `parquet`: the CSV's columns; see [ParquetFiles].
///
/// An import leaves out runs the store already has, so repeating one is harmless.
public final class RunFiles {
  private static final int BATCH = 200;
  private static final int LONGEST_LINE = 64 << 20;

  /// How many runs an import took and how many were there already.
  public record Imported(long added, long known) {}

  /// Takes the rows of a table.
  interface Table {
    void row(List<String> cells) throws IOException;
  }

  private RunFiles() {}

  /// Writes a line of JSON for each run, oldest first.
  public static void writeJsonLines(RunStore store, RunFilter filter, Writer out)
      throws IOException {
    for (String id : ids(store, filter)) {
      out.write(RunJson.write(store.read(id)));
      out.write('\n');
    }
  }

  /// Writes a header and a line for each run, oldest first.
  public static void writeCsv(RunStore store, RunFilter filter, Writer out) throws IOException {
    table(
        store,
        filter,
        cells -> {
          out.write(Csv.line(cells));
          out.write("\r\n");
        });
  }

  /// Gives `table` the column names, then a row per run. Runs are read twice rather than all held
  /// in memory.
  static void table(RunStore store, RunFilter filter, Table table) throws IOException {
    List<String> ids = ids(store, filter);
    SortedSet<String> columns = new TreeSet<>();
    for (String id : ids) {
      columns.addAll(flat(store.read(id)).keySet());
    }
    List<String> fixed =
        List.of("id", "kind", "status", "started", "seconds", "model", "recipe", "machine");
    List<String> header = new ArrayList<>(fixed);
    header.addAll(columns);
    header.add("record");
    table.row(header);
    for (String id : ids) {
      RunRecord run = store.read(id);
      List<String> cells =
          new ArrayList<>(
              List.of(
                  run.id(),
                  run.kind(),
                  run.status(),
                  run.started().toString(),
                  Double.toString(run.seconds()),
                  run.model(),
                  run.recipe(),
                  run.machine()));
      SortedMap<String, String> flat = flat(run);
      columns.forEach(c -> cells.add(flat.getOrDefault(c, "")));
      cells.add(RunJson.write(run));
      table.row(cells);
    }
  }

  private static SortedMap<String, String> flat(RunRecord run) {
    SortedMap<String, String> flat = new TreeMap<>();
    run.parameters().forEach((name, value) -> flat.put("param." + name, value));
    for (RunRecord.Metric metric : run.metrics()) {
      String column = "metric." + metric.key();
      flat.put(column, Double.toString(metric.value()));
      Double standardError = metric.standardError();
      if (standardError != null) {
        flat.put(column + ".se", Double.toString(standardError));
      }
    }
    return flat;
  }

  private static List<String> ids(RunStore store, RunFilter filter) {
    return store.list(filter).stream().map(RunSummary::id).toList().reversed();
  }

  /// Reads JSON lines; a line that is no run ends the import with its number, what came before it
  /// is kept.
  public static Imported readJsonLines(RunStore store, BufferedReader in) throws IOException {
    Importer importer = new Importer(store);
    StringBuilder line = new StringBuilder();
    long number = 1;
    int c;
    do {
      c = in.read();
      if (c == '\n' || c < 0) {
        if (!line.toString().isBlank()) {
          importer.add(RunJson.read(line.toString(), RunRecord.class, "Line " + number));
        }
        line.setLength(0);
        number++;
      } else if (line.append((char) c).length() > LONGEST_LINE) {
        throw new UserException(
            "Line " + number + " is longer than 64 MiB; this is no export of runs.");
      }
    } while (c >= 0);
    return importer.done();
  }

  /// Reads the `record` column of a CSV export.
  public static Imported readCsv(RunStore store, BufferedReader in) throws IOException {
    List<String> header = Csv.read(in);
    int column = header == null ? -1 : header.indexOf("record");
    if (column < 0) {
      throw new UserException(
          "This CSV has no column \"record\": only what runs export wrote can be imported.");
    }
    Importer importer = new Importer(store);
    List<String> cells;
    long number = 2;
    while ((cells = Csv.read(in)) != null) {
      if (cells.size() <= column) {
        throw new UserException(
            "Record " + number + " has " + cells.size() + " columns, fewer than the header's.");
      }
      importer.add(RunJson.read(cells.get(column), RunRecord.class, "Record " + number));
      number++;
    }
    return importer.done();
  }

  /// Takes runs in batches, each of which is stored as a whole.
  static final class Importer {
    private final RunStore store;
    private final Set<String> seen = new HashSet<>();
    private final List<RunEvent> batch = new ArrayList<>();
    private int runs;
    private long added;
    private long known;

    Importer(RunStore store) {
      this.store = store;
    }

    void add(RunRecord run) {
      if (!seen.add(run.id()) || store.contains(run.id())) {
        known++;
        return;
      }
      batch.addAll(RunEvent.of(run));
      if (++runs >= BATCH) {
        flush();
      }
    }

    Imported done() {
      flush();
      return new Imported(added, known);
    }

    private void flush() {
      store.append(batch);
      added += runs;
      runs = 0;
      batch.clear();
    }
  }

  /// The format named or, without a name, the one a file's ending says.
  public static String format(@Nullable String name, @Nullable String file) {
    String format = name;
    if (format == null && file != null) {
      format = file.substring(file.lastIndexOf('.') + 1);
    }
    return switch (format == null ? "jsonl" : format) {
      case "jsonl", "json", "ndjson" -> "jsonl";
      case "csv" -> "csv";
      case "parquet" -> "parquet";
      default ->
          throw new UserException(
              "Runs are written as jsonl, csv or parquet, not "
                  + format
                  + "; name one with --format.");
    };
  }
}
