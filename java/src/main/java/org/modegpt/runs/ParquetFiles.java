package org.modegpt.runs;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;

/// Parquet through DuckDB's JDBC driver where that is on the class path. It is 80 MB, so it does
/// not come with this program: JSON lines and CSV need nothing.
public final class ParquetFiles {
  private static final String ADVICE =
      "Parquet needs DuckDB's driver (org.duckdb:duckdb_jdbc) on the class path; without it use --format csv or jsonl.";

  private ParquetFiles() {}

  /// Whether the driver is there.
  public static boolean available() {
    return DriverManager.drivers().anyMatch(d -> d.getClass().getName().startsWith("org.duckdb."));
  }

  /// Writes the columns of the CSV export; numbers where every value of a column is one.
  public static void write(RunStore store, RunFilter filter, Path file) throws IOException {
    try (Connection duck = connect()) {
      Table table = new Table(duck);
      RunFiles.table(store, filter, table);
      table.flush();
      Path partial = file.resolveSibling(file.getFileName() + ".partial");
      run(
          duck,
          "copy (select "
              + table.typedColumns()
              + " from runs) to "
              + literal(partial)
              + " (format parquet, compression zstd)");
      Files.move(partial, file, java.nio.file.StandardCopyOption.REPLACE_EXISTING);
    } catch (SQLException e) {
      throw new IOException("cannot write " + file + ": " + e.getMessage(), e);
    }
  }

  /// Reads the `record` column of an export.
  public static RunFiles.Imported read(RunStore store, Path file) throws IOException {
    RunFiles.Importer importer = new RunFiles.Importer(store);
    try (Connection duck = connect();
        Statement statement = duck.createStatement();
        ResultSet rows =
            statement.executeQuery("select record from read_parquet(" + literal(file) + ")")) {
      long number = 1;
      while (rows.next()) {
        importer.add(
            RunJson.read(String.valueOf(rows.getString(1)), RunRecord.class, "Row " + number++));
      }
    } catch (SQLException e) {
      throw new UserException("Cannot read " + file + ": " + e.getMessage(), e);
    }
    return importer.done();
  }

  private static Connection connect() throws SQLException {
    if (!available()) {
      throw new UserException(ADVICE);
    }
    return DriverManager.getConnection("jdbc:duckdb:");
  }

  private static String literal(Path file) {
    return "'" + file.toAbsolutePath().toString().replace("'", "''") + "'";
  }

  private static String quoted(String column) {
    return '"' + column.replace("\"", "\"\"") + '"';
  }

  private static void run(Connection connection, String sql) throws SQLException {
    try (Statement statement = connection.createStatement()) {
      statement.execute(sql);
    }
  }

  /// Fills a table of texts; which columns are numbers is seen once all rows are in.
  private static final class Table implements RunFiles.Table {
    private final Connection duck;
    private List<String> header = List.of();
    private @Nullable PreparedStatement insert;

    Table(Connection duck) {
      this.duck = duck;
    }

    @Override
    public void row(List<String> cells) throws IOException {
      try {
        if (insert == null) {
          header = new ArrayList<>(cells);
          run(
              duck,
              header.stream()
                  .map(c -> quoted(c) + " varchar")
                  .collect(Collectors.joining(", ", "create table runs (", ")")));
          insert =
              duck.prepareStatement(
                  "insert into runs values ("
                      + String.join(",", Collections.nCopies(header.size(), "?"))
                      + ")");
          return;
        }
        for (int i = 0; i < cells.size(); i++) {
          insert.setString(i + 1, cells.get(i).isEmpty() ? null : cells.get(i));
        }
        insert.addBatch();
      } catch (SQLException e) {
        throw new IOException(e);
      }
    }

    void flush() throws SQLException {
      if (insert != null) {
        insert.executeBatch();
        insert.close();
      }
    }

    String typedColumns() throws SQLException {
      List<String> columns = new ArrayList<>();
      for (String column : header) {
        String name = quoted(column);
        boolean measured = column.equals("seconds") || column.startsWith("metric.");
        columns.add(measured ? "cast(" + name + " as double) as " + name : name);
      }
      return String.join(", ", columns);
    }
  }
}
