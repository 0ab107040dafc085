"""Running cells: plan, tasks, workers, driver, executors."""
