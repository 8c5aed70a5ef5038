package org.modegpt.cli;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class TableTest {
  @Test
  void numbersStandRightAndTextLeft() {
    Table table = new Table("model", "size", "time", "error");
    table.row("a", "512 B", "1:02 min", 3);
    table.row("longer", "1.5 GiB", "7 s", "1.2e-05");
    assertThat(table)
        .hasToString(
            """
            | model  |    size |     time |   error |
            |--------|--------:|---------:|--------:|
            | a      |   512 B | 1:02 min |       3 |
            | longer | 1.5 GiB |      7 s | 1.2e-05 |
            """);
  }

  @Test
  void escapesOfATerminalAreMadeVisible() {
    Table table = new Table("name").row("\u001b[2Jhello\n");
    assertThat(table.toString()).contains("| \\u001b[2Jhello\\u000a |");
  }
}
