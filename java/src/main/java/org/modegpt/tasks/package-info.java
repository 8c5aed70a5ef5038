/// Evaluation tasks as data: YAML definitions ({@link org.modegpt.tasks.TaskFile}), where they are
/// found ({@link org.modegpt.tasks.TaskCatalog}), their items ({@link
/// org.modegpt.tasks.ItemBuilder}) and what is measured on them ({@link org.modegpt.tasks.Metric},
/// which programs extend through {@link java.util.ServiceLoader}). TASKS.md documents the format.
@org.jspecify.annotations.NullMarked
package org.modegpt.tasks;
