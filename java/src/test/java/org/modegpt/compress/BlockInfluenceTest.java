package org.modegpt.compress;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.modegpt.UserException;

class BlockInfluenceTest {

  private static double[] shares(List<Double> influence, double epsilon, double cap, double ratio) {
    return new BlockInfluence(influence, epsilon, cap)
        .allocate(influence.size(), ratio).stream().mapToDouble(Removal::mlp).toArray();
  }

  private static double mean(double[] values) {
    return java.util.Arrays.stream(values).average().orElseThrow();
  }

  @Test
  void isTheClosedFormBelowTheCap() {
    double[] shares = shares(List.of(0.1, 0.2, 0.4), 0.5, 1, 0.3);
    double sum = Math.exp(-0.2) + Math.exp(-0.4) + Math.exp(-0.8);
    assertThat(shares[0]).isCloseTo(0.9 * Math.exp(-0.2) / sum, within(1e-15));
    assertThat(shares[2]).isCloseTo(0.9 * Math.exp(-0.8) / sum, within(1e-15));
  }

  @Test
  void meanIsExactUnderAnyCap() {
    Random random = new Random(7);
    for (int trial = 0; trial < 2000; trial++) {
      List<Double> influence = random.doubles(1 + random.nextInt(40)).boxed().toList();
      double ratio = random.nextInt(20) / 20.0;
      double cap = 0.3 + 0.7 * random.nextDouble();
      double epsilon = Math.pow(10, -6 + 7 * random.nextDouble());
      double[] shares = shares(influence, epsilon, cap, ratio);
      assertThat(mean(shares)).isCloseTo(ratio, within(1e-12));
      for (int i = 0; i < shares.length; i++) {
        assertThat(shares[i]).isBetween(0.0, Math.max(cap, ratio));
        for (int j = 0; j < i; j++) {
          // The less influence a layer has, the more of it goes; below the cap in the softmax's
          // proportion.
          double order = (influence.get(i) - influence.get(j)) * (shares[i] - shares[j]);
          assertThat(order).isLessThanOrEqualTo(1e-12);
        }
      }
    }
  }

  @Test
  void excessGoesToTheOthersInProportion() {
    double[] shares = shares(List.of(0.0, 1.0, 1.1), 0.2, 0.5, 0.4);
    assertThat(shares[0]).isEqualTo(0.5);
    assertThat(shares[1] / shares[2]).isCloseTo(Math.exp(0.5), within(1e-12));
    assertThat(shares[1] + shares[2]).isCloseTo(0.7, within(1e-12));
  }

  @Test
  void tiesAndExtremesAreHandled() {
    assertThat(shares(List.of(0.3, 0.3, 0.3), 0.04, 0.8, 0.25))
        .containsExactly(new double[] {0.25, 0.25, 0.25}, within(1e-15));
    assertThat(shares(List.of(0.1, 0.9), 0.04, 0.8, 0.95))
        .containsExactly(new double[] {0.95, 0.95}, within(1e-15));
    assertThat(shares(List.of(0.1, 0.9), 0.04, 0.8, 0)).containsOnly(0.0);
    assertThatThrownBy(() -> new BlockInfluence(List.of(0.1, Double.NaN), 0.04, 0.8))
        .isInstanceOf(UserException.class)
        .hasMessageContaining("layer 1");
  }
}
