package org.modegpt.cli;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.stream.Stream;

/// A command line that was run in this process.
record CommandRun(int code, String out, String err) {
  static CommandRun of(Object... words) {
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    String[] line = Stream.of(words).map(Object::toString).toArray(String[]::new);
    int code = Main.run(new PrintWriter(out), new PrintWriter(err), line);
    return new CommandRun(code, out.toString(), err.toString());
  }
}
