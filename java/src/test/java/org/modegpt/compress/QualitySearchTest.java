package org.modegpt.compress;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.modegpt.UserException;

class QualitySearchTest {

  @Test
  void comesCloseToTheLimitFromBelow() {
    for (double power : new double[] {1, 1.7, 3}) {
      for (double limit : new double[] {0.02, 0.1, 0.5}) {
        List<Double> tried = new ArrayList<>();
        double ratio =
            QualitySearch.largest(
                limit,
                r -> {
                  tried.add(r);
                  return 2 * Math.pow(r, power);
                });
        double exact = Math.pow(limit / 2, 1 / power);
        assertThat(ratio).isLessThanOrEqualTo(exact).isGreaterThan(0.8 * exact);
        assertThat(tried).contains(ratio).hasSizeLessThanOrEqualTo(7);
      }
    }
  }

  @Test
  void aLossThatIsNotANumberIsTooMuch() {
    double ratio = QualitySearch.largest(0.1, r -> r > 0.11 ? Double.NaN : r / 2);
    assertThat(ratio).isLessThanOrEqualTo(0.11).isGreaterThan(0.05);
  }

  @Test
  void sparesAModelThatLosesTooMuchAtOnce() {
    assertThatThrownBy(() -> QualitySearch.largest(0.1, _ -> 5))
        .isInstanceOf(UserException.class)
        .hasMessageContaining("allow more");
  }
}
