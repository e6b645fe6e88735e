"""Tables in, tables out: intervals, comparisons and the model's performance. No model is seen here."""
