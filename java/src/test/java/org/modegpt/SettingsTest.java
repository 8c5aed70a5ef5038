package org.modegpt;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class SettingsTest {

  @AfterEach
  void clear() {
    System.clearProperty("modegpt.test.number");
  }

  @Test
  void propertyOrFallback() {
    assertThat(Settings.get("test.number")).isNull();
    assertThat(Settings.getInt("test.number", 1, 7)).isEqualTo(7);
    System.setProperty("modegpt.test.number", " 3 ");
    assertThat(Settings.getInt("test.number", 1, 7)).isEqualTo(3);
    System.setProperty("modegpt.test.number", "");
    assertThat(Settings.get("test.number")).isNull();
  }

  @Test
  void complaintsNameTheVariableAndTheValue() {
    for (String bad : new String[] {"many", "0", "1.5", "99999999999"}) {
      System.setProperty("modegpt.test.number", bad);
      assertThatThrownBy(() -> Settings.getInt("test.number", 1, 7))
          .isInstanceOf(UserException.class)
          .hasMessageContaining("MODEGPT_TEST_NUMBER")
          .hasMessageContaining("'" + bad + "'");
    }
  }
}
