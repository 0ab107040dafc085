"""The pages of the report: a module per page, with the context of its template as a pure function of the data."""
