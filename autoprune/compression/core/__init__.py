"""What pruning means without a framework: configuration, schedules, selection, budgets."""
