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
import java.util.List;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;

/// One JDBC connection to a store, used by one thread at a time (methods lock). A connection that
/// has gone stale is opened again once per transaction, so a database server may restart under a
/// long job.
final class Database implements AutoCloseable {
  /// Work inside a transaction.
  interface Work<T> {
    T run(Connection connection) throws SQLException;
  }

  /// One row of an answer, made into a value.
  interface RowReader<T> {
    T read(ResultSet row) throws SQLException;
  }

  private static final int BUSY_MILLIS = 30_000;
  private static final int SQLITE_BUSY = 5;

  private final String location;
  private final boolean postgres;
  private @Nullable Connection connection;

  private Database(String location) {
    this.location = location;
    this.postgres = isUrl(location);
  }

  static boolean isUrl(String location) {
    return location.startsWith("jdbc:");
  }

  /// Opens the store at `location`, a file or a `jdbc:postgresql:` URL, creating or migrating its
  /// tables.
  static Database open(String location) {
    return open(location, Schema.VERSION);
  }

  static Database open(String location, int schemaVersion) {
    if (isUrl(location) && !location.startsWith("jdbc:postgresql:")) {
      throw new UserException(
          "A run store is a file or a jdbc:postgresql: URL, not " + shown(location));
    }
    Database database = new Database(location);
    try {
      database.transaction(c -> {
        if (database.postgres) {
          // Two processes may find an empty database at the same moment.
          execute(c, "select pg_advisory_xact_lock(7304526)");
        }
        Schema.migrate(c, shown(location), schemaVersion);
        return true;
      });
    } catch (RuntimeException e) {
      database.close();
      throw e;
    }
    return database;
  }

  /// The location without a password, for messages.
  String shown() {
    return shown(location);
  }

  static String shown(String location) {
    return location.replaceAll("(?i)(password=)[^&]*", "$1***").replaceAll("//[^/@]*@", "//");
  }

  /// Runs `work` in one transaction; all of it is stored or nothing.
  synchronized <T> T transaction(Work<T> work) {
    try {
      Connection c = connected();
      c.setAutoCommit(false);
      try {
        T result = work.run(c);
        c.commit();
        c.setAutoCommit(true);
        return result;
      } catch (SQLException | RuntimeException e) {
        rollback(c, e);
        throw e;
      }
    } catch (SQLException e) {
      throw new StoreException("The run store " + shown() + " failed: " + e.getMessage(), e);
    }
  }

  /// All rows of a query; `?` are filled from `arguments` in order.
  synchronized <T> List<T> query(String sql, RowReader<T> reader, Object... arguments) {
    // Outside a transaction, since those take SQLite's write lock: a reader never waits for a
    // writer.
    try (PreparedStatement statement = connected().prepareStatement(sql)) {
      for (int i = 0; i < arguments.length; i++) {
        statement.setObject(i + 1, arguments[i]);
      }
      List<T> rows = new ArrayList<>();
      try (ResultSet row = statement.executeQuery()) {
        while (row.next()) {
          rows.add(reader.read(row));
        }
      }
      return rows;
    } catch (SQLException e) {
      throw new StoreException("The run store " + shown() + " failed: " + e.getMessage(), e);
    }
  }

  private Connection connected() throws SQLException {
    Connection present = connection;
    if (present != null && (!postgres || present.isValid(5))) {
      return present;
    }
    close();
    Connection opened = postgres ? DriverManager.getConnection(location) : openFile();
    connection = opened;
    return opened;
  }

  private Connection openFile() throws SQLException {
    Path file = Path.of(location).toAbsolutePath();
    Path folder = file.getParent();
    try {
      if (folder != null) {
        Files.createDirectories(folder);
      }
    } catch (IOException e) {
      throw new SQLException("cannot create its folder (" + e.getMessage() + ")", e);
    }
    // Immediate transactions take the write lock at once: a reader that upgrades would be refused
    // without waiting.
    Connection c =
        DriverManager.getConnection(
            "jdbc:sqlite:" + file + "?busy_timeout=" + BUSY_MILLIS + "&transaction_mode=IMMEDIATE");
    try {
      writeAhead(c);
      // In WAL mode "normal" survives a kill of the process; only a power cut can lose the last
      // moments.
      execute(c, "pragma synchronous=normal");
      return c;
    } catch (SQLException e) {
      try (c) {
        throw e;
      }
    }
  }

  /// Turns on write-ahead logging. SQLite refuses at once, without its busy timeout, when another
  /// connection does the same to a new file at the same moment, so the waiting is done here.
  private static void writeAhead(Connection c) throws SQLException {
    long deadline = System.nanoTime() + BUSY_MILLIS * 1_000_000L;
    while (true) {
      try {
        execute(c, "pragma journal_mode=wal");
        return;
      } catch (SQLException e) {
        if (e.getErrorCode() != SQLITE_BUSY || System.nanoTime() > deadline) {
          throw e;
        }
        LockSupport.parkNanos(2_000_000);
      }
    }
  }

  private static void execute(Connection c, String sql) throws SQLException {
    try (Statement statement = c.createStatement()) {
      statement.execute(sql);
    }
  }

  private static void rollback(Connection c, Exception cause) {
    try {
      c.rollback();
      c.setAutoCommit(true);
    } catch (SQLException e) {
      cause.addSuppressed(e);
    }
  }

  @Override
  public synchronized void close() {
    Connection present = connection;
    connection = null;
    if (present != null) {
      try {
        present.close();
      } catch (SQLException e) {
        throw new StoreException(
            "The run store " + shown() + " could not be closed: " + e.getMessage(), e);
      }
    }
  }
}
