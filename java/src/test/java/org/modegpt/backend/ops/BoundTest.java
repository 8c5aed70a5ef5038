package org.modegpt.backend.ops;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.reflect.Proxy;
import org.junit.jupiter.api.Test;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Products;

class BoundTest {
  private static Backend multiplying(Products products, boolean unified) {
    return (Backend)
        Proxy.newProxyInstance(
            Backend.class.getClassLoader(),
            new Class<?>[] {Backend.class},
            (_, method, _) -> method.getName().equals("products") ? products : unified);
  }

  @Test
  void productsMayErrByTheRoundingOfTheirFactors() {
    Bound bound = Bound.sum(1e-6, "sums").rounded();
    assertThat(bound.limit(multiplying(Products.F32, false))).isEqualTo(1e-6);
    assertThat(bound.limit(multiplying(Products.TF32, false))).isEqualTo(0x1p-10);
    assertThat(bound.limit(multiplying(Products.BF16, true))).isEqualTo(0x1p-7);
  }

  @Test
  void otherOperationsMayNot() {
    Bound bound = Bound.max(1e-6, "not a product").onDevice(2e-6);
    assertThat(bound.limit(multiplying(Products.BF16, false))).isEqualTo(2e-6);
    assertThat(bound.limit(multiplying(Products.BF16, true))).isEqualTo(1e-6);
  }

  @Test
  void onlyBfloat16HasFasterWays() {
    Bound bound = Bound.max(1e-6, "softmax").fast(2e-2);
    assertThat(bound.limit(multiplying(Products.TF32, false))).isEqualTo(1e-6);
    assertThat(bound.limit(multiplying(Products.BF16, false))).isEqualTo(2e-2);
  }
}
