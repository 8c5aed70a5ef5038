package org.modegpt.tasks;

import java.util.List;

/// One item of a task, filled in: what the model is asked and what is right.
///
/// @param index position in the task's data, from 0
/// @param place `FILE:LINE` of the item, for errors
/// @param group subgroup it is counted in; empty for none
/// @param requests one for each choice, or a single one
/// @param choices texts of the choices, without delimiter; empty without choices
/// @param gold indices of the right choices
/// @param references right texts of a generated answer
public record Item(
    int index,
    String place,
    String group,
    List<Request> requests,
    List<String> choices,
    List<Integer> gold,
    List<String> references) {

  /// A continuation whose log-likelihood is asked, or (with an empty one) a prompt to continue. An
  /// empty context stands for the model's first token.
  public record Request(String context, String continuation) {}
}
